"""Ranked lists with what is known about them, as arrays for our metrics and as TREC text for other programs."""

import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir_cli.artifacts import run
from cbir_cli.metric_names import parse_metrics

QUERIES, IMAGES = 25, 30


@dataclass(frozen=True)
class Judged:
    """Lists of whole catalogues, in which nothing is tied: grades (Q, N) in the order of the list."""

    grades: np.ndarray
    distances: np.ndarray

    @property
    def names(self) -> list[str]:
        """Queries, in the order in which most programs give their values."""
        return [f"q{number:02d}" for number in range(len(self.grades))]

    def ours(self, text: str, depth: int = IMAGES) -> dict[str, float]:
        """Value of a metric for each query where it is defined, of lists cut off at some depth."""
        (metric,) = parse_metrics([text])
        graded = metric.module.RELEVANCE == "graded"
        known = self.grades if graded else (self.grades > 0).astype(float)
        given = {"relevance": known[:, :depth], "ideal": known[:, ::-1], "k": metric.k}
        given["relevant"] = (known > 0).sum(axis=1)
        value = metric.module.score(**{name: given[name] for name in inspect.signature(metric.module.score).parameters})
        return {name: one for name, one in zip(self.names, value.tolist(), strict=True) if one is not None}

    def write(self, folder: Path, depth: int = IMAGES) -> tuple[str, str]:
        """Write ``qrels`` and ``run`` as TREC text, ids in no order that has to do with the ranks."""
        ids = np.random.default_rng(5).permuted(np.tile(np.arange(IMAGES), (len(self.grades), 1)), axis=1)
        rows, judgements = [], []
        for query, name in enumerate(self.names):
            for place, one in enumerate(ids[query].tolist()):
                judgements.append(f"{name} 0 image{one} {self.grades[query, place]:.0f}\n")
                if place < depth:
                    rows.append(run.RunRow(name, place + 1, f"image{one}", float(self.distances[query, place])))
        (folder / "qrels").write_text("".join(judgements))
        (folder / "run").write_text("".join(run.trec(rows)))
        return str(folder / "qrels"), str(folder / "run")


def judged(seed: int = 3) -> Judged:
    """Lists with whole grades from 0 to 4; in every catalogue something is relevant."""
    rng = np.random.default_rng(seed)
    grades = np.maximum(0, rng.integers(-6, 5, (QUERIES, IMAGES))).astype(float)
    grades[:, 7] = 2
    distances = np.sort(rng.permuted(np.tile(np.arange(1, 1000), (QUERIES, 1)), axis=1)[:, :IMAGES], axis=1) / 8
    return Judged(grades, distances)
