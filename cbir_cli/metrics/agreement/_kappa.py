"""Weighted kappa, what its kinds share."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.metrics.agreement._check import pair


def kappa(
    first: ArrayLike, second: ArrayLike, cost: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> float | None:
    """Return 1 - observed by expected cost of two raters' differences; None if none is to be expected."""
    one, other = pair(first, second, "severities")
    levels, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    counts = np.zeros((len(levels), len(levels)))
    np.add.at(counts, (places[: len(one)], places[len(one) :]), 1)
    weights = cost(np.abs(levels[:, None] - levels))
    by_chance = (weights * np.outer(counts.sum(axis=1), counts.sum(axis=0))).sum()
    return float(1 - len(one) * (weights * counts).sum() / by_chance) if by_chance else None
