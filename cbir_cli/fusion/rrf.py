"""Reciprocal rank fusion: a result counts by its places in the lists, whatever the distances.

    score = sum over the lists that have it of weight / (smoothing + rank)

The distance is 1 - score / (the best that there could be: the first place in all lists), from 0 to 1.

Reference
---------
G. V. Cormack, C. L. A. Clarke, S. Büttcher. Reciprocal rank fusion outperforms Condorcet and individual rank learning
methods. SIGIR 2009. (Section 2; their k of 60 is ``smoothing``.)

Differs from the paper
----------------------
Lists may have weights.
"""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from cbir_cli.errors import UsageError
from cbir_cli.fusion import _lists


def fuse(
    lists: Sequence[tuple[ndarray, ndarray]], weights: Sequence[float], *, smoothing: float = 60.0
) -> tuple[ndarray, ndarray]:
    """Make one list of several.

    Parameters
    ----------
    lists : sequence of (ndarray (M,) int64, ndarray (M,) float32)
        Of each index the results, by number, the first result first, and their distances.
    weights : sequence of float
        How much each list counts.
    smoothing : float
        The larger, the less the first places stand out.

    Returns
    -------
    numbers : ndarray (R,), int64
        All results of all lists, the best first; equal ones in the order of their numbers.
    distances : ndarray (R,), float32
        Ascending, from 0 to 1.

    Raises
    ------
    UsageError
        If smoothing is negative.
    ShapeError
        If a result is in a list twice, or weights and lists do not fit.
    """
    if not 0 <= smoothing < np.inf:
        raise UsageError(f"smoothing={smoothing:g}: expected a number of at least 0")
    _lists.check(lists, weights)
    numbers, scores = _lists.add(
        (numbers, weight / (smoothing + 1 + np.arange(len(numbers))))
        for (numbers, _), weight in zip(lists, weights, strict=True)
    )
    return _lists.ranked(numbers, 1 - scores * (smoothing + 1) / sum(weights))
