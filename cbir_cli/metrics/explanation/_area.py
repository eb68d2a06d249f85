"""The area under a curve of similarity."""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError


def area(curves: ArrayLike) -> "np.ma.MaskedArray":
    """Return the area under each curve by the trapezoidal rule, over steps of equal width that sum to 1.

    The last step may be of fewer pixels than the others, and counts as one of them, as in the authors' code.
    """
    values = np.asarray(curves)
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind != "f":
        raise ShapeError(f"curves: expected (N, T) of float with two steps at least, found {values.shape}")
    if not np.isfinite(values).all():
        raise ShapeError("curves: expected finite values")
    values = values.astype(np.float64)
    found = (values.sum(axis=1) - (values[:, 0] + values[:, -1]) / 2) / (values.shape[1] - 1)
    return np.ma.MaskedArray(found, mask=np.zeros(len(values), bool))
