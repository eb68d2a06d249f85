"""AUPRC: the area under the precision-recall curve, as average precision.

``AUPRC = sum over thresholds of (recall - recall before) x precision``, thresholds from the highest prediction down:
the mean precision at which the positive images are found. No interpolation between points. From 0 to 1.

Ties: images with equal predictions are one threshold; the order of the images does not matter.
Not defined: None where no image is positive (an empty set included). It is 1 if all are.
Chance: the share of positive images, and somewhat more for few images: ``expected`` is exact.
Not to be confused with: the area under the ROC curve (``auroc``); the trapezoid area under the same points, which is
too high; average precision of a ranked list (``average-precision``), a mean over queries.

Reference
---------
J. Davis, M. Goadrich. The relationship between precision-recall and ROC curves. ICML 2006. (Why not the trapezoid.)
scikit-learn, ``average_precision_score``.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.classification import _dealt
from cbir_cli.metrics.classification._check import pairs


def score(truth: ArrayLike, probability: ArrayLike) -> float | None:
    """Area under the precision-recall curve.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Prediction for class 1: a probability, a logit, or anything else that rises with it.

    Returns
    -------
    float or None
        From 0 to 1; None if no image is positive.

    Raises
    ------
    ShapeError
        If the lengths differ, truth is not 0 or 1, or a prediction is not finite.
    """
    true, predicted = pairs(truth, probability)
    if not true.any():
        return None
    _, before = _dealt.groups(predicted)
    hits = true[np.argsort(-predicted)].cumsum()[before - 1]
    return float((np.diff(hits, prepend=0) * hits / before).sum() / hits[-1])


def expected(truth: ArrayLike, probability: ArrayLike) -> float | None:
    """Exact mean of AUPRC if the same predictions were dealt out to the images at random.

    With P positive images of N, a group of n images with equal predictions, and M images in it and before it, it is
    ``sum of n (1 + (M - 1) (P - 1) / (N - 1)) / (N M)``: P / N if all predictions are equal or the images are many.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Prediction for class 1.

    Returns
    -------
    float or None
        From 0 to 1; None if no image is positive.

    Raises
    ------
    ShapeError
        As ``score``.
    """
    true, predicted = pairs(truth, probability)
    if not true.any():
        return None
    count, positive = len(true), int(true.sum())
    sizes, before = _dealt.groups(predicted)
    # Of two images of which one is positive: how likely the other is, too.
    also = (positive - 1) / (count - 1) if count > 1 else 1.0
    return float(np.sum(sizes * (1 + (before - 1) * also) / before) / count)
