"""Scores of ranked lists in which some results are equally far: the mean over all orders of what is tied.

A list breaks ties by id. That is deterministic, and says nothing of the images: a metric gives one of several values
that the same distances allow. Here every order of the tied results counts alike, and the value is their mean. Where it
differs from the plain score, the difference came from names.

Every ranking metric of this package adds up over groups of tied results: what a group adds depends on its own order and
on which results stand before it, not on their order. So groups are averaged one by one, and their changes added.

Reference
---------
F. McSherry, M. Najork. Computing information retrieval performance measures efficiently in the presence of tied scores.
ECIR 2008. They give a closed form for each of a few metrics; this is the same mean for any.
"""

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError

MOST = 1000
"""Different orders of one group that are all tried; of a larger group, orders are drawn."""

_CELLS = 1 << 20  # of the lists that are scored at once


def average(
    score: Callable[..., "np.ma.MaskedArray"],
    results: ArrayLike,
    distances: ArrayLike,
    *,
    size: ArrayLike | None = None,
    seed: int = 1,
    **given: Any,
) -> "np.ma.MaskedArray":
    """Mean of a ranking metric over all orders of results of equal distance.

    Exact where every group of ties has at most ``MOST`` different orders: 12 results, whichever of them are relevant,
    and more where few are. Of a larger group about ``MOST`` orders are drawn. They are turned through all places of the
    group, so that a metric which is a sum over places (nDCG, precision, recall, ACG, mean precision) is exact even
    then; for the others (average precision, reciprocal rank, success, votes) it is an estimate, whose standard error
    for one query is about .01.

    Parameters
    ----------
    score : callable
        The metric's ``score``. Its first parameter gets ``results``.
    results : array (Q, K)
        What the metric looks at: relevance, or classes.
    distances : array (Q, K) of float
        Of the results, never decreasing along a list. Equal numbers are ties.
    size : array (Q,) of int, optional
        Images in the catalogue of each query. A list that has them all has no tie with what it leaves out. Also given
        to the metric, if it asks for it.
    seed : int
        Draws the orders of large groups.
    **given
        The metric's other parameters; arrays have a row for each query.

    Returns
    -------
    masked array (Q,) of float64
        Masked where ``score`` is, and where a tie cannot be averaged: two results or more at the end of a list that is
        not the whole catalogue, within the first ``k`` if the metric has a cut-off. More images may be as far; ask for
        more results.

    Raises
    ------
    ShapeError
        If shapes do not fit, a distance is not finite, or distances decrease along a list.
    """
    found, far = np.asarray(results), _checked(distances)
    if found.shape != far.shape:
        raise ShapeError(f"ties: expected a distance for every result, found {found.shape} and {far.shape}")
    whole = np.zeros(len(far), dtype=bool) if size is None else np.asarray(size) <= far.shape[1]
    if whole.shape != (len(far),):
        raise ShapeError(f"size: expected one count a query, found shape {whole.shape}")
    if "size" in inspect.signature(score).parameters:
        given["size"] = size
    depth: int = given["k"] if "k" in given else far.shape[1]
    value = np.ma.array(score(found, **given), dtype=np.float64)
    value.mask = np.ma.getmaskarray(value) | (_cut(far, depth) & ~whole)
    change = np.zeros(len(far))
    for rows, orders, weights in _batches(found, far, np.flatnonzero(tied(far) & ~value.mask), depth, seed):
        picked = {name: _rows(one, rows, len(far)) for name, one in given.items()}
        np.add.at(change, rows, weights * (score(orders, **picked).filled(0.0) - value.data[rows]))
    return np.ma.MaskedArray(value.data + change, mask=value.mask)


def tied(distances: ArrayLike) -> NDArray[np.bool_]:
    """Say for each list (Q, K) of distances whether any two of its results are tied, (Q,)."""
    far = _checked(distances)
    return np.asarray((far[:, 1:] == far[:, :-1]).any(axis=1))


def _checked(distances: ArrayLike) -> NDArray[np.float64]:
    far = np.asarray(distances, dtype=np.float64)
    if far.ndim != 2 or not np.isfinite(far).all():
        raise ShapeError(f"distances: expected finite numbers (queries, results), found shape {far.shape}")
    if (far[:, 1:] < far[:, :-1]).any():
        raise ShapeError("distances: expected each list to go from near to far")
    return far


def _cut(far: NDArray[np.float64], depth: int) -> NDArray[np.bool_]:
    """Say which lists end in a tie that begins within the first ``depth`` results."""
    if far.shape[1] < 2:
        return np.zeros(len(far), dtype=bool)
    last = far == far[:, -1:]
    return np.asarray((last.sum(axis=1) > 1) & (last.argmax(axis=1) < depth))


def _rows(one: Any, rows: NDArray[np.int64], queries: int) -> Any:
    """Return a parameter of the metric for some of the queries; what is no array is the same for all."""
    return np.asarray(one)[rows] if np.ndim(one) and len(one) == queries else one


def _batches(
    found: NDArray[Any], far: NDArray[np.float64], queries: NDArray[np.int64], depth: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64]]]:
    """Yield lists in other orders, whose queries they are, and what each weighs in the mean of its group."""
    rows: list[NDArray[np.int64]] = []
    orders: list[NDArray[Any]] = []
    weights: list[NDArray[np.float64]] = []
    cells = 0
    for row in queries.tolist():
        generator = np.random.default_rng((seed, row))
        for first, end in _groups(far[row], depth):
            group = found[row, first:end]
            if (group == group[0]).all():
                continue
            some = _orders(group, generator)
            changed = np.repeat(found[row : row + 1], len(some), axis=0)
            changed[:, first:end] = some
            orders.append(changed)
            rows.append(np.full(len(some), row))
            weights.append(np.full(len(some), 1 / len(some)))
            cells += changed.size
            if cells > _CELLS:
                yield np.concatenate(rows), np.concatenate(orders), np.concatenate(weights)
                rows, orders, weights, cells = [], [], [], 0
    if rows:
        yield np.concatenate(rows), np.concatenate(orders), np.concatenate(weights)


def _groups(far: NDArray[np.float64], depth: int) -> Iterator[tuple[int, int]]:
    """Yield first and end place of each group of ties that begins within the first ``depth`` results."""
    ends = [*(np.flatnonzero(far[1:] != far[:-1]) + 1).tolist(), len(far)]
    yield from ((a, b) for a, b in itertools.pairwise([0, *ends]) if b - a > 1 and a < depth)


def _orders(group: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Return all different orders of a group, or many, each as often as any other: (orders, places)."""
    values, counts = np.unique(group, return_counts=True)
    if math.factorial(len(group)) // math.prod(map(math.factorial, counts.tolist())) <= MOST:
        return np.asarray(values[_different(tuple(counts.tolist()))])
    places = np.arange(len(group))
    drawn = generator.permuted(np.tile(group, (math.ceil(MOST / len(group)), 1)), axis=1)
    return np.asarray(drawn[:, (places[:, None] + places) % len(group)].reshape(-1, len(group)))


@functools.lru_cache(maxsize=256)  # thousands of queries have ties of few kinds
def _different(counts: tuple[int, ...]) -> NDArray[np.int64]:
    """Return all different orders in which each number n from 0 stands ``counts[n]`` times."""
    if not any(counts):
        return np.zeros((1, 0), dtype=np.int64)
    parts = []
    for first, count in enumerate(counts):
        if count:
            rest = _different((*counts[:first], count - 1, *counts[first + 1 :]))
            parts.append(np.column_stack([np.full(len(rest), first), rest]))
    return np.concatenate(parts)
