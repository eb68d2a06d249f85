"""Communities of a weighted graph by greedy modularity, through libraries that do it well.

=========  ===========  ============  ================================================================================
name       library      licence       what it does
=========  ===========  ============  ================================================================================
louvain    NetworKit    MIT           moves single nodes, merges, and refines on the way back
leiden     NetworKit    MIT           the same, keeping communities connected; the default
cnm        igraph       GPL           Clauset, Newman and Moore: merges the two communities that gain most, as the paper
=========  ===========  ============  ================================================================================

NetworKit runs on one thread: on several it gives another partition each time. So a seed has one answer on any machine.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from cbir_cli.errors import CbirError
from cbir_cli.registry import unknown

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CLUSTERINGS = ("louvain", "leiden", "cnm")


def communities(graph: "csr_array", *, clustering: str, seed: int) -> ndarray:
    """Find the communities of a graph.

    Parameters
    ----------
    graph : csr_array (N, N), float32
        Symmetric weights above zero.
    clustering : str
        ``louvain``, ``leiden`` or ``cnm``.
    seed : int
        Order in which nodes are visited; ``cnm`` has no choice to make.

    Returns
    -------
    ndarray (N,), int32
        Communities numbered from the largest down, equal ones by their first node; -1 for a node without edges.

    Raises
    ------
    UsageError
        If there is no such clustering.
    CbirError
        If its library is not installed.
    """
    if clustering not in CLUSTERINGS:
        raise unknown("clustering", clustering, CLUSTERINGS)
    labels = np.full(graph.shape[0], -1, dtype=np.int32)
    joined = np.flatnonzero(np.diff(graph.indptr))
    if joined.size:
        from scipy.sparse import triu

        upper = triu(graph, 1, format="coo")
        found = _igraph(upper) if clustering == "cnm" else _networkit(upper, clustering, seed)
        labels[joined] = _by_size(found[joined])
    return labels


def _networkit(upper, name: str, seed: int) -> ndarray:  # type: ignore[no-untyped-def]  # a coo_array
    try:
        import networkit
    except ImportError as error:
        raise CbirError("index kind community needs networkit: pip install 'cbir-cli[community]'") from error
    threads = networkit.getMaxNumberOfThreads()
    networkit.setNumberOfThreads(1)
    networkit.setSeed(seed, False)
    try:
        # Of other types than these its reader crashes.
        triple = (upper.data.astype(np.float64), (upper.row.astype(np.uint64), upper.col.astype(np.uint64)))
        graph = networkit.graph.GraphFromCoo(triple, n=upper.shape[0], weighted=True, directed=False)
        if name == "leiden":
            method = networkit.community.ParallelLeiden(graph, iterations=5)
        else:
            method = networkit.community.PLM(graph, refine=True, par="none randomized")
        return np.asarray(method.run().getPartition().getVector())
    finally:
        networkit.setNumberOfThreads(threads)


def _igraph(upper) -> ndarray:  # type: ignore[no-untyped-def]
    try:
        import igraph
    except ImportError as error:
        raise CbirError("clustering=cnm needs igraph (GPL): pip install 'cbir-cli[cnm]'") from error
    graph = igraph.Graph(n=upper.shape[0], edges=np.column_stack([upper.row, upper.col]))
    merges = graph.community_fastgreedy(weights=upper.data.astype(np.float64))
    return np.asarray(merges.as_clustering().membership)


def _by_size(labels: ndarray) -> ndarray:
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return rank[inverse]
