"""Kendall's tau-b: pairs of images that two raters put in the same order, less those in opposite orders.

``tau-b = (C - D) / sqrt((P - T1) (P - T2))`` with ``P = N (N - 1) / 2`` pairs of images, ``C`` in the same order,
``D`` in opposite ones, ``T1`` and ``T2`` tied by the first and by the second rater. From -1 (reversed) to 1 (the same).

Ties: a pair that one rater ties counts neither way; tau-b makes up for it, so equal orders with equal ties are 1.
Not defined: None for less than two images, or if a rater ties all of them.
Not to be confused with: tau-a, which divides by all pairs; gamma, which divides by those without ties.

Reference
---------
M. G. Kendall. The treatment of ties in ranking problems. Biometrika 33, 1945.
"""

import math

from numpy.typing import ArrayLike

from cbir_cli.metrics.agreement._check import pair


def score(first: ArrayLike, second: ArrayLike) -> float | None:
    """Kendall's tau-b of two rankings of the same images.

    Parameters
    ----------
    first, second : array (N,) of float
        Ranks, image by image; or anything else that orders the images.

    Returns
    -------
    float or None
        From -1 to 1; None if it is not defined.

    Raises
    ------
    ShapeError
        If the lengths differ or a rank is not finite.
    """
    from scipy.stats import kendalltau

    one, other = pair(first, second)
    if len(one) < 2:
        return None
    value = float(kendalltau(one, other, variant="b").statistic)
    return None if math.isnan(value) else value


def expected(raters: int) -> float:
    """Mean of tau over all orders: nothing.

    Parameters
    ----------
    raters : int

    Returns
    -------
    float
        0.
    """
    return 0.0
