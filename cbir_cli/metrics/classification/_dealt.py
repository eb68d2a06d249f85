"""Predictions dealt out to the images at random: what the metrics' means over all ways to do so share.

Images with equal predictions are a group, and come together whatever is done. Which images are positive is then a draw
of P of N places without replacement.
"""

import numpy as np
from numpy import ndarray

from cbir_cli.hypergeometric import log_ways


def groups(predicted: ndarray) -> tuple[ndarray, ndarray]:
    """Return how many images each group has, and how many it has with all before it; the highest prediction first."""
    sizes = np.unique(predicted, return_counts=True)[1][::-1]
    return sizes, sizes.cumsum()


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
    logs = log_ways(position - 1, which - 1) + log_ways(total - position, marked - which) - log_ways(total, marked)
    before = np.concatenate([[0.0], np.exp(logs).cumsum()])
    return 1 - before[np.clip(places - which, 0, len(position))]
