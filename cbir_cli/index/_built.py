"""Build an approximate index: what every kind does before, and after, its own structure is made."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.index import _effort, _faiss, _payload
from cbir_cli.index._grown import Searcher
from cbir_cli.index._inputs import check_vectors

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Wish:
    """What is asked of a search: parameters that every kind has, 0 for what is to be chosen.

    Attributes
    ----------
    recall : float
        Wanted mean recall@10.
    effort : int
        How much is looked at: ``ef_search`` or ``nprobe``.
    rerank : int
        Candidates that are measured.
    sample : int
        Vectors that recall is tried on.
    seed : int
    """

    recall: float
    effort: int
    rerank: int
    sample: int
    seed: int


def check(vectors: ndarray, metric: str, wish: Wish, **whole: int) -> None:
    """Refuse parameters that make no sense, and what faiss cannot compare.

    Raises
    ------
    UsageError
        If a parameter is negative or the wanted recall not between 0 and 1, or there is no such metric.
    ShapeError
        If vectors are not (N, D) float32.
    """
    check_vectors(vectors, metric, _faiss.METRICS)
    if not 0 < wish.recall < 1:
        raise UsageError(f"expected a recall above 0 and below 1, found {wish.recall:g}; --kind exact has all")
    for name, value in {**whole, "rerank": wish.rerank, "sample": wish.sample, "seed": wish.seed}.items():
        if not 0 <= value < 2**31:
            raise UsageError(f"expected {name} from 0 to {2**31 - 1}, found {value}")


def space(vectors: ndarray, payload: dict[str, ndarray], metric: str, padded: int | None = None) -> _faiss.Space:
    """Return how the vectors of an index become what faiss compares, from ``longest`` of its payload.

    Raises
    ------
    ShapeError
        If vectors are not (N, D) float32, or the payload is of other ones.
    UsageError
        If there is no such metric.
    """
    check_vectors(vectors, metric, _faiss.METRICS)
    longest = _payload.array(payload, "longest", (1,), "f8")
    return _faiss.Space(metric, float(longest[0]), vectors.shape[1], padded)


def effort(payload: dict[str, ndarray]) -> tuple[int, int]:
    """Return how much a search looks at, and how many candidates it measures."""
    first, second = _payload.array(payload, "effort", (2,), "i8").tolist()
    if not (0 < first < 2**31 and 0 < second < 2**31):
        raise ShapeError(f"effort of the payload: expected two positive numbers, found {first} and {second}")
    return first, second


def adjust(
    searcher: Searcher, sample: _effort.Sample, wish: Wish, *, efforts: Sequence[int], most: Callable[[int], int]
) -> dict[str, ndarray]:
    """Choose how much a search looks at and measure its recall; return what the payload keeps of both.

    Parameters
    ----------
    searcher : Searcher
        Gets what is chosen.
    sample : Sample
    wish : Wish
    efforts : sequence of int
        To be tried, ascending, if none is wished.
    most : callable
        Candidates at the most, of an effort.
    """
    tried = [wish.effort] if wish.effort else efforts
    searcher.effort, searcher.rerank = _effort.choose(searcher, sample, wish.recall, tried, most, wish.rerank)
    found = _effort.measure(searcher, sample)
    if found[0] < wish.recall:
        log.warning("recall@10 is %.3f on %d images; %g was wanted", found[0], len(sample.rows), wish.recall)
    return {
        "effort": np.array([searcher.effort, searcher.rerank]),
        "recall": found,
        "sample": np.array([len(sample.rows)]),
    }


def measured(payload: dict[str, ndarray], effort_name: str, **more: Any) -> dict[str, Any]:
    """Return in words what was chosen and what recall was measured, for those who describe an index.

    Raises
    ------
    ShapeError
        If the payload is damaged.
    """
    chosen, recalls = effort(payload), _payload.array(payload, "recall", (2,), "f8").tolist()
    return {
        **more,
        effort_name: chosen[0],
        "rerank": chosen[1],
        f"recall@{_effort.FIRST}": round(recalls[0], 4),
        f"recall@{_effort.SECOND}": round(recalls[1], 4),
        "sample": int(_payload.array(payload, "sample", (1,), "i8")[0]),
    }
