"""Pointing game: whether a map's most relevant pixel lies in the lesion.

1 for a hit, 0 for a miss; the mean over images is the share of hits. From 0 to 1; an uninformative map gets the
lesion's share of the image.

With ``tolerance`` a hit may lie that far outside, in pixels of the mask. The default is 0; the paper's evaluation takes
15 pixels, in photographs of some 500 pixels at full size, so as to be fair to coarse maps.

Ties: where several pixels are the most relevant, the share of them that hits. So an all-zero map scores exactly chance;
Quantus counts a hit if any of them does, TorchRay asks for one point.
Empty mask: masked, as nothing can be hit.
Signed maps: ``sign="positive"`` (default) takes the largest relevance as it is, ``"absolute"`` its magnitude.
Not to be confused with: relevance rank accuracy (``relevance_rank``), which looks at as many pixels as the lesion has;
the energy-based pointing game, which is the share of all relevance that lies in the lesion.

Reference
---------
J. Zhang, Z. Lin, J. Brandt, X. Shen, S. Sclaroff. Top-down Neural Attention by Excitation Backprop. ECCV 2016.
arXiv:1608.00507. (The pointing game.)

Differs from the authors' code
------------------------------
Hits are averaged over images, not first over the images of each class. A pixel at exactly the tolerance is a hit.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import UsageError
from cbir_cli.metrics.explanation._check import lesion, pairs

NEEDS = "masks"


def score(maps: ArrayLike, masks: ArrayLike, *, sign: str = "positive", tolerance: float = 0.0) -> "np.ma.MaskedArray":
    """Share of each map's most relevant pixels that hit the lesion; there is one such pixel unless some are equal.

    Parameters
    ----------
    maps : array (N, H, W) of float
        Relevance of every pixel, of any scale.
    masks : array (N, H, W) of bool
        True in the lesion.
    sign : str
        What makes a pixel relevant: ``positive`` relevance, or ``absolute``, its magnitude.
    tolerance : float
        How far from the lesion a hit may lie, in pixels between centres, 0 or more.

    Returns
    -------
    masked array (N,) of float64
        From 0 to 1, masked where a mask is empty.

    Raises
    ------
    ShapeError
        If maps and masks are not (N, H, W) of one shape, a map is not finite, or masks are not bool.
    UsageError
        If there is no such sign, or the tolerance is not finite and at least 0.
    """
    values, lesions = pairs(maps, masks, sign)
    target, defined = _target(lesions, tolerance), lesions.any(axis=(1, 2))
    shares = np.zeros(len(values))
    for i in np.flatnonzero(defined):
        tied = values[i] == values[i].max()
        shares[i] = np.count_nonzero(tied & target[i]) / np.count_nonzero(tied)
    return np.ma.MaskedArray(shares, mask=~defined)


def expected(masks: ArrayLike, *, tolerance: float = 0.0) -> "np.ma.MaskedArray":
    """Exact mean of the pointing game over all orders of a map's pixels: the share of the image that is a hit.

    Parameters
    ----------
    masks : array (N, H, W) of bool
        True in the lesion.
    tolerance : float
        How far from the lesion a hit may lie, in pixels, 0 or more.

    Returns
    -------
    masked array (N,) of float64
        From 0 to 1, masked where a mask is empty.

    Raises
    ------
    ShapeError
        If masks are not (N, H, W) of bool.
    UsageError
        If the tolerance is not finite and at least 0.
    """
    lesions = lesion(masks)
    target, pixels = _target(lesions, tolerance), lesions.shape[1] * lesions.shape[2]
    return np.ma.MaskedArray(target.sum(axis=(1, 2)) / max(1, pixels), mask=~lesions.any(axis=(1, 2)))


def _target(lesions: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    """Return where a pixel hits: in the lesion or no farther from it than the tolerance; nowhere if there is none."""
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UsageError(f"tolerance: expected a number of pixels of at least 0, found {tolerance}")
    if not tolerance:
        return lesions
    from scipy.ndimage import distance_transform_edt

    near = [distance_transform_edt(~one) <= tolerance if one.any() else one for one in lesions]
    return np.asarray(near, dtype=bool).reshape(lesions.shape)
