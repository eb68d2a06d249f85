"""Input checks that the ranking metrics share."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError


def graded(relevance: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return a (Q, K) array of finite relevances, none below 0."""
    array = np.asarray(relevance, dtype=np.float64)
    if array.ndim != 2:
        raise ShapeError(f"{name}: expected (queries, images), found shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ShapeError(f"{name}: expected finite values of at least 0")
    return array


def binary(relevance: ArrayLike) -> NDArray[np.float64]:
    """Return a (Q, K) array of zeros and ones."""
    array = graded(relevance, "relevance")
    if not ((array == 0) | (array == 1)).all():
        raise ShapeError("relevance: expected only 0 and 1")
    return array


def counts(values: ArrayLike, name: str, queries: int | None = None) -> NDArray[np.int64]:
    """Return a (Q,) array of integers, none below 0."""
    array = np.asarray(values)
    if array.ndim != 1 or (queries is not None and len(array) != queries):
        raise ShapeError(f"{name}: expected one count a query, found shape {array.shape}")
    if array.size and (not np.issubdtype(array.dtype, np.integer) or array.min() < 0):
        raise ShapeError(f"{name}: expected integers of at least 0")
    return array.astype(np.int64)


def catalogues(relevant: ArrayLike, size: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return relevant and all images of each catalogue, the first no more than the second."""
    few = counts(relevant, "relevant")
    all_ = counts(size, "size", len(few))
    if (few > all_).any():
        raise ShapeError("relevant: a catalogue holds fewer images than are said to be relevant in it")
    return few, all_


def cutoff(k: int) -> int:
    """Return k if it is an integer of at least 1."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ShapeError(f"k: expected an integer of at least 1, found {k!r}")
    return int(k)
