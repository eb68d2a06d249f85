"""Weighted modularity: how much of a graph's weight lies within communities, above what chance would put there.

With weights ``a_ij``, weighted degrees ``k_i = sum_j a_ij`` and ``2m = sum_i k_i``::

    Q  = 1/2m  sum_ij (a_ij - k_i k_j / 2m) [c_i = c_j]  =  sum_c (W_c / 2m - (D_c / 2m)^2)

where ``W_c`` is the weight within community c, each edge counted from both ends, and ``D_c`` the sum of its degrees.
From -1/2 to 1. Two disjoint groups A and B that become one gain ::

    dq(A, B) = e(A, B) / m - D_A D_B / 2m^2

with ``e(A, B)`` the weight of the edges between them. All that Algorithm 1 compares is such a gain.

Reference
---------
M. E. J. Newman. Analysis of weighted networks. Physical Review E 70, 056131 (2004). (Section on community structure.)
A. Clauset, M. E. J. Newman, C. Moore. Finding community structure in very large networks. Physical Review E 70, 066111
(2004). Equations 2, 7 and 8.

Differs from the authors' code
------------------------------
Haq et al. refer to a weighted modularity of their own (Pattern Recognition Letters 122, 2019) that the retrieval paper
does not write out; this is Newman's.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def degrees(graph: "csr_array") -> ndarray:
    """Weighted degrees (N,) float64 of a symmetric graph."""
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    return np.bincount(rows, graph.data, minlength=graph.shape[0])


def modularity(graph: "csr_array", labels: ndarray) -> float:
    """Weighted modularity of a partition; 0 for a graph without edges.

    Parameters
    ----------
    graph : csr_array (N, N)
        Symmetric, no weight below zero, nothing on the diagonal.
    labels : ndarray (N,), int
        Community of each node; nodes of -1 belong to none and have no edges.
    """
    strengths = degrees(graph)
    total = strengths.sum()
    if total == 0:
        return 0.0
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    within = graph.data[labels[rows] == labels[graph.indices]].sum(dtype=np.float64)
    there = labels >= 0
    return float(within / total - np.square(np.bincount(labels[there], strengths[there]) / total).sum())


def gain(between: ndarray, first: ndarray | float, second: ndarray | float, total: float) -> ndarray:
    """Gain of modularity of two groups that become one, ``e / m - D_A D_B / 2m^2``.

    Parameters
    ----------
    between : ndarray
        Weight of the edges between the groups, each counted once.
    first, second : ndarray or float
        Sum of the degrees of each group.
    total : float
        2m, above zero.
    """
    return (2 * between - 2 * first * second / total) / total
