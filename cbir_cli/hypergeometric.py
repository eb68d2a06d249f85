"""Draws without replacement: how many of the drawn are marked, and how likely each number is."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_AWAY = 10
"""Standard deviations beyond which a number of marked items is left out."""


def shares(total: int, marked: int, drawn: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of marked items that a draw may hold, and their probabilities.

    Parameters
    ----------
    total, marked : int
        All items, at least one, and those of them that are marked.
    drawn : int

    Returns
    -------
    tuple of ndarray (M,), int64, and ndarray (M,), float64
        Ascending; without numbers that are ten standard deviations from the mean, whose probabilities do not show in
        float64. They sum to 1.
    """
    rest, mean = total - marked, drawn * marked / total
    away = _AWAY * np.sqrt(mean * rest / total * (total - drawn) / max(1, total - 1)) + 5
    low, high = max(0, drawn - rest, int(mean - away)), min(marked, drawn, int(mean + away) + 1)
    count = np.arange(low, high + 1)
    likely = np.exp(log_ways(marked, count) + log_ways(rest, drawn - count) - log_ways(total, drawn))
    return count, likely / likely.sum()


def log_ways(of: ArrayLike, chosen: ArrayLike) -> NDArray[np.float64]:
    """Logarithm of a binomial coefficient: in how many ways some of the items can be chosen."""
    from scipy.special import gammaln

    every, some = np.asarray(of, np.float64), np.asarray(chosen, np.float64)
    return np.asarray(gammaln(every + 1) - gammaln(some + 1) - gammaln(every - some + 1))
