"""anomaly-auroc: the chance that an anomaly is farther from what is known than another image.

The area under the ROC curve of the distance, anomalies being positive. From 0 to 1; 0.5 by chance.

Ties: an anomaly and another image at equal distances count one half.
Not defined: None where there are no anomalies, or nothing else.
Not to be confused with: ``auroc`` of a classifier's predictions; ``anomaly-auprc``,
whose chance level is the share of anomalies.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Anomaly detection, in its supplement
and code.)
D. Hendrycks, M. Mazeika, T. Dietterich. Deep Anomaly Detection with Outlier Exposure. ICLR 2019. (Section 4.2.)
"""

from numpy.typing import ArrayLike

from cbir_cli.metrics.classification import auroc


def score(anomaly: ArrayLike, distance: ArrayLike) -> float | None:
    """AUROC of the distance as a sign of anomalies.

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
    return auroc.score(anomaly, distance)


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
    return auroc.expected(anomaly, distance)
