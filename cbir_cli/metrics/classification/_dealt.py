"""Predictions dealt out to the images at random: what the metrics' means over all ways to do so share.

Images with equal predictions are a group, and come together whatever is done. Which images are positive is then a draw
of P of N places without replacement.
"""

import numpy as np
from numpy import ndarray
from scipy.special import gammaln


def groups(predicted: ndarray) -> tuple[ndarray, ndarray]:
    """Return how many images each group has, and how many it has with all before it; the highest prediction first."""
    sizes = np.unique(predicted, return_counts=True)[1][::-1]
    return sizes, sizes.cumsum()


def hypergeometric(total: int, marked: int, drawn: int) -> tuple[ndarray, ndarray]:
    """Return how many marked items a draw may hold, and how likely each number is."""
    count = np.arange(max(0, drawn - (total - marked)), min(drawn, marked) + 1)
    logs = _ways(marked, count) + _ways(total - marked, drawn - count) - _ways(total, drawn)
    return count, np.exp(logs)


def reached_before(places: ndarray, total: int, marked: int, which: int) -> ndarray:
    """Return how likely it is that the marked item number ``which`` (from 1) stands at one of some places or later.

    Parameters
    ----------
    places : ndarray (G,) of int
        From 1 on.
    total, marked : int
        All items, in random order, and those that are marked.
    which : int
        From 1 to ``marked``.
    """
    position = np.arange(which, total - marked + which + 1)
    logs = _ways(position - 1, which - 1) + _ways(total - position, marked - which) - _ways(total, marked)
    before = np.concatenate([[0.0], np.exp(logs).cumsum()])
    return 1 - before[np.clip(places - which, 0, len(position))]


def _ways(of: ndarray | int, chosen: ndarray | int) -> ndarray:
    """Return the logarithm of a binomial coefficient."""
    of, chosen = np.asarray(of, np.float64), np.asarray(chosen, np.float64)
    return gammaln(of + 1) - gammaln(chosen + 1) - gammaln(of - chosen + 1)
