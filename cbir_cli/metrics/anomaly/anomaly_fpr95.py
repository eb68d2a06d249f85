"""anomaly-fpr95: the share of ordinary images called anomalies while 95 % of the anomalies are found.

The false positive rate of the distance at a sensitivity of at least 0.95, anomalies being positive. From 0 to 1; 0 is
best, and about 0.95 is chance.

Ties: images at equal distances are called alike.
Not defined: None where there are no anomalies, or nothing else.
Not to be confused with: ``false-positive-rate@95sensitivity`` of a classifier's predictions; FPR95 with
ordinary images as the positive class, as ODIN has it: the share of anomalies missed while 95 % of the ordinary images
are kept.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Anomaly detection, in its supplement
and code.)
D. Hendrycks, M. Mazeika, T. Dietterich. Deep Anomaly Detection with Outlier Exposure. ICLR 2019. (Section 4.2.)
"""

from numpy.typing import ArrayLike

from cbir_cli.metrics.classification import false_positive_rate

BEST = 0.0


def score(anomaly: ArrayLike, distance: ArrayLike) -> float | None:
    """False positive rate at a sensitivity of 0.95.

    Parameters
    ----------
    anomaly : array (N,) of int
        1 for anomalies, 0 else.
    distance : array (N,) of float
        From what is known; larger where an image is more of an anomaly.

    Returns
    -------
    float or None
        From 0 to 1; None where it is not defined.

    Raises
    ------
    ShapeError
        If the lengths differ, ``anomaly`` is not 0 or 1, or a distance is not finite.
    """
    return false_positive_rate.score(anomaly, distance, sensitivity=0.95)


def expected(anomaly: ArrayLike, distance: ArrayLike) -> float | None:
    """Exact mean if the same distances were dealt out to the images at random.

    Parameters
    ----------
    anomaly : array (N,) of int
        1 for anomalies, 0 else.
    distance : array (N,) of float

    Returns
    -------
    float or None
        From 0 to 1; None where it is not defined.

    Raises
    ------
    ShapeError
        As ``score``.
    """
    return false_positive_rate.expected(anomaly, distance, sensitivity=0.95)
