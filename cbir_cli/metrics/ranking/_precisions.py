"""Precision at the ranks of the relevant images, which average precision and its namesakes add up."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking._check import binary, counts


def lists(name: str, relevance: ArrayLike, relevant: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return lists (Q, K) and the number of relevant images in each catalogue (Q,), no list holding more than that."""
    found = binary(relevance)
    total = counts(relevant, "relevant", len(found))
    if (found.sum(axis=1) > total).any():
        raise ShapeError(f"{name}: a list holds more relevant images than its catalogue")
    return found, total


def whole_lists(name: str, relevance: ArrayLike, relevant: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the same, every list holding all relevant images of its catalogue."""
    found, total = lists(name, relevance, relevant)
    held = found.sum(axis=1)
    if (held < total).any():
        row = int(np.argmax(held < total))
        raise ShapeError(
            f"{name}: a list of {found.shape[1]} has {held[row]:.0f} of the {total[row]} relevant images of "
            "its catalogue; it needs them all (query -k as large as the catalogue)"
        )
    return found, total


def at_relevant(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Precision at the rank of each relevant image, (Q, K); 0 at the others."""
    return found * found.cumsum(axis=1) / np.arange(1, found.shape[1] + 1)


def expected_sum(relevant: NDArray[np.int64], size: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact mean, over all orders, of the sum of ``at_relevant`` over the first m ranks, which no catalogue lacks.

    Rank i is relevant with probability R / N, and each of the i - 1 before it is relevant then with probability
    ``q = (R - 1) / (N - 1)``. So the mean is ``R / N * sum over i = 1..m of (1 + (i - 1) q) / i``, which is
    ``R / N * (m q + (1 - q) H_m)`` with ``H_m = 1 + 1/2 + ... + 1/m``.
    """
    # Clipped where nothing is relevant, or where the relevant image is the only one: then H_m is m.
    q = np.maximum(0, relevant - 1) / np.maximum(1, size - 1)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, first.max(initial=0) + 1))])
    return np.asarray(relevant / np.maximum(1, size) * (first * q + (1 - q) * harmonic[first]))


def trapezoids(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the ranks i of relevant images of ``(P@(i-1) + P@i) / 2`` with P@0 = 1, (Q,)."""
    held = found.cumsum(axis=1)
    ranks = np.arange(1, found.shape[1] + 1)
    before = np.where(ranks > 1, (held - found) / np.maximum(1, ranks - 1), 1.0)
    return np.asarray((found * (before + held / ranks) / 2).sum(axis=1))
