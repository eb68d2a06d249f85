"""Mean of the relevance of the first k results, which several metrics are, each of another relevance.

Their files import ``score`` and ``expected`` from here; relevance that is 0 or 1 is checked by ``share``.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking._check import binary, counts, cutoff, graded


def score(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Sum of the relevance of the first k results, divided by k, for each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 to 1
        Relevance of the results, best result first.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, nothing masked.

    Raises
    ------
    ShapeError
        If ``relevance`` is not 2-D or holds anything but 0 to 1, or k is no positive integer.
    """
    if (graded(relevance, "relevance") > 1).any():
        raise ShapeError("relevance: expected values from 0 to 1")
    return mean(relevance, k)


def share(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Relevant images among the first k results, divided by k, for each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 or 1
        Relevance of the results, best result first.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, nothing masked.

    Raises
    ------
    ShapeError
        If ``relevance`` is not 2-D or holds anything but 0 and 1, or k is no positive integer.
    """
    return mean(binary(relevance), k)


def expected(total: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean over all orders of the catalogue: ``min(k, N) / k * total / N``.

    Parameters
    ----------
    total : array (Q,) of float64
        Sum of the relevance of all images in the catalogue of each query.
    size : array (Q,) of int
        Images in the catalogue of each query, N.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, nothing masked; 0 for an empty catalogue.

    Raises
    ------
    ShapeError
        If a total is below 0 or above the size of its catalogue, or k is no positive integer.
    """
    if (np.asarray(total) > counts(size, "size") + 1e-9).any():
        raise ShapeError("total: expected no more than the size of the catalogue")
    return np.ma.minimum(expected_mean(total, size, k), 1.0)


def mean(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Return ``score`` of relevances without an upper bound."""
    found, k = graded(relevance, "relevance"), cutoff(k)
    return np.ma.MaskedArray(found[:, :k].sum(axis=1) / k, mask=np.zeros(len(found), dtype=bool))


def expected_mean(total: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Return ``expected`` of relevances without an upper bound."""
    all_, k = counts(size, "size"), cutoff(k)
    sums = np.asarray(total, dtype=np.float64)
    if sums.shape != all_.shape or not np.isfinite(sums).all() or (sums < 0).any() or ((all_ == 0) & (sums > 0)).any():
        raise ShapeError("total: expected one sum a query, from 0 upwards, 0 for an empty catalogue")
    value = np.minimum(k, all_) / k * (sums / np.maximum(1, all_))
    return np.ma.MaskedArray(value, mask=np.zeros(len(all_), dtype=bool))
