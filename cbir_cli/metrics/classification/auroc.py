"""AUROC: the chance that a positive image gets a higher prediction than a negative one.

``AUROC = (pairs in the right order + half the tied pairs) / (positive images x negative images)``: the area under the
receiver operating characteristic. From 0 to 1; 0.5 for predictions that know nothing.

Ties: a positive and a negative image with equal predictions count one half.
Not defined: None where only one class is there (an empty set included), since no pair can be formed.
Not to be confused with: the area under the precision-recall curve, whose chance level is the share of positives.

Reference
---------
J. Hanley, B. McNeil. The meaning and use of the area under a receiver operating characteristic (ROC) curve. Radiology
143, 1982.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.classification._check import pairs


def score(truth: ArrayLike, probability: ArrayLike) -> float | None:
    """Area under the ROC curve.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Prediction for class 1: a probability, a logit, or anything else that rises with it.

    Returns
    -------
    float or None
        From 0 to 1; None if all images are of one class.

    Raises
    ------
    ShapeError
        If the lengths differ, truth is not 0 or 1, or a prediction is not finite.
    """
    true, predicted = pairs(truth, probability)
    positive = np.sort(predicted[true == 1])
    negative = predicted[true == 0]
    if not len(positive) or not len(negative):
        return None
    # Counted twice: the positive images below each negative one; once: those equal to it.
    not_above = sum(np.searchsorted(positive, negative, side).sum() for side in ("left", "right"))
    return float(1 - not_above / (2 * len(positive) * len(negative)))


def expected(truth: ArrayLike, probability: ArrayLike) -> float | None:
    """Mean of AUROC if the same predictions were dealt out to the images at random: one half.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Prediction for class 1.

    Returns
    -------
    float or None
        0.5; None if all images are of one class.

    Raises
    ------
    ShapeError
        As ``score``.
    """
    true, _ = pairs(truth, probability)
    return None if true.all() or not true.any() else 0.5
