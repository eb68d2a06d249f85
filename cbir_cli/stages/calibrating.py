"""What the distances of an index mean: measured by ``cbir index --calibrate``, for ``cbir query``."""

import logging
from collections.abc import Sequence

import numpy as np

from cbir_cli import bootstrap, neighbour_calibration
from cbir_cli.artifacts._calibration import Calibration
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.index import Index
from cbir_cli.errors import ArtifactError, ShapeError
from cbir_cli.records import NEGATIVE, POSITIVE
from cbir_cli.registry import unknown
from cbir_cli.stages import searchers
from cbir_cli.stages.guards import Filters, Guard

log = logging.getLogger("cbir")

NEIGHBOURS = 10
_SAMPLE = 2000
_WORK = {"l2": 2e12, "cosine": 2e12, "ssim": 8e8}
"""Products that may be spent, in the order of a minute."""
_FEWEST = 200, 10
"""Images that ask at least, where there are so many; patients that have to."""


def check(embedding: Embedding, labels: Sequence[str]) -> None:
    """Refuse labels that the images do not have.

    Raises
    ------
    UsageError
        Naming the label, and those that there are.
    """
    for label in labels:
        if label not in embedding.items.label_names:
            raise unknown("label", label, embedding.items.label_names)


def calibrate(index: Index, labels: Sequence[str], *, again: bool = False) -> Calibration | None:
    """Measure what the distances of an index mean.

    Images that no network was trained or chosen on ask, up to 2,000 drawn with a fixed seed; all may where too few of
    them are known, which is said. Each is answered by the index as a new image of another patient is.

    Parameters
    ----------
    index : Index
    labels : sequence of str
        Images with the same codes of all of them are of one class; those of which one is uncertain or not stated take
        no part.
    again : bool
        The index has changed: where there is no longer enough, say so and return None.

    Raises
    ------
    ArtifactError
        If there are too few patients or pairs.
    """
    try:
        return _measured(index, labels)
    except ShapeError as error:
        message = f"too few images to calibrate {', '.join(labels)}: {error}"
        if not again:
            raise ArtifactError(message) from error
        log.warning("the calibration is left out: %s", message)
        return None


def _measured(index: Index, labels: Sequence[str]) -> Calibration:
    items, vectors = index.embedding.items, index.embedding.vectors
    missing = [label for label in labels if label not in items.label_names]
    if missing:
        raise ShapeError(f"no image has the label {missing[0]}")
    codes = np.stack([items.label(label) for label in labels], axis=1)
    known = ((codes == POSITIVE) | (codes == NEGATIVE)).all(axis=1)
    patients = bootstrap.patient_numbers(items["patient"])
    rows, held_out = _asking(index, known, patients)
    if len(np.unique(patients[rows])) < _FEWEST[1]:
        raise ShapeError(f"expected at least {_FEWEST[1]} patients with known labels")
    if (codes[rows] == codes[rows[0]]).all():
        log.warning(
            "all %d images that could calibrate %s are alike in it: it says nothing", len(rows), ", ".join(labels)
        )
    asked = items.take(rows)
    guard = Guard(items, asked, Filters(), same_source=True)
    distances, found = searchers.searcher(index).search(
        np.ascontiguousarray(vectors[rows]), min(NEIGHBOURS, items.count), allowed=guard.allowed
    )
    there = (found >= 0) & known[found]
    query = np.broadcast_to(rows[:, None], found.shape)[there]
    near = found[there]
    pairs = neighbour_calibration.Pairs(
        distances[there], (codes[query] == codes[near]).all(axis=1), patients[query], patients[near]
    )
    facts = neighbour_calibration.quality(pairs) if len(near) else {}
    steps = neighbour_calibration.fit(pairs.distance, pairs.same)
    nearest = np.sort(distances[found[:, 0] >= 0, 0])
    log.info(
        "calibrated by %d images%s and their %d nearest: ECE %.3f, Brier score %.3f (%.3f without distances)",
        *(len(rows), " that are held out" if held_out else "", NEIGHBOURS),
        *(facts["ece"], facts["brier"], facts["brier-of-share"]),
    )
    return Calibration(
        list(labels),
        steps.distance,
        steps.probability,
        nearest,
        {"queries": len(rows), "k": NEIGHBOURS, "held-out": held_out, "folds": neighbour_calibration.FOLDS, **facts},
    )


def _asking(index: Index, known: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the rows of the images that ask, ascending, and whether no network has seen them."""
    items, vectors = index.embedding.items, index.embedding.vectors
    held_out = known & items.held_out
    enough = len(np.unique(patients[held_out])) >= _FEWEST[1]
    if not enough and known.any():
        log.warning(
            "%d of %d images are held out from training: all are asked, and distances are smaller than for new ones",
            *(held_out.sum(), items.count),
        )
    rows = np.flatnonzero(held_out if enough else known)
    work = _WORK[index.embedding.space.similarity] / max(1, vectors.shape[0] * vectors.shape[1])
    most = int(min(_SAMPLE, max(_FEWEST[0], work)))
    return np.sort(np.random.default_rng(1).permutation(rows)[:most]), enough
