"""Input checks that the classification metrics share."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError


def pairs(truth: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return truth as integers 0 and 1 and predictions as finite float64, of one length."""
    true, predicted = np.asarray(truth), np.asarray(probability, dtype=np.float64)
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ShapeError(f"expected (N,) truth and predictions, found {true.shape} and {predicted.shape}")
    if not ((true == 0) | (true == 1)).all():
        raise ShapeError("truth: expected only 0 and 1; leave uncertain and missing labels out")
    if not np.isfinite(predicted).all():
        raise ShapeError("predictions: expected finite values")
    return true.astype(np.int64), predicted
