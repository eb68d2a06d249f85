"""How far a statistic of several queries may be off: the jackknife.

For statistics that are no means of queries, such as kappa of the severities of all (``bootstrap`` serves means). The
statistic is taken again and again without one cluster of queries; from how it changes follow pseudo-values, one a
cluster, and from their spread Student's interval (``intervals``). That takes as many calls as there are clusters, where
drawing them would take a thousand. For a mean over clusters of equal size it is the interval of the clusters' means.

Reference
---------
J. W. Tukey. Bias and confidence in not-quite large samples (abstract). Annals of Mathematical Statistics 29, 1958.
Groups of clusters: P. S. Kott. The delete-a-group jackknife. Journal of Official Statistics 17, 2001.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from cbir_cli import intervals

T = TypeVar("T")

GROUPS = 100
"""Clusters are put together in so many groups, where there are more: each costs one call of the statistic."""


def interval(
    statistic: Callable[[list[T]], float | None], clusters: Iterable[Iterable[T]], *, level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of a statistic of independent clusters.

    Parameters
    ----------
    statistic : callable
        From a list of items to a number, or None where it is not defined.
    clusters : iterable of iterables
        Items that hang together, such as the queries of one patient.
    level : float
        How often it is to hold the value.

    Returns
    -------
    tuple of float or None
        Around the statistic of all items. None for less than six clusters, or where the statistic is not defined
        without one of them, or is the same without any.
    """
    given = [list(cluster) for cluster in clusters]
    groups = [[item for cluster in given[at::GROUPS] for item in cluster] for at in range(min(GROUPS, len(given)))]
    if len(groups) < intervals.FEWEST:
        return None
    whole = statistic([item for group in groups for item in group])
    rest = [
        statistic([item for other in groups[:at] + groups[at + 1 :] for item in other]) for at in range(len(groups))
    ]
    if whole is None or any(value is None for value in rest):
        return None
    pseudo = len(groups) * whole - (len(groups) - 1) * np.array(rest, np.float64)
    # Values that are equal on paper are no sign of certainty either.
    found = intervals.interval(pseudo.round(12), level=level)
    if found is None:
        return None
    half = (found[1] - found[0]) / 2
    return whole - half, whole + half
