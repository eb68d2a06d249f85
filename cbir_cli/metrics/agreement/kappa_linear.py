"""Weighted kappa, linear weights: how far two raters' severities agree beyond chance.

``kappa = 1 - sum_ij w_ij o_ij / sum_ij w_ij e_ij`` with ``w_ij = |i - j|``, ``o_ij`` the share of images to which the
first rater gives severity i and the second j, and ``e_ij`` the product of the shares with which each gives them. 1
where all severities are the same, 0 for what chance would give, below where it is worse.

``kappa-quadratic`` squares the differences, so that large ones weigh more, and has other values.

Not defined: None if both raters give one and the same severity throughout (no images included), since then chance
agrees as well.
Not to be confused with: kappa without weights, for which none and severe differ no more than none and mild.

Reference
---------
J. Cohen. Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit.
Psychological Bulletin 70, 1968. (Weights: D. Cicchetti, T. Allison, 1971.)
"""

from numpy.typing import ArrayLike

from cbir_cli.metrics.agreement._kappa import kappa


def score(first_severity: ArrayLike, second_severity: ArrayLike) -> float | None:
    """Linearly weighted kappa of two raters.

    Parameters
    ----------
    first_severity, second_severity : array (N,) of int
        Severities of the same images.

    Returns
    -------
    float or None
        At most 1; None if it is not defined.

    Raises
    ------
    ShapeError
        If the lengths differ or a severity is not finite.
    """
    return kappa(first_severity, second_severity, lambda difference: difference)


def expected(raters: int) -> float:
    """Mean of kappa by chance: nothing, which is what it is corrected for.

    Parameters
    ----------
    raters : int

    Returns
    -------
    float
        0.
    """
    return 0.0
