"""Checks that the statistics of agreement share."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError


def pair(first: ArrayLike, second: ArrayLike, what: str = "ranks") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what two raters gave the same images, (N,) each.

    Raises
    ------
    ShapeError
        If the lengths differ or a value is not finite.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 1 or one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ShapeError(f"{what}: expected finite values (N,) of two raters, found {one.shape} and {other.shape}")
    return one, other


def table(values: ArrayLike, shape: str) -> NDArray[np.float64]:
    """Return what several raters gave the same images, as an array of two dimensions.

    Raises
    ------
    ShapeError
        If it has not, or a value is not finite.
    """
    found = np.asarray(values, np.float64)
    if found.ndim != 2 or not np.isfinite(found).all():
        raise ShapeError(f"expected finite values {shape}, found {found.shape}")
    return found
