"""F1: the harmonic mean of precision and recall of the positive class, at one threshold.

``F1 = 2 TP / (2 TP + FP + FN)``, an image being called positive when its probability is above 0.5. From 0 to 1.

Ties: a probability of exactly the threshold is negative.
Not defined: None where no image is positive, since recall then has no denominator (an empty set included). If some are
positive and none is called so, F1 is 0. If all images are positive F1 is defined, and calling all of them so gets 1.
Not to be confused with: F1 averaged over both classes (macro), the best F1 over all thresholds, accuracy.

Reference
---------
Silva et al., Scientific Reports 2022, equation 5 (its threshold is not given there; 0.5 is ours).
"""

from numpy.typing import ArrayLike

from cbir_cli.metrics.classification._check import pairs


def score(truth: ArrayLike, probability: ArrayLike, *, threshold: float = 0.5) -> float | None:
    """F1 of the positive class.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Predicted probability of class 1.
    threshold : float
        An image is called positive above it.

    Returns
    -------
    float or None
        From 0 to 1; None if no image is positive.

    Raises
    ------
    ShapeError
        If the lengths differ, truth is not 0 or 1, or a probability is not finite.
    """
    true, predicted = pairs(truth, probability)
    if not true.any():
        return None
    called = predicted > threshold
    return float(2 * true[called].sum() / (true.sum() + called.sum()))


def expected(truth: ArrayLike, probability: ArrayLike, *, threshold: float = 0.5) -> float | None:
    """Exact mean of F1 if the same predictions were dealt out to the images at random.

    With P positive images and M called positive of N, TP is P M / N on average, and F1 = 2 TP / (P + M).

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Predicted probability of class 1.
    threshold : float
        An image is called positive above it.

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
    positive, called = int(true.sum()), int((predicted > threshold).sum())
    return 2 * positive * called / (len(true) * (positive + called)) if positive else None
