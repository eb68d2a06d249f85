"""Mean of the relevance of the first k results, which several metrics are, each of another relevance."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking._check import counts, cutoff, graded


def mean(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Sum of the first k relevances, each from 0 to 1, divided by k: (Q,) float64, nothing masked."""
    found, k = _shares(relevance), cutoff(k)
    return np.ma.MaskedArray(found[:, :k].sum(axis=1) / k, mask=np.zeros(len(found), dtype=bool))


def expected(total: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of ``mean`` over all orders of catalogues of some sizes, whose relevances sum to ``total``."""
    all_, k = counts(size, "size"), cutoff(k)
    sums = np.asarray(total, dtype=np.float64)
    if sums.shape != all_.shape or not np.isfinite(sums).all() or (sums < 0).any() or (sums > all_ + 1e-9).any():
        raise ShapeError("total: expected one sum a query, from 0 to the size of its catalogue")
    value = np.minimum(k, all_) / k * np.minimum(sums / np.maximum(1, all_), 1.0)
    return np.ma.MaskedArray(value, mask=np.zeros(len(all_), dtype=bool))


def _shares(relevance: ArrayLike) -> NDArray[np.float64]:
    array = graded(relevance, "relevance")
    if (array > 1).any():
        raise ShapeError("relevance: expected values from 0 to 1")
    return array
