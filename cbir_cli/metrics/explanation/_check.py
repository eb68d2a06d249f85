"""Input checks that the metrics of saliency maps share."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.registry import unknown

SIGNS = ("positive", "absolute")


def stack(maps: ArrayLike, sign: str) -> NDArray[Any]:
    """Return maps (N, H, W) as finite floats in which larger is more relevant."""
    if sign not in SIGNS:
        raise unknown("sign", sign, SIGNS)
    values = np.asarray(maps)
    if values.ndim != 3:
        raise ShapeError(f"maps: expected (N, H, W), found {values.shape}")
    if values.dtype.kind not in "fiub":
        raise ShapeError(f"maps: expected numbers, found {values.dtype}")
    if not np.isfinite(values).all():
        raise ShapeError("maps: expected finite values")
    values = values if values.dtype.kind == "f" else values.astype(np.float64)  # the magnitude of int8 -128 is no int8
    return np.abs(values) if sign == "absolute" else values


def pairs(maps: ArrayLike, masks: ArrayLike, sign: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return maps (N, H, W) as finite floats in which larger is more relevant, and their masks, of one shape."""
    lesions = lesion(masks)
    if np.shape(maps) != lesions.shape:
        raise ShapeError(f"expected maps and masks of one shape, found {np.shape(maps)} and {lesions.shape}")
    return stack(maps, sign), lesions


def lesion(masks: ArrayLike) -> NDArray[np.bool_]:
    """Return masks (N, H, W) if they are masks: 255 for a lesion would be taken for a number."""
    lesions = np.asarray(masks)
    if lesions.ndim != 3 or lesions.dtype != np.bool_:
        raise ShapeError(f"masks: expected (N, H, W) of bool, found {lesions.shape} of {lesions.dtype}")
    return lesions
