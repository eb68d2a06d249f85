"""Relevance rank accuracy: the share of a map's most relevant pixels that lie in the lesion, as many as it has pixels.

``RR = |R_M and S| / |S|``, with S the lesion's pixels, M = |S|, and R_M the M most relevant pixels of the map.
From 0 to 1; an uninformative map gets the lesion's share of the image.

The CT-liver paper prints the mean over images in percent, and leaves M open: the code that it names takes M = |S|.

Ties: where the M-th most relevant pixel is equal to others, the places that are left count by the share of those pixels
that lies in the lesion: the mean over all ways to break the tie. So an all-zero map scores exactly chance. Quantus
gives the places to some of the tied pixels, by position.
Empty mask: masked, as the share of nothing.
Signed maps: ``sign="positive"`` (default) ranks relevance as it is, ``"absolute"`` its magnitude.
Not to be confused with: relevance mass accuracy (the share of all relevance that lies in the lesion, where size counts
and not rank alone); top-k intersection, whose k does not depend on the lesion; the pointing game (``pointing_game``),
which looks at one pixel.

Reference
---------
K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. 2022. (Section 5.3, equation 7.)
L. Arras, A. Osman, W. Samek. CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
explanations. Information Fusion 81, 2022. arXiv:2003.07258. (Relevance rank accuracy.)
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.explanation._check import pairs
from cbir_cli.metrics.explanation._top import chance, share

NEEDS = "masks"


def score(maps: ArrayLike, masks: ArrayLike, *, sign: str = "positive") -> "np.ma.MaskedArray":
    """Relevance rank accuracy of each map.

    Parameters
    ----------
    maps : array (N, H, W) of float
        Relevance of every pixel, of any scale.
    masks : array (N, H, W) of bool
        True in the lesion.
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
        If there is no such sign.
    """
    values, lesions = pairs(maps, masks, sign)
    sizes = lesions.sum(axis=(1, 2))
    shares = np.zeros(len(values))
    for i in np.flatnonzero(sizes):
        shares[i] = share(values[i].ravel(), lesions[i].ravel(), int(sizes[i]))
    return np.ma.MaskedArray(shares, mask=sizes == 0)


def expected(masks: ArrayLike) -> "np.ma.MaskedArray":
    """Exact mean of relevance rank accuracy over all orders of a map's pixels: ``|S| / (H W)``.

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
