"""Changes of brightness, contrast and colour, grey copies and blur of one image in [0, 1].

Pixels are (S, S) or (S, S, 3) float32 and are left untouched. What is done is what torchvision does to float images,
with the luma of ``images.grey``. Grey pixels have neither saturation nor hue: those changes leave them as they are.
"""

import numpy as np
from numpy.typing import NDArray

from cbir_cli.images import grey

Image = NDArray[np.float32]


def brightness(pixels: Image, factor: float) -> Image:
    """Return pixels times a factor (0 black, 1 as it is), cut at 1."""
    return np.clip(pixels * np.float32(factor), 0, 1)


def contrast(pixels: Image, factor: float) -> Image:
    """Return pixels moved away from the mean luma by a factor (0 the mean everywhere, 1 as it is), cut to [0, 1]."""
    return _blend(pixels, grey(pixels).mean(dtype=np.float64), factor)


def saturation(pixels: Image, factor: float) -> Image:
    """Return pixels moved away from their own luma by a factor (0 grey, 1 as it is), cut to [0, 1]."""
    return pixels if pixels.ndim == 2 else _blend(pixels, grey(pixels)[..., None], factor)


def hue(pixels: Image, turn: float) -> Image:
    """Return pixels with their hue in HSV moved on by a part of the circle, from -0.5 to 0.5."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (np.ascontiguousarray(pixels[..., c]) for c in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.where(chroma == 0, np.float32(1), chroma)  # grey has no hue; any will do
    side = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, (blue - red) / divisor + np.float32(2), (red - green) / divisor + np.float32(4)),
    )
    side += np.float32(6 * turn)  # hue in sixths of the circle
    turned = np.empty_like(pixels)
    for channel, start in enumerate((5, 3, 1)):
        along = (side + np.float32(start)) % np.float32(6)
        part = np.minimum(np.minimum(along, np.float32(4) - along), np.float32(1))
        turned[..., channel] = value - chroma * np.maximum(part, 0)
    return turned


def greyscale(pixels: Image) -> Image:
    """Return the luma in all three channels; grey pixels as they are."""
    return pixels if pixels.ndim == 2 else np.repeat(grey(pixels)[..., None], 3, axis=2)


def blur(pixels: Image, sigma: float) -> Image:
    """Return pixels under a Gaussian cut at 4 sigma, the image mirrored at its edge; sigma in pixels."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(pixels, (sigma, sigma, 0)[: pixels.ndim], mode="mirror", truncate=4)


def _blend(pixels: Image, other: "NDArray | np.floating", factor: float) -> Image:
    return np.clip(np.float32(factor) * pixels + np.float32(1 - factor) * np.float32(other), 0, 1)
