"""Intraclass correlation: how much of the spread of severities comes from the images, and not from the raters.

``ICC = (MSB - error) / (MSB + ...)`` of the mean squares of a two-way table of N images and M raters: ``MSB`` between
images, ``MSJ`` between raters, ``MSE`` what is left, ``MSW`` within images (raters and rest together).

====================  ==========  ==============================================  ==================================
name                  elsewhere   formula                                         says
====================  ==========  ==============================================  ==================================
one-way               ICC(1,1)    (MSB - MSW) / (MSB + (M-1) MSW)                 each image has raters of its own
agreement             ICC(2,1),   (MSB - MSE) / (MSB + (M-1) MSE                  one rater, absolute agreement: a
                      ICC(A,1)    + M (MSJ - MSE) / N)                            rater who is stricter disagrees
consistency           ICC(3,1),   (MSB - MSE) / (MSB + (M-1) MSE)                 one rater, consistency: being
                      ICC(C,1)                                                    stricter throughout does not count
one-way-mean          ICC(1,k)    (MSB - MSW) / MSB                               as above, of the mean of all M raters
agreement-mean        ICC(2,k)    (MSB - MSE) / (MSB + (MSJ - MSE) / N)           as above, of the mean of all M raters
consistency-mean      ICC(3,k)    (MSB - MSE) / MSB                               as above; also Cronbach's alpha
====================  ==========  ==============================================  ==================================

1 where raters agree, about 0 where images differ no more than raters do; it can be negative. Severities are taken for
numbers with equal steps.

Parameters
----------
severities : array (N, M) of float
    A row for each image, a column for each rater.

Returns
-------
float or None
    At most 1. None for less than two images or raters, or if there is no spread to share out.

Raises
------
ShapeError
    If severities are not (N, M) or not finite.

Reference
---------
P. E. Shrout, J. L. Fleiss. Intraclass correlations: uses in assessing rater reliability. Psychological Bulletin 86,
1979. The names of what is estimated: K. O. McGraw, S. P. Wong. Forming inferences about some intraclass correlation
coefficients. Psychological Methods 1, 1996.
"""

from typing import NamedTuple

from numpy.typing import ArrayLike

from cbir_cli.metrics.agreement._check import table


class _Squares(NamedTuple):
    """Mean squares of a two-way table without replication."""

    images: int
    raters: int
    between: float
    within: float
    judges: float
    rest: float


def one_way(severities: ArrayLike) -> float | None:
    """ICC(1,1), of one rater, where each image has raters of its own."""
    s = _squares(severities)
    return s and _ratio(s.between - s.within, s.between + (s.raters - 1) * s.within)


def agreement(severities: ArrayLike) -> float | None:
    """ICC(2,1), of one rater: two-way random effects, absolute agreement."""
    s = _squares(severities)
    return s and _ratio(
        s.between - s.rest, s.between + (s.raters - 1) * s.rest + s.raters * (s.judges - s.rest) / s.images
    )


def consistency(severities: ArrayLike) -> float | None:
    """ICC(3,1), of one rater: two-way mixed effects, consistency."""
    s = _squares(severities)
    return s and _ratio(s.between - s.rest, s.between + (s.raters - 1) * s.rest)


def one_way_mean(severities: ArrayLike) -> float | None:
    """ICC(1,k), of the mean of all raters, where each image has raters of its own."""
    s = _squares(severities)
    return s and _ratio(s.between - s.within, s.between)


def agreement_mean(severities: ArrayLike) -> float | None:
    """ICC(2,k), of the mean of all raters: two-way random effects, absolute agreement."""
    s = _squares(severities)
    return s and _ratio(s.between - s.rest, s.between + (s.judges - s.rest) / s.images)


def consistency_mean(severities: ArrayLike) -> float | None:
    """ICC(3,k), of the mean of all raters: two-way mixed effects, consistency."""
    s = _squares(severities)
    return s and _ratio(s.between - s.rest, s.between)


def _squares(severities: ArrayLike) -> _Squares | None:
    given = table(severities, "(N, M)")
    n, m = given.shape
    if n < 2 or m < 2:
        return None
    mean, rows, columns = given.mean(), given.mean(axis=1, keepdims=True), given.mean(axis=0, keepdims=True)
    between = m * ((rows - mean) ** 2).sum() / (n - 1)
    within = ((given - rows) ** 2).sum() / (n * (m - 1))
    judges = n * ((columns - mean) ** 2).sum() / (m - 1)
    rest = ((given - rows - columns + mean) ** 2).sum() / ((n - 1) * (m - 1))
    return _Squares(n, m, float(between), float(within), float(judges), float(rest))


def _ratio(above: float, below: float) -> float | None:
    # Sums of squares of equal severities are nothing but for rounding.
    return above / below if abs(below) > 1e-12 else None
