"""Algorithm 1 as printed, on the paper's full graph, to see what it does; bounded, so that it ends.

The full graph is never made. Its weights are the cosines of all pairs, so what the algorithm asks of it are products of
sums: with ``x_j`` the direction of image j, ``S_c`` the sum of community c and ``S`` that of all, an image q has ::

    e(q, c) = q.S_c     degree k_q = q.S     k_j = x_j.S - 1 (+ x_j.q once the query is in the graph)

and a region R with the sum ``s`` has ``e(R, c) = s.S_c`` with any community it shares no image with. Community totals
are sums of these. So the choice of a community (line 5) looks at no image, and is exact.
"""

import numpy as np
from numpy import ndarray

from cbir_cli.allowed import Allowed
from cbir_cli.index._distances import directions, of_one
from cbir_cli.index._modularity import gain
from cbir_cli.index._nearest import Nearest
from cbir_cli.index._stored import Stored


def search(
    stored: Stored, queries: ndarray, allowed: list[Allowed | None], k: int, looked_at: ndarray
) -> tuple[ndarray, ndarray, int]:
    """Answer queries one by one.

    Parameters
    ----------
    stored : Stored
    queries : ndarray (Q, D), float32
    allowed : list of Allowed or None, (Q,)
    k : int
        K of the algorithm.
    looked_at : ndarray (Q,), int64
        Gets the number of images that each query was compared with.

    Returns
    -------
    distances, rows : ndarray (Q, k)
        The k nearest of what the region holds: one fewer than k, or none for k = 1, are possible.
    endless : int
        Queries for which the loop of lines 4 to 10 would not have ended.
    """
    every = Nearest(len(queries), k)
    endless = 0
    for query, unit in enumerate(directions(queries)):
        far, rows, stuck = _region(stored, queries[query], unit, allowed[query], k)
        looked_at[query] += len(far)
        endless += stuck
        kept = rows >= 0
        every.add_to(query, far[kept], rows[kept])
    return every.distances, every.rows, endless


def _region(
    stored: Stored, query: ndarray, unit: ndarray, allowed: Allowed | None, k: int
) -> tuple[ndarray, ndarray, bool]:
    """Return the distances of all images looked at, their rows (-1 for one not in the region), and if it is endless."""
    joined = stored.labels >= 0
    totals = np.bincount(stored.labels[joined], stored.full_degrees[joined], minlength=len(stored.sums))
    edges = stored.sums @ unit  # e(I, c)
    degree = float(edges.sum())
    total = float(totals.sum()) + 2 * degree
    open_to = None if allowed is None else allowed.rows(len(stored.vectors))
    left, left_degrees = stored.sums.copy(), totals + edges  # of each community without R
    whole, whole_degree = unit.copy(), degree  # of R, the query included
    far_parts, row_parts = [np.empty(0)], [np.empty(0, np.int64)]
    size = 1  # |R|; line 3: R = {I}; printed R = I_f
    visited: list[int] = []
    emptied: list[int] = []
    while size < k:  # line 4
        values = gain(left @ whole, whole_degree, left_degrees, total)
        values[emptied] = 0  # R stays as it is
        community = int(values.argmax())  # line 5
        rows = stored.community(community)
        if open_to is not None:
            rows = np.intersect1d(rows, open_to, assume_unique=True)
        if community in visited or not rows.size:  # nothing is added, so the next round is this one again
            return np.concatenate(far_parts), np.concatenate(row_parts), True
        far = of_one(stored.vectors, query, rows, cosine=True)
        nodes = stored.nodes[rows]
        degrees = stored.full_degrees[nodes] + (1 - far)
        gains = gain(1 - far, degree, degrees, total)
        chosen = np.lexsort((rows, -gains))[:k]  # lines 6 to 9
        named = np.full(len(rows), -1, dtype=np.int64)
        named[chosen] = rows[chosen]
        far_parts.append(far)
        row_parts.append(named)
        size += len(chosen)
        visited.append(community)
        if len(chosen) == stored.starts[community + 1] - stored.starts[community]:
            emptied.append(community)
        moved = directions(stored.vectors[rows[chosen]]).sum(axis=0)
        left[community] -= moved
        left_degrees[community] -= degrees[chosen].sum()
        whole += moved
        whole_degree += float(degrees[chosen].sum())
    return np.concatenate(far_parts), np.concatenate(row_parts), False
