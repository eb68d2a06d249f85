"""Border mass: the share of a map's relevance at the edge of the image, or in its corners.

A warning sign of shortcut learning: what makes two patients alike lies inside them. At the edge are letters, tokens,
collimators and black frames; a network that compares those has learnt where an image comes from. From 0 to 1; an
uninformative map gets the share of the image that is edge. What is well above that should be looked at; it is no proof,
since anatomy reaches the edge too.

The frame is as wide as ``width`` times the shorter side, rounded, and at least one pixel; a corner is a square whose
side is three times that, or half of the shorter side where that is less.

Ties: of no matter.
No relevance: masked, as a share of nothing.
Signed maps: ``sign="positive"`` (default) counts what is below zero as nothing, ``"absolute"`` counts magnitudes.
Not to be confused with: the outside of a lesion (relevance mass accuracy), which needs a mask.

Reference
---------
None: a share of relevance. What it looks for is described by A. J. DeGrave, J. D. Janizek, S.-I. Lee. AI for
radiographic COVID-19 detection selects shortcuts over signal. Nature Machine Intelligence 3, 2021.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import UsageError
from cbir_cli.metrics.explanation._check import stack
from cbir_cli.registry import unknown

NEEDS = "maps"

PARTS = ("frame", "corners")


def score(maps: ArrayLike, *, sign: str = "positive", part: str = "frame", width: float = 0.1) -> "np.ma.MaskedArray":
    """Share of each map's relevance at the edge.

    Parameters
    ----------
    maps : array (N, H, W) of float
        Relevance of every pixel, of any scale.
    sign : str
        What makes a pixel relevant: ``positive`` relevance, or ``absolute``, its magnitude.
    part : str
        ``frame`` or ``corners``.
    width : float
        Of the frame, as a share of the shorter side, above 0 and up to 0.5.

    Returns
    -------
    masked array (N,) of float64
        From 0 to 1, masked where a map has no relevance.

    Raises
    ------
    ShapeError
        If maps are not (N, H, W), or one is not finite.
    UsageError
        If there is no such sign or part, or the width is out of range.
    """
    values = np.maximum(stack(maps, sign), 0).astype(np.float64)
    edge = _edge(values.shape[1:], part, width)
    total = values.sum(axis=(1, 2))
    share = np.divide(values[:, edge].sum(axis=1), total, out=np.zeros(len(values)), where=total > 0)
    return np.ma.MaskedArray(np.clip(share, 0, 1), mask=total == 0)


def expected(maps: ArrayLike, *, part: str = "frame", width: float = 0.1) -> "np.ma.MaskedArray":
    """Exact mean over all orders of the maps' pixels: the share of the image that is edge.

    Parameters
    ----------
    maps : array (N, H, W) of float
        Relevance of every pixel; only the shape counts.
    part : str
        ``frame`` or ``corners``.
    width : float
        Of the frame, as a share of the shorter side.

    Returns
    -------
    masked array (N,) of float64
        From 0 to 1, nothing masked.

    Raises
    ------
    ShapeError
        If maps are not (N, H, W), or one is not finite.
    UsageError
        If there is no such part, or the width is out of range.
    """
    values = stack(maps, "positive")
    edge = _edge(values.shape[1:], part, width)
    return np.ma.MaskedArray(np.full(len(values), edge.sum() / max(1, edge.size)), mask=np.zeros(len(values), bool))


def _edge(shape: tuple[int, ...], part: str, width: float) -> NDArray[np.bool_]:
    """Return where an image of a shape is edge."""
    if part not in PARTS:
        raise unknown("part of the border", part, PARTS)
    if not 0 < width <= 0.5:
        raise UsageError(f"width: expected a share of the side above 0 and up to 0.5, found {width}")
    pixels = max(1, round(width * min(shape, default=1)))
    if part == "corners":
        pixels = max(1, min(3 * pixels, min(shape, default=1) // 2))
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) < pixels for n in shape)
    return rows[:, None] & columns if part == "corners" else rows[:, None] | columns
