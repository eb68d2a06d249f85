"""false-positive-rate@95sensitivity: the share of negative images called positive while 95 % of the positive are found.

``min over thresholds of FP / N, where TP / P >= sensitivity``; an image is called positive where its prediction is at
or above the threshold. From 0 to 1; 0 is best. Known as FPR95, or FPR at 95 % TPR. Nothing is interpolated:
``ceil(P sensitivity)`` positive images are to be found, or more where predictions are equal.

Ties: images with equal predictions are called alike.
Not defined: None where only one class is there (an empty set included).
Chance: ``sensitivity`` for many images; ``expected`` is exact.
Not to be confused with: the false discovery rate, the share of negative images among those called positive; the false
positive rate at a threshold of 0.5; 1 minus ``sensitivity@95specificity``, the other point of the same curve.

Reference
---------
D. Hendrycks, M. Mazeika, T. Dietterich. Deep Anomaly Detection with Outlier Exposure. ICLR 2019. (Section 4.2: FPR95.)

Differs from the authors' code
------------------------------
Theirs takes the threshold whose sensitivity is nearest to 95 %, which may be below it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.metrics.classification import sensitivity as turned
from cbir_cli.metrics.classification._check import pairs

BEST = 0.0
SPELT = "sensitivity"


def score(truth: ArrayLike, probability: ArrayLike, *, sensitivity: float = 0.95) -> float | None:
    """False positive rate at a fixed sensitivity.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Prediction for class 1: a probability, a logit, or anything else that rises with it.
    sensitivity : float
        From 0 to 1: the least that is accepted.

    Returns
    -------
    float or None
        From 0 to 1; None if all images are of one class.

    Raises
    ------
    ShapeError
        If the lengths differ, truth is not 0 or 1, a prediction is not finite, or sensitivity is not from 0 to 1.
    """
    found = turned.score(*_turned(truth, probability), specificity=sensitivity)
    return None if found is None else 1 - found


def expected(truth: ArrayLike, probability: ArrayLike, *, sensitivity: float = 0.95) -> float | None:
    """Exact mean of the rate if the same predictions were dealt out to the images at random.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Prediction for class 1.
    sensitivity : float
        From 0 to 1.

    Returns
    -------
    float or None
        From 0 to 1; None if all images are of one class.

    Raises
    ------
    ShapeError
        As ``score``.
    """
    found = turned.expected(*_turned(truth, probability), specificity=sensitivity)
    return None if found is None else 1 - found


def _turned(truth: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the classes exchanged: what this metric keeps is then the specificity, what it counts the sensitivity."""
    true, predicted = pairs(truth, probability)
    return 1 - true, -predicted
