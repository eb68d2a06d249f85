"""Brier score: the mean squared difference of probability and truth.

``Brier = mean of (probability - truth)^2``, truth being 0 or 1. From 0 to 1; 0 is best, and 0.25 is what a constant 0.5
gets. It falls both with better calibration and with better separation of the classes.

Ties: of no importance.
Not defined: None without images. One class alone will do.
Not to be confused with: Brier's own sum over both classes, which is twice as large; ``ece``, which says nothing of how
well the classes are told apart.

Reference
---------
G. W. Brier. Verification of forecasts expressed in terms of probability. Monthly Weather Review 78, 1950.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli import calibration
from cbir_cli.errors import ShapeError
from cbir_cli.metrics.classification._check import pairs

TAKES = "probability"
BEST = 0.0


def score(truth: ArrayLike, probability: ArrayLike) -> float | None:
    """Brier score.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Of class 1, from 0 to 1.

    Returns
    -------
    float or None
        From 0 to 1; None without images.

    Raises
    ------
    ShapeError
        If the lengths differ, truth is not 0 or 1, or a probability is not from 0 to 1.
    """
    return calibration.brier(*_pairs(truth, probability))


def expected(truth: ArrayLike, probability: ArrayLike) -> float | None:
    """Exact mean of the score if the same probabilities were dealt out to the images at random.

    With the share p of positive images it is ``mean(probability^2) - 2 p mean(probability) + p``.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Of class 1, from 0 to 1.

    Returns
    -------
    float or None
        From 0 to 1; None without images.

    Raises
    ------
    ShapeError
        As ``score``.
    """
    true, predicted = _pairs(truth, probability)
    if not len(true):
        return None
    share = true.mean()
    return float(np.square(predicted).mean() - 2 * share * predicted.mean() + share)


def _pairs(truth: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = pairs(truth, probability)
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise ShapeError("expected probabilities from 0 to 1")
    return true, predicted
