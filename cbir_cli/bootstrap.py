"""How far a mean may be off: intervals by the bootstrap.

Reference
---------
B. Efron, R. J. Tibshirani. An Introduction to the Bootstrap. 1993. (Section 13.3: the percentile interval.)
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError

SAMPLES = 2000
_AT_ONCE = 2**20


def interval(
    values: ArrayLike, *, level: float = 0.95, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile interval of the mean of independent values.

    What hangs together, such as the results of one query, has to be averaged first; of two methods on the same queries
    give the differences, and the interval is that of a paired comparison.

    Parameters
    ----------
    values : array (N,) of float
    level : float
    samples : int
        Drawn with replacement, each of N values.
    seed : int

    Returns
    -------
    tuple of float or None
        None for less than two values.

    Raises
    ------
    ShapeError
        If values are not (N,) and finite.
    """
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ShapeError(f"expected finite values (N,), found {found.shape}")
    count = len(found)
    if count < 2:
        return None
    draw = np.random.default_rng(seed)
    means = [
        found[draw.integers(0, count, (min(samples - start, at_once), count))].mean(axis=1)
        for at_once in [max(1, _AT_ONCE // count)]
        for start in range(0, samples, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
