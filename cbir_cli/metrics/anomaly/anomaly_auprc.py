"""anomaly-auprc: the area under the precision-recall curve of finding anomalies by distance.

Average precision of the distance, anomalies being positive. From 0 to 1; by chance the share of anomalies, and somewhat
more for few images.

Ties: images at equal distances are one threshold.
Not defined: None where there are no anomalies, or nothing else.
Not to be confused with: ``auprc`` of a classifier's predictions; AUPR-Out
and AUPR-In of others, of which this is the one with anomalies as the positive class.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Anomaly detection, in its supplement
and code.)
D. Hendrycks, M. Mazeika, T. Dietterich. Deep Anomaly Detection with Outlier Exposure. ICLR 2019. (Section 4.2.)
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.classification import auprc


def score(anomaly: ArrayLike, distance: ArrayLike) -> float | None:
    """Average precision of the distance as a sign of anomalies.

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
    if np.asarray(anomaly).all():
        return None
    return auprc.score(anomaly, distance)


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
    if np.asarray(anomaly).all():
        return None
    return auprc.expected(anomaly, distance)
