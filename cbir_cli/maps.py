"""A saliency map as it is stored, and as the second network sees it.

Relevance becomes a map in one of three ways, which is recorded with it as ``input``:

``sum-repeat``
    The sum over channels; the network is fed three copies of it.
``positive``
    The same with what speaks against the output set to 0.
``rgb``
    The channels as they are; each channel of the network is fed its own.

Both ways to an interpretability-guided embedding, through a maps artifact or in one pass, feed the network the map as
it is stored, so both give the same bytes. What it is fed is ``InputSpec.prepare(as_pixels(maps))``: the map is
normalised like an image.

Reference
---------
W. Silva, A. Poellinger, J. S. Cardoso, M. Reyes. Interpretability-Guided Content-Based Medical Image Retrieval.
MICCAI 2020. Section 2.2 and the authors' code, for ``sum-repeat``; the other two are for comparison.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.registry import unknown

INPUTS = ("sum-repeat", "positive", "rgb")


def shape(form: str, height: int, width: int) -> tuple[int, ...]:
    """Return the shape of one stored map: (H, W), or (3, H, W) for ``rgb``.

    Raises
    ------
    UsageError
        If there is no such form.
    """
    if form not in INPUTS:
        raise unknown("input", form, INPUTS)
    return (3, height, width) if form == "rgb" else (height, width)


def finish(relevance: ArrayLike, form: str = "sum-repeat") -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Turn relevance into maps, each scaled to a largest magnitude of 1.

    Parameters
    ----------
    relevance : array (N, C, H, W), float32
        As a saliency method gives it, of any scale and sign.
    form : str
        One of ``INPUTS``.

    Returns
    -------
    maps : ndarray (N, H, W), or (N, 3, H, W) for ``rgb``, float16
        Between -1 and 1, for ``positive`` between 0 and 1. An all-zero map stays all zero.
    scale : ndarray (N,), float32
        The magnitude that each map was divided by, zero for an all-zero map. ``maps * scale`` is the relevance (its
        sum, or the positive part of the sum) to within the rounding of float16.

    Raises
    ------
    ShapeError
        If ``relevance`` is not 4-D.
    UsageError
        If there is no such form, or ``rgb`` is asked for and there are not three channels.
    CbirError
        If a value or sum is not finite.
    """
    values = np.asarray(relevance, dtype=np.float32)
    if values.ndim != 4:
        raise ShapeError(f"expected relevance (N, C, H, W), found {values.shape}")
    stored = shape(form, *values.shape[2:])
    if form == "rgb" and values.shape[1] != 3:
        raise UsageError(f"input=rgb: the method gives {values.shape[1]} channel, not three; use input=sum-repeat")
    with np.errstate(over="ignore", invalid="ignore"):  # found by the check below, with a clear message
        kept = values if form == "rgb" else values.sum(axis=1)
    if not np.isfinite(kept).all():
        raise CbirError("a saliency map is not finite; the network's weights or the images are damaged")
    if form == "positive":
        kept = np.maximum(kept, 0)
    flat = kept.reshape(len(kept), int(np.prod(stored)))
    scale = np.abs(flat).max(axis=1, initial=0)
    divisor = np.where(scale == 0, np.float32(1), scale)
    return (flat / divisor[:, None]).astype(np.float16).reshape(len(kept), *stored), scale


def as_pixels(maps: ArrayLike) -> NDArray[np.float32]:
    """Return stored maps as what is prepared, and augmented, like images: (N, H, W) or (N, H, W, 3), float32."""
    values = np.asarray(maps, dtype=np.float32)
    return np.moveaxis(values, 1, -1) if values.ndim == 4 else values


def summed(stored: ArrayLike) -> NDArray[np.float32]:
    """Return one value a pixel (H, W), float32, of one stored map (H, W) or (3, H, W): channels are summed."""
    values = np.asarray(stored, dtype=np.float32)
    return values if values.ndim == 2 else values.sum(axis=0)


def shown(maps: ArrayLike) -> NDArray[np.float32]:
    """Return stored maps as a person sees them: one value a pixel.

    Parameters
    ----------
    maps : array (N, H, W) or (N, 3, H, W), float16
        As ``finish`` gives them.

    Returns
    -------
    ndarray (N, H, W), float32
        Between -1 and 1. Three channels are summed, and the sum scaled to a largest magnitude of 1; where they cancel
        to nothing it stays all zero.
    """
    values = np.asarray(maps, dtype=np.float32)
    if values.ndim == 3:
        return values
    summed = values.sum(axis=1)
    most = np.abs(summed).max(axis=(1, 2), initial=0, keepdims=True)
    return summed / np.where(most == 0, np.float32(1), most)
