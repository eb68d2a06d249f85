"""Vectors that a network gives: whether they can be used, and how far one is from others."""

from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.registry import unknown

SIMILARITIES = ("cosine", "l2")
"""How the vectors of two images are compared."""


def checked(found: Any, count: int) -> ndarray:
    """Return what a network gave of some images as vectors (N, D), as they came.

    Raises
    ------
    ShapeError
        If they are not ``count`` vectors, or a number is not finite.
    """
    vectors = np.asarray(found)
    if vectors.ndim != 2 or len(vectors) != count:
        raise ShapeError(f"expected {count} finite vectors from the model, found shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ShapeError(f"expected {count} finite vectors from the model, found numbers that are not finite")
    return vectors


def check_similarity(similarity: str) -> None:
    """Refuse what is none of ``SIMILARITIES``; UsageError."""
    if similarity not in SIMILARITIES:
        raise unknown("similarity of vectors", similarity, SIMILARITIES)


def distances(anchor: ndarray, others: ndarray, similarity: str) -> ndarray:
    """Return the distance of one vector (D,) to others (N, D), float64: Euclidean, or 1 - cosine similarity.

    Raises
    ------
    UsageError
        If ``similarity`` is none of ``SIMILARITIES``.
    """
    check_similarity(similarity)
    if similarity == "cosine":
        return cosine_distances(anchor, others)
    return np.sqrt(np.square(others.astype(np.float64) - anchor.astype(np.float64)).sum(axis=1))


def cosine_distances(anchor: ndarray, others: ndarray) -> ndarray:
    """Return 1 - cosine similarity of one vector (D,) and others (N, D), float64; 1 where one of the two is all zero.

    As half the squared difference of the directions: of two that are nearly the same, 1 - cosine has no digits left.
    """
    anchor, others = anchor.astype(np.float64), others.astype(np.float64)
    norms, length = np.sqrt(np.square(others).sum(axis=1)), np.sqrt(np.square(anchor).sum())
    directions = others / np.where(norms > 0, norms, 1)[:, None]
    halves = np.square(directions - anchor / (length or 1)).sum(axis=1) / 2
    return np.where((norms > 0) & (length > 0), halves, 1.0)
