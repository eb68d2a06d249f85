"""Discounted cumulated gain over that of the ideal order, whatever the gain."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking._check import cutoff, graded

Gain = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Maps relevance (Q, K) and the largest of each catalogue (Q,) to gains, up to a factor for each query."""


def score(name: str, relevance: ArrayLike, ideal: ArrayLike, k: int, gain: Gain) -> "np.ma.MaskedArray":
    """DCG@k over IDCG@k: (Q,), masked where the ideal order gains nothing; a list that is above it is refused."""
    found, known, k = graded(relevance, "relevance"), graded(ideal, "ideal"), cutoff(k)
    if len(found) != len(known):
        raise ShapeError(f"{name}: {len(found)} lists but {len(known)} catalogues")
    top = known.max(axis=1, initial=0.0)
    if (found.max(axis=1, initial=0.0) > top).any():
        raise ShapeError(f"{name}: a result is more relevant than anything in its catalogue")
    best = _ideal(known, top, k, gain)
    value = _dcg(gain(found, top), k) / np.where(best > 0, best, 1.0)
    if (value > 1 + 1e-9).any():
        raise ShapeError(f"{name}: a list is better than the ideal order: its images are not those of the catalogue")
    return np.ma.MaskedArray(np.minimum(value, 1.0), mask=best <= 0)


def expected(ideal: ArrayLike, k: int, gain: Gain) -> "np.ma.MaskedArray":
    """Exact mean of ``score`` over all orders: the mean gain times the sum of the discounts, over IDCG@k."""
    # Sorted, so that the order of the images does not show in the last digit of the sum.
    known, k = np.sort(graded(ideal, "ideal"), axis=1), cutoff(k)
    top = known.max(axis=1, initial=0.0)
    best = _ideal(known, top, k, gain)
    gains = gain(known, top)
    mean = gains.sum(axis=1, keepdims=True) / max(1, known.shape[1])
    value = _dcg(np.broadcast_to(mean, gains.shape), k) / np.where(best > 0, best, 1.0)
    return np.ma.MaskedArray(np.minimum(value, 1.0), mask=best <= 0)


def _ideal(known: NDArray[np.float64], top: NDArray[np.float64], k: int, gain: Gain) -> NDArray[np.float64]:
    return _dcg(gain(np.sort(known, axis=1)[:, ::-1], top), k)


def _dcg(gains: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    first = gains[:, :k]
    return first @ (1.0 / np.log2(np.arange(2, first.shape[1] + 2)))
