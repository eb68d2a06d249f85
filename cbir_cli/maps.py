"""A saliency map as it is stored, and as the second network sees it.

Both ways to an interpretability-guided embedding, through a maps artifact or in one pass, feed the network the map as
it is stored, so both give the same bytes. What it is fed is ``InputSpec.prepare(maps.astype(float32))``: three copies
of the map, normalised like an image.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import CbirError, ShapeError


def finish(relevance: ArrayLike) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Sum relevance over channels and scale each map to a largest magnitude of 1.

    Parameters
    ----------
    relevance : array (N, C, H, W), float32
        As a saliency method gives it, of any scale and sign.

    Returns
    -------
    maps : ndarray (N, H, W), float16
        Between -1 and 1. An all-zero map stays all zero.
    scale : ndarray (N,), float32
        The magnitude that each map was divided by, zero for an all-zero map. ``maps * scale`` is the summed relevance
        to within the rounding of float16.

    Raises
    ------
    ShapeError
        If ``relevance`` is not 4-D.
    CbirError
        If a value or sum is not finite.
    """
    values = np.asarray(relevance, dtype=np.float32)
    if values.ndim != 4:
        raise ShapeError(f"expected relevance (N, C, H, W), found {values.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # found by the check below, with a clear message
        summed = values.sum(axis=1)
    if not np.isfinite(summed).all():
        raise CbirError("a saliency map is not finite; the network's weights or the images are damaged")
    scale = np.abs(summed).max(axis=(1, 2), initial=0)
    divisor = np.where(scale == 0, np.float32(1), scale)
    return (summed / divisor[:, None, None]).astype(np.float16), scale
