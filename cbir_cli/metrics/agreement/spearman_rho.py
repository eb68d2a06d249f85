"""Spearman's rho: the linear correlation of two raters' ranks.

``rho = sum_i (a_i - mean a) (b_i - mean b) / (N sd(a) sd(b))`` of the ranks ``a`` and ``b``; without ties
``1 - 6 sum_i (a_i - b_i)^2 / (N^3 - N)``. From -1 (reversed) to 1 (the same). Large differences of rank weigh more than
in Kendall's tau.

Ties: tied images share the mean of their ranks.
Not defined: None for less than two images, or if a rater ties all of them.

Reference
---------
C. Spearman. The proof and measurement of association between two things. American Journal of Psychology 15, 1904.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.agreement._check import pair


def score(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rho of two rankings of the same images.

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
    from scipy.stats import spearmanr

    one, other = pair(first, second)
    if len(one) < 2 or not np.ptp(one) or not np.ptp(other):
        return None
    return float(spearmanr(one, other).statistic)


def expected(raters: int) -> float:
    """Mean of rho over all orders: nothing.

    Parameters
    ----------
    raters : int

    Returns
    -------
    float
        0.
    """
    return 0.0
