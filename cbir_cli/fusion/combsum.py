"""CombSUM: the sum of normalised similarities.

Each list's distances are brought to one scale: with ``scale=min-max`` its nearest result gets 1 and its farthest 0,
with ``scale=z-score`` a result gets by how many standard deviations it is nearer than the mean. What a list does not
have gets 0, or with z-score what its farthest result has. The distance is minus the weighted mean, plus 1 with min-max:
from 0 to 1 there, and negative for good results with z-score. In a list whose distances are all equal each result gets
1, or 0 with z-score.

Reference
---------
E. A. Fox, J. A. Shaw. Combination of multiple searches. TREC-2, 1994. (Table 2: CombSUM. Min-max normalisation:
J. H. Lee, Analyses of multiple evidence combination, SIGIR 1997.)
"""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from cbir_cli.fusion import _lists
from cbir_cli.registry import unknown

_SCALES = ("min-max", "z-score")


def fuse(
    lists: Sequence[tuple[ndarray, ndarray]], weights: Sequence[float], *, scale: str = "min-max"
) -> tuple[ndarray, ndarray]:
    """Make one list of several.

    Parameters
    ----------
    lists : sequence of (ndarray (M,) int64, ndarray (M,) float32)
        Of each index the results, by number, the first result first, and their distances.
    weights : sequence of float
        How much each list counts.
    scale : str
        ``min-max`` or ``z-score``.

    Returns
    -------
    numbers : ndarray (R,), int64
        All results of all lists, the best first; equal ones in the order of their numbers.
    distances : ndarray (R,), float32
        Ascending.

    Raises
    ------
    UsageError
        If there is no such scale.
    ShapeError
        If a result is in a list twice, or weights and lists do not fit.
    """
    if scale not in _SCALES:
        raise unknown("scale", scale, _SCALES)
    _lists.check(lists, weights)
    scores = [_scaled(distances.astype(np.float64), scale) for _, distances in lists]
    floors = [float(one.min()) if len(one) and scale == "z-score" else 0.0 for one in scores]
    # Above the floor, so that adding up gives the floor to what is not in a list.
    numbers, sums = _lists.add(
        (numbers, weight * (one - floor))
        for (numbers, _), one, floor, weight in zip(lists, scores, floors, weights, strict=True)
    )
    mean = (sums + np.dot(weights, floors)) / sum(weights)
    return _lists.ranked(numbers, (scale == "min-max") - mean)


def _scaled(distances: ndarray, scale: str) -> ndarray:
    """Return similarities of one scale."""
    if not len(distances):
        return distances
    if scale == "z-score":
        spread = distances.std()
        return (distances.mean() - distances) / spread if spread else np.zeros(len(distances))
    least, most = distances.min(), distances.max()
    return (most - distances) / (most - least) if most > least else np.ones(len(distances))
