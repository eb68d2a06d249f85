"""sensitivity@95specificity: the share of positive images that are found while 95 % of the negative ones are left out.

``max over thresholds of TP / P, where TN / N >= specificity``; an image is called positive where its prediction is at
or above the threshold. From 0 to 1. Thresholds lie at predictions: nothing is interpolated between the points of the
ROC curve, and the number of negative images that may be called positive is ``floor(N (1 - specificity))``.

Ties: images with equal predictions are called alike.
Not defined: None where only one class is there (an empty set included).
Chance: ``1 - specificity`` for many images; ``expected`` is exact.
Not to be confused with: sensitivity at a threshold of 0.5; specificity at a fixed sensitivity. The threshold is chosen
on the images that are scored, so the value is a little too good: another set of images needs a threshold of its own.

Reference
---------
M. S. Pepe. The Statistical Evaluation of Medical Tests for Classification and Prediction. Oxford, 2003. (ROC at a fixed
false positive rate, section 4.3.)
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.classification import _dealt
from cbir_cli.metrics.classification._check import pairs

SPELT = "specificity"


def score(truth: ArrayLike, probability: ArrayLike, *, specificity: float = 0.95) -> float | None:
    """Sensitivity at a fixed specificity.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Prediction for class 1: a probability, a logit, or anything else that rises with it.
    specificity : float
        From 0 to 1: the least that is accepted.

    Returns
    -------
    float or None
        From 0 to 1; None if all images are of one class.

    Raises
    ------
    ShapeError
        If the lengths differ, truth is not 0 or 1, a prediction is not finite, or specificity is not from 0 to 1.
    """
    true, predicted = pairs(truth, probability)
    allowed = _allowed(int((true == 0).sum()), specificity)
    if true.all() or not true.any():
        return None
    order = np.argsort(-predicted, kind="stable")
    _, before = _dealt.groups(predicted)
    hits = true[order].cumsum()[before - 1]
    return float(hits[before - hits <= allowed].max(initial=0) / true.sum())


def expected(truth: ArrayLike, probability: ArrayLike, *, specificity: float = 0.95) -> float | None:
    """Exact mean of the sensitivity if the same predictions were dealt out to the images at random.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Prediction for class 1.
    specificity : float
        From 0 to 1.

    Returns
    -------
    float or None
        From 0 to 1; None if all images are of one class. ``(f + 1) / (N + 1)`` if no two predictions are equal, N being
        the negative images and f those that may be called positive.

    Raises
    ------
    ShapeError
        As ``score``.
    """
    true, predicted = pairs(truth, probability)
    negative = int((true == 0).sum())
    allowed = _allowed(negative, specificity)
    if true.all() or not true.any():
        return None
    if allowed == negative:
        return 1.0
    sizes, before = _dealt.groups(predicted)
    # A positive image is found if, among the others, no negative one too many stands in its group or before it.
    found = _dealt.reached_before(before, len(true) - 1, negative, allowed + 1)
    return float((sizes * found).sum() / len(true))


def _allowed(negative: int, specificity: float) -> int:
    """Return how many negative images may be called positive."""
    if not 0 <= specificity <= 1:
        raise ShapeError(f"expected a fraction from 0 to 1, found {specificity}")
    return math.floor(negative * (1 - specificity) + 1e-9)  # of 20 images .95 lets one pass, though 20 * .05 < 1
