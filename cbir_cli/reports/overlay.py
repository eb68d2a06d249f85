"""Pixels and maps as image files small enough to live inside a page.

A map becomes a palette PNG: colour and opacity are functions of one number, so one byte per pixel says both. Positive
maps use inferno; maps with both signs use light red above zero and dark blue below it; an uncertainty uses viridis.
Lightness thus rises with the value in all of them, which survives greyscale. Opacity rises faster than the magnitude,
because the maps are heavy-tailed and would otherwise show a few points only.
"""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cbir_cli.windows import WHOLE

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from PIL.Image import Image as Picture

LEVELS = 32  # steps per sign; more are not told apart through a radiograph, and cost bytes
PERCENTILE = 99.5  # of a map; a single hot pixel must not make the rest invisible
JPEG_QUALITY = 90
OPACITY_POWER = 0.7
_BLUE, _RED = (0.10, 0.25, 0.80), (1.0, 0.42, 0.30)


@dataclass(frozen=True)
class Scale:
    """Range of values that the colours span.

    Parameters
    ----------
    limit : float
        Magnitude that gets the strongest colour; 0 if every map is zero.
    signed : bool
        Whether values below zero occur.
    clipped : bool
        Whether values beyond ``limit`` occur.
    uncertainty : bool
        Whether the values are an uncertainty, which has colours of its own lest it be taken for importance.
    """

    limit: float
    signed: bool
    clipped: bool
    uncertainty: bool = False

    @property
    def ends(self) -> tuple[str, str]:
        """Lowest and highest value in words, for the ends of the colour bar."""
        high = f"{self.limit:.2g}"
        low = f"−{high}" if self.signed else "0"
        return (f"≤ {low}" if self.signed and self.clipped else low), (f"≥ {high}" if self.clipped else high)


def scale(maps: Iterable[np.ndarray], *, uncertainty: bool = False) -> Scale | None:
    """Find the range shared by several maps: the largest of their 99.5th percentiles of magnitude.

    Parameters
    ----------
    maps : iterable of ndarray (h, w), float
        Finite values.
    uncertainty : bool
        What they are.

    Returns
    -------
    Scale or None
        None if there is no map.
    """
    limits, peaks, signed = [], [], False
    for values in maps:
        magnitude = np.abs(values.astype(np.float64))
        peaks.append(float(magnitude.max()))
        limits.append(float(np.percentile(magnitude, PERCENTILE)))
        signed = signed or bool((values < 0).any())
    if not peaks:
        return None
    limit = max(limits) or max(peaks)  # a map that is zero nearly everywhere has a percentile of 0
    return Scale(limit, signed, max(peaks) > limit, uncertainty)


def heat(values: np.ndarray, scale: Scale, size: tuple[int, int]) -> bytes:
    """Colour a map for laying over an image.

    Parameters
    ----------
    values : ndarray (h, w), float
        Finite.
    scale : Scale
        Range of the colours; values beyond it get the end's colour.
    size : tuple of int
        (H, W) of the image; the map is stretched to it, smoothly.

    Returns
    -------
    bytes
        A PNG of that size; clear where the map is zero, at full strength opaque.
    """
    from PIL import Image

    share = values.astype(np.float64) / scale.limit if scale.limit else np.zeros(values.shape)
    if share.shape != size:  # numbers are interpolated, not colours, so that no colour outside the scale arises
        picture = Image.fromarray(share.astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
        share = np.asarray(picture, dtype=np.float64)
    palette = _palette(scale)
    low = -LEVELS if scale.signed else 0
    index = np.rint(np.clip(share, -1, 1) * LEVELS).astype(int).clip(low, LEVELS) - low
    picture = Image.fromarray(index.astype(np.uint8))
    picture.putpalette(palette[:, :3].tobytes())
    return _save(picture, format="PNG", optimize=True, transparency=palette[:, 3].tobytes())


def colours(signed: bool) -> "Colormap":
    """Give the colour map of maps with both signs, or of positive maps, over [0, 1]."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", [_BLUE, (1, 1, 1), _RED]) if signed else colormaps["inferno"]


def ramp(scale: Scale) -> tuple[np.ndarray, Scale]:
    """Give the map (1, 65), and its scale, that drawn by ``heat`` is a colour bar with the lowest value left."""
    return np.linspace(-1 if scale.signed else 0, 1, 2 * LEVELS + 1)[None], replace(scale, limit=1.0, clipped=False)


def lossless(pixels: np.ndarray) -> bytes:
    """Write (H, W) or (H, W, 3) uint8 pixels as PNG."""
    return _save(_picture(pixels), format="PNG", optimize=True)


def compact(pixels: np.ndarray) -> bytes:
    """Write (H, W) or (H, W, 3) uint8 pixels as JPEG, about a third of the PNG's size."""
    return _save(_picture(pixels), format="JPEG", quality=JPEG_QUALITY, optimize=True, subsampling=0)


def two_bytes(units: np.ndarray, part: int = 1) -> bytes:
    """Write Hounsfield units (H, W) int16 as PNG: red times 256 and green are the units above -1024.

    Parameters
    ----------
    units : ndarray (H, W), int16
        Values beyond ``windows.WHOLE`` are cut.
    part : int
        The sides are divided by this; a pixel is then the mean of those that it stands for.

    Returns
    -------
    bytes
    """
    from PIL import Image

    if part > 1:
        size = (max(1, units.shape[1] // part), max(1, units.shape[0] // part))
        units = np.asarray(Image.fromarray(units.astype(np.float32)).resize(size, Image.Resampling.BOX))
    low, high = WHOLE
    above = np.rint(np.clip(units, low, high) - low).astype(np.uint16)
    bytes_ = np.stack([above >> 8, above & 255, np.zeros_like(above)], axis=-1).astype(np.uint8)
    return _save(Image.fromarray(bytes_), format="PNG", optimize=True)


def shrink(pixels: np.ndarray, longest: int) -> np.ndarray:
    """Reduce uint8 pixels until the longer side is at most ``longest``, proportions kept; never enlarge."""
    from PIL import Image

    height, width = pixels.shape[:2]
    if max(height, width) <= longest:
        return pixels
    factor = longest / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))


def data_uri(data: bytes) -> str:
    """Spell an image file as an address that holds it."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _picture(pixels: np.ndarray) -> "Picture":
    from PIL import Image

    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _save(picture: "Picture", **options: Any) -> bytes:
    with io.BytesIO() as buffer:
        picture.save(buffer, **options)
        return buffer.getvalue()


def _palette(scale: Scale) -> np.ndarray:
    """Colours (LEVELS + 1 or 2 LEVELS + 1, 4) uint8, lowest value first."""
    from matplotlib import colormaps

    share = np.linspace(-1 if scale.signed else 0, 1, (2 if scale.signed else 1) * LEVELS + 1)
    if scale.uncertainty and not scale.signed:
        rgba = colormaps["viridis"](0.2 + 0.8 * share)
    elif scale.signed:  # leave out the pale middle: at low opacity it would lie as a haze over the image
        rgba = colours(True)(0.5 + np.sign(share) * (0.25 + 0.25 * np.abs(share)))
    else:  # leave out the black end for the same reason
        rgba = colours(False)(0.25 + 0.75 * share)
    rgba[:, 3] = np.abs(share) ** OPACITY_POWER
    return np.rint(rgba * 255).astype(np.uint8)
