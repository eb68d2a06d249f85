"""What every method for a pair of images checks first."""

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError


def stack(query: ndarray, result: ndarray) -> ndarray:
    """Return query and result as one batch, (2, H, W) or (2, H, W, 3) float32.

    Raises
    ------
    ShapeError
        If they are not two finite images of one size, both grey or both in colour.
    """
    if not (query.ndim == 2 or (query.ndim == 3 and query.shape[2] == 3)) or query.shape != result.shape:
        raise ShapeError(f"expected two images of one size, found {query.shape} and {result.shape}")
    pair = np.stack([query, result]).astype(np.float32, copy=False)
    if not np.isfinite(pair).all():
        raise ShapeError("an image of the pair holds values that are not finite")
    return pair
