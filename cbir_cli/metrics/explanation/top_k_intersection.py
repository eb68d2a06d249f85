"""Top-k intersection: the share of a map's k most relevant pixels that lie in the lesion.

``TKI = |R_k and S| / k``, with S the lesion's pixels and R_k the k most relevant pixels of the map. From 0 to 1; an
uninformative map gets the lesion's share of the image. Where the lesion has fewer than k pixels, even the best map
gets no more than its share of k: so compare methods, not lesions.

k counts pixels of the mask. Quantus takes 1000 by default, a fiftieth of an image of 224 pixels.

Ties: as in relevance rank accuracy, the mean over all ways to break the tie at the k-th pixel; an all-zero map scores
exactly chance. Quantus gives the places to some of the tied pixels, by position.
Beyond the map: with k of at least as many pixels as the map has, all of them count.
Empty mask: masked, as nothing can be hit.
Signed maps: ``sign="positive"`` (default) ranks relevance as it is, ``"absolute"`` its magnitude.
Not to be confused with: relevance rank accuracy (``relevance_rank``), whose k is the lesion's own number of pixels.

Reference
---------
J. Theiner, E. Müller-Budack, R. Ewerth. Interpretable Semantic Photo Geolocation. WACV 2022. arXiv:2104.14995.
A. Hedström et al. Quantus: An Explainable AI Toolkit for Responsible Evaluation of Neural Network Explanations.
JMLR 24, 2023. (TopKIntersection.)
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import UsageError
from cbir_cli.metrics.explanation._check import pairs
from cbir_cli.metrics.explanation._top import chance, share

NEEDS = "masks"


def score(maps: ArrayLike, masks: ArrayLike, *, k: int, sign: str = "positive") -> "np.ma.MaskedArray":
    """Top-k intersection of each map.

    Parameters
    ----------
    maps : array (N, H, W) of float
        Relevance of every pixel, of any scale.
    masks : array (N, H, W) of bool
        True in the lesion.
    k : int
        Pixels that count, at least 1.
    sign : str
        What makes a pixel relevant: ``positive`` relevance, or ``absolute``, its magnitude.

    Returns
    -------
    masked array (N,) of float64
        From 0 to 1, masked where a mask is empty.

    Raises
    ------
    ShapeError
        If maps and masks are not (N, H, W) of one shape, a map is not finite, or masks are not bool.
    UsageError
        If there is no such sign, or k is below 1.
    """
    if k < 1:
        raise UsageError(f"expected k of at least 1, found {k}")
    values, lesions = pairs(maps, masks, sign)
    defined = lesions.any(axis=(1, 2))
    shares = np.zeros(len(values))
    for i in np.flatnonzero(defined):
        shares[i] = share(values[i].ravel(), lesions[i].ravel(), min(k, values[i].size))
    return np.ma.MaskedArray(shares, mask=~defined)


def expected(masks: ArrayLike) -> "np.ma.MaskedArray":
    """Exact mean of top-k intersection over all orders of the map's pixels: ``|S| / (H W)``, whatever k is.

    Parameters
    ----------
    masks : array (N, H, W) of bool
        True in the lesion.

    Returns
    -------
    masked array (N,) of float64
        From 0 to 1, masked where a mask is empty.

    Raises
    ------
    ShapeError
        If masks are not (N, H, W) of bool.
    """
    return chance(masks)
