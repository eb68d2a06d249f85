"""Kendall's W: how far several raters order the images of one query alike (coefficient of concordance).

``W = 12 S / (M^2 (N^3 - N) - M T)`` for ``M`` raters and ``N`` images, with ``S`` the sum of squared differences of the
images' rank sums from their mean, and ``T`` the sum of ``t^3 - t`` over all groups of ``t`` images that one rater ties.
From 0 (rank sums are equal) to 1 (all orders are the same). ``(M W - 1) / (M - 1)`` is the mean of Spearman's rho over
all pairs of raters, if nobody ties.

Ties: tied images share the mean of their ranks, and ``T`` makes up for them.
Not defined: None for less than two raters or images, or if all raters tie all images.

Reference
---------
M. G. Kendall, B. Babington Smith. The problem of m rankings. Annals of Mathematical Statistics 10, 1939. The correction
for ties: S. Siegel. Nonparametric Statistics for the Behavioral Sciences, 1956, section 9.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.agreement._check import table


def score(ranks: ArrayLike) -> float | None:
    """Kendall's W of several rankings of the same images.

    Parameters
    ----------
    ranks : array (M, N) of float
        A row for each rater, a column for each image; ranks or anything else that orders the images.

    Returns
    -------
    float or None
        From 0 to 1; None if it is not defined.

    Raises
    ------
    ShapeError
        If ranks are not (M, N) or not finite.
    """
    from scipy.stats import rankdata

    given = table(ranks, "(M, N)")
    raters, images = given.shape
    if raters < 2 or images < 2:
        return None
    order = rankdata(given, axis=1)
    tied = sum(float((counts**3 - counts).sum()) for counts in (np.unique(r, return_counts=True)[1] for r in order))
    most = raters**2 * (images**3 - images) - raters * tied
    sums = order.sum(axis=0)
    return float(12 * ((sums - sums.mean()) ** 2).sum() / most) if most else None


def expected(raters: int) -> float:
    """Mean of W over all orders: one by the number of raters, which is far from nothing for a few.

    Parameters
    ----------
    raters : int

    Returns
    -------
    float
        1 / ``raters``.
    """
    return 1 / raters
