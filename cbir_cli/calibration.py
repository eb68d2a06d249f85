"""Calibration of probabilities: whether of the images that are called 0.8 positive, eight in ten are.

Probabilities are put into bins; in each bin the mean prediction stands beside the share of images that are positive.
There are two ways to make B bins:

``width``
    Equal width: ``[0, 1/B], (1/B, 2/B], ..., ((B - 1)/B, 1]``.
``mass``
    As many images in each as there can be: with r predictions below it, an image of N lies in bin ``floor(B r / N)``.
    Equal predictions stay together, so that the order of the images does not matter, and bins may come out empty.

Reference
---------
C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On Calibration of Modern Neural Networks. ICML 2017. (Section 2, equations
1 to 3; 15 bins of equal width as there.)
K. Nguyen, B. O'Connor. Posterior calibration and exploratory analysis for natural language processing models. EMNLP
2015. (Bins of equal mass.)
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError
from cbir_cli.registry import unknown

BINS = 15
KINDS = ("width", "mass")


@dataclass(frozen=True)
class Curve:
    """What a reliability diagram shows.

    Attributes
    ----------
    lower, upper : ndarray (B,), float64
        Ends of the bins; of equal mass the smallest and the largest prediction in each, NaN where it is empty.
    count : ndarray (B,), int64
        Images in each bin.
    predicted, observed : ndarray (B,), float64
        Mean prediction, and share of positive images; NaN where a bin is empty.
    """

    lower: ndarray
    upper: ndarray
    count: ndarray
    predicted: ndarray
    observed: ndarray

    @property
    def error(self) -> float | None:
        """Expected calibration error: mean of ``|observed - predicted|`` over the images; None without images."""
        there = self.count > 0
        if not there.any():
            return None
        off = np.abs(self.observed[there] - self.predicted[there])
        return float((self.count[there] * off).sum() / self.count.sum())


def curve(truth: ArrayLike, probability: ArrayLike, bins: int = BINS, *, kind: str = "width") -> Curve:
    """Calibration curve of the predicted probabilities of one class.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Of class 1, from 0 to 1.
    bins : int
    kind : str
        ``width`` or ``mass``.

    Returns
    -------
    Curve

    Raises
    ------
    ShapeError
        If lengths differ, truth is not 0 or 1, a probability is not from 0 to 1, or there is no bin.
    UsageError
        If there is no such kind of bins.
    """
    true, predicted = np.asarray(truth), np.asarray(probability, np.float64)
    if true.shape != predicted.shape or not ((true == 0) | (true == 1)).all():
        raise ShapeError(f"expected truth (N,) of 0 and 1, found {true.shape} for {predicted.shape} probabilities")
    places = bin_of(predicted, bins, kind=kind)
    count = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = [np.bincount(places, values, minlength=bins) / count for values in (predicted, true.astype(np.float64))]
    if kind == "width":
        edges = np.linspace(0, 1, bins + 1)
        return Curve(edges[:-1], edges[1:], count, *mean)
    lower, upper = np.full(bins, np.inf), np.full(bins, -np.inf)
    np.minimum.at(lower, places, predicted)
    np.maximum.at(upper, places, predicted)
    empty = count == 0
    return Curve(np.where(empty, np.nan, lower), np.where(empty, np.nan, upper), count, *mean)


def bin_of(probability: ArrayLike, bins: int = BINS, *, kind: str = "width") -> ndarray:
    """Return the bin of each probability, (N,) int64 from 0.

    Raises
    ------
    ShapeError
        If a probability is not from 0 to 1, or there is no bin.
    UsageError
        If there is no such kind of bins.
    """
    predicted = np.asarray(probability, np.float64)
    if kind not in KINDS:
        raise unknown("kind of bins", kind, KINDS)
    if bins < 1:
        raise ShapeError(f"expected at least 1 bin, found {bins}")
    if predicted.ndim != 1 or not ((predicted >= 0) & (predicted <= 1)).all():
        raise ShapeError(f"expected probabilities (N,) from 0 to 1, found {predicted.shape}")
    if kind == "width":
        return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], predicted, side="left")
    lower = np.searchsorted(np.sort(predicted), predicted, side="left")
    return lower * bins // max(1, len(predicted))


def brier(truth: ArrayLike, probability: ArrayLike) -> float | None:
    """Brier score: mean of the squared difference of prediction and truth; None without images.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Of class 1.

    Reference
    ---------
    G. W. Brier. Verification of forecasts expressed in terms of probability. Monthly Weather Review 78, 1950. (Half of
    what is defined there for two classes, as is the custom.)
    """
    off = np.asarray(probability, np.float64) - np.asarray(truth, np.float64)
    return float(np.square(off).mean()) if len(off) else None
