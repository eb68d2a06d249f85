"""What the calibration errors share: the error, and its mean by chance."""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli import calibration, hypergeometric
from cbir_cli.metrics.classification._check import pairs


def score(truth: ArrayLike, probability: ArrayLike, bins: int, kind: str) -> float | None:
    """Return the expected calibration error; None without images."""
    true, predicted = pairs(truth, probability)
    return calibration.curve(true, predicted, bins, kind=kind).error


def expected(truth: ArrayLike, probability: ArrayLike, bins: int, kind: str) -> float | None:
    """Return its exact mean if the same predictions were dealt out at random: ``sum over bins of E|T - S| / N``.

    S is the sum of the predictions in a bin, T the number of positive images in it, which is hypergeometric.
    """
    true, predicted = pairs(truth, probability)
    found = calibration.curve(true, predicted, bins, kind=kind)
    total = 0.0
    for count, mean in zip(found.count.tolist(), found.predicted.tolist(), strict=True):
        if count:
            positive, likely = hypergeometric.shares(len(true), int(true.sum()), count)
            total += float((likely * np.abs(positive - count * mean)).sum())
    return total / len(true) if len(true) else None
