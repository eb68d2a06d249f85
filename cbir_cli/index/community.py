"""Communities of a graph of similar images: a query is compared with those that its region grows into.

Built once: images are joined to similar ones (``_graph``), and the graph falls into communities of high weighted
modularity (``_clustering``). A query is compared with the community whose centre is nearest to it, is joined to the
nearest of its images, and grows a region from there, over the edges of the graph into other communities too. Results
are the nearest of the region, nearest first, by their true cosine distance, ties by row.

Algorithm 1 of the paper, line by line, and what becomes of it:

====  =======================================================  =======================================================
line  printed                                                  here
====  =======================================================  =======================================================
2     the query gets edges to all images                       it is joined as the graph's own images are: to the
                                                               nearest of those looked at, as many as the region
                                                               holds and at least ``neighbours`` (or as are similar
                                                               enough). The stored graph is not touched: degrees and
                                                               total are adjusted in passing
3     R = I_f, an image of the database                        R = {I}, the query, as the text has it
4     while |R| < K, the query being counted: ends with K - 1  the query is not counted
      images, or with none for K = 1
5     the community that R gains most modularity by. One       first the community with the nearest centre: a gain sums
      whose images are all in R can stay the best one: an      over all of a community, so that the largest attract
      endless loop                                             most queries. Further ones while k are not found: of
                                                               those not yet opened the one with the largest gain,
                                                               if it is above zero, else the nearest
6     up to K images of it, whatever R holds by now: up to     the region is chosen afresh from all that was looked
      2K - 2 images in all                                     at, and never holds more than it should
7     the image that the query, not R, gains most by; ties     the same; ties by distance, then row. Images without an
      are open                                                 edge to the query come after all others
8     R grows by it                                            images that R's are joined to are looked at too, whatever
                                                               their community, until R stays as it is. With
                                                               ``across=false`` they are not, as in the paper
====  =======================================================  =======================================================

The region holds ``reserve`` images more than are asked for, and the k nearest of them are the answer: gain takes a
little off the weight of images that are joined to many, so that a region's last images need not be the nearest. With
``reserve=0`` all of the region is given. A filter leaves out images before anything is chosen, so k are given wherever
there are k.

``algorithm=literal`` is the algorithm as printed (but for R = {I}), on the paper's full graph: see ``_literal``. Lists
may be shorter than k. A query whose loop would not end gets what its region held by then, and a warning says how many
did. It needs vectors whose cosines are above zero on the whole, as those of pooled features after a ReLU are.

Images that were added after the build, and images that are joined to nothing, are compared with every query.

Only for embeddings that are compared by the cosine: the graph is one of cosines.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets.
Sections 2.2 and 2.3, Algorithm 1.
A. Clauset, M. E. J. Newman, C. Moore. Finding community structure in very large networks. Physical Review E 70, 066111
(2004).

Differs from the authors' code
------------------------------
There is none. The graph is sparse, communities come from a faster method of the same aim (``clustering=cnm`` is the
paper's), and Algorithm 1 is repaired as above. docs/communities.md has the reasons, and figures.
"""

import itertools
import logging

import numpy as np
from numpy import ndarray

from cbir_cli.errors import UsageError
from cbir_cli.index import _clustering, _graph, _literal, _modularity
from cbir_cli.index._distances import directions, squared_norms
from cbir_cli.index._growing import Growing
from cbir_cli.index._inputs import Filter, check_queries, check_vectors
from cbir_cli.index._stored import Stored
from cbir_cli.registry import unknown

METRICS = ("cosine",)
ALGORITHMS = ("repaired", "literal")

_LOG = logging.getLogger("cbir")
_QUERIES = 128  # answered in step
_BLOCK = 4096  # vectors summed at once


def build(
    vectors: ndarray,
    *,
    metric: str,
    graph: str = "knn",
    neighbours: int = 20,
    threshold: float = 0.9,
    pairs: str = "auto",
    cells: int = 0,
    around: int = 32,
    clustering: str = "leiden",
    algorithm: str = "repaired",
    entries: int = 1,
    across: bool = True,
    reserve: int = 50,
    seed: int = 1,
) -> dict[str, ndarray]:
    """Join similar images to a graph and find its communities.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        May be a memory map.
    metric : str
        ``cosine``.
    graph : str
        ``knn`` joins each image to its nearest, ``threshold`` to all that are similar enough.
    neighbours : int
        With ``knn``, how many an image names; those that name it are added. At least 1.
    threshold : float
        With ``threshold``, the least cosine of two images that are joined, between 0 and 1. Refused if it joins more
        than 200 others to an image on average.
    pairs : str
        Which pairs are looked at: ``all``, or those in neighbouring ``cells`` (a few edges are missed; by faiss);
        ``auto`` is ``all`` up to 20,000 images.
    cells : int
        How many cells; 0 is the square root of N.
    around : int
        Cells that each image is compared with; time grows with it.
    clustering : str
        ``leiden`` or ``louvain`` (NetworKit), or ``cnm``, the paper's Clauset-Newman-Moore (igraph): slower, of lower
        modularity, and without end on large graphs that have no clear communities.
    algorithm : str
        ``repaired`` or ``literal``: how a query is answered.
    entries : int
        Communities that every query is compared with, nearest centres first; at least 1. More are opened as needed.
    across : bool
        Whether a region grows over the edges of the graph into other communities; the paper's does not.
    reserve : int
        Images that a region has beyond those asked for; at least 0.
    seed : int
        Of k-means and of the order in which a clustering visits images.

    Returns
    -------
    dict of str to ndarray
        As in ``_stored``: the graph, its communities and their sums.

    Raises
    ------
    UsageError
        If the metric is not the cosine, or a parameter is unknown or out of range.
    ShapeError
        If vectors are not 2-D float32, or one is not finite or is longer than 1e18.
    CbirError
        If a library is needed and not installed.
    """
    _check(vectors, metric, algorithm, entries, reserve)
    vectors = np.asarray(vectors)
    norms = np.sqrt(squared_norms(vectors, "row"))
    joined = _graph.build(
        vectors,
        norms,
        graph=graph,
        neighbours=neighbours,
        threshold=threshold,
        pairs=pairs,
        cells=cells,
        around=around,
        seed=seed,
    )
    labels = _clustering.communities(joined, clustering=clustering, seed=seed)
    members = np.flatnonzero(labels >= 0)
    members = members[np.argsort(labels[members], kind="stable")].astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels[members]))]).astype(np.int64)
    sums = _sums(vectors, members, starts)
    payload = {
        "rows": np.arange(len(vectors), dtype=np.int64),
        "labels": labels,
        "members": members,
        "starts": starts,
        "sums": sums,
        "graph_starts": joined.indptr.astype(np.int64),
        "graph_others": joined.indices.astype(np.int32),
        "graph_weights": joined.data,
        "full_degrees": _full_degrees(vectors, sums.sum(axis=0)),
        "modularity": np.array([_modularity.modularity(joined, labels)]),
    }
    _LOG.info(
        "%d communities of %d images (modularity %.3f, the largest has %d), %d images joined to nothing",
        len(sums),
        len(members),
        payload["modularity"][0],
        np.diff(starts).max(initial=0),
        len(vectors) - len(members),
    )
    if algorithm == "literal":
        _check_full(payload["full_degrees"][members])
    return payload


def open(
    vectors: ndarray,
    payload: dict[str, ndarray],
    *,
    metric: str,
    graph: str = "knn",
    neighbours: int = 20,
    threshold: float = 0.9,
    algorithm: str = "repaired",
    entries: int = 1,
    across: bool = True,
    reserve: int = 50,
    **built: object,
) -> "Searcher":
    """Return the searcher over some vectors.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        Those that the payload was built from, and perhaps others that were added since.
    payload : dict of str to ndarray
        As ``build`` made it, with ``rows`` brought up to date; the arrays may be memory maps.
    metric, graph, neighbours, threshold, algorithm, entries, across, reserve
        As given to ``build``.
    **built
        The others of its parameters, which only matter there.

    Raises
    ------
    UsageError
        If there is no such metric or algorithm.
    ShapeError
        If vectors are not 2-D float32 or the payload belongs to others.
    """
    _check(vectors, metric, algorithm, entries, reserve)
    stored = Stored(np.asarray(vectors), payload)
    if algorithm == "literal":
        _check_full(stored.full_degrees[stored.labels >= 0])
    limits = {
        "reserve": reserve,
        "entries": entries,
        "across": across,
        "neighbours": neighbours,
        "threshold": threshold if graph == "threshold" else 0.0,
    }
    return Searcher(stored, algorithm, limits)


class Searcher:
    """Answers queries over one set of vectors.

    Attributes
    ----------
    looked_at : ndarray (Q,), int64
        After a search: vectors that each of its queries was compared with.
    """

    def __init__(self, stored: Stored, algorithm: str, limits: dict[str, float]) -> None:
        self._stored, self._literal, self._limits = stored, algorithm == "literal", limits
        self.looked_at = np.zeros(0, dtype=np.int64)

    def search(self, queries: ndarray, k: int, *, allowed: Filter | None = None) -> tuple[ndarray, ndarray]:
        """Find k near rows of each query.

        Parameters
        ----------
        queries : ndarray (Q, D), float32
        k : int
            At least 1.
        allowed : callable, optional
            Called once with the number of each query; returns which rows may answer it, or None for all.

        Returns
        -------
        distances : ndarray (Q, k), float32
            One minus the cosine, ascending; inf where fewer than k rows exist, or the printed algorithm has no more.
        rows : ndarray (Q, k), int64
            Ties in ascending order; -1 where there are fewer than k.

        Raises
        ------
        UsageError
            If k is below 1.
        ShapeError
            If queries have another shape or type, one is not finite or is longer than 1e18, or ``allowed`` names a row
            that does not exist.
        """
        count, size = self._stored.vectors.shape
        check_queries(queries, k, size)
        squared_norms(queries, "query")
        self.looked_at = np.zeros(len(queries), dtype=np.int64)
        distances = np.full((len(queries), k), np.inf, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        endless = 0
        for start in range(0, len(queries), _QUERIES):
            part = slice(start, min(start + _QUERIES, len(queries)))
            filters = [None if allowed is None else allowed(number) for number in range(part.start, part.stop)]
            for one in filters:
                if one is not None:
                    one.check(count)
            if self._literal:
                distances[part], rows[part], stuck = _literal.search(
                    self._stored, queries[part], filters, k, self.looked_at[part]
                )
                endless += stuck
            else:
                growing = Growing(self._stored, queries[part], filters, k=k, **self._limits)  # type: ignore[arg-type]
                distances[part], rows[part] = growing.grow()
                self.looked_at[part] = growing.looked_at
        if endless:
            _LOG.warning("algorithm=literal: of %d queries %d would never end; stopped there", len(queries), endless)
        return distances, rows


def _sums(vectors: ndarray, members: ndarray, starts: ndarray) -> ndarray:
    sums = np.zeros((len(starts) - 1, vectors.shape[1]))
    for number, (start, stop) in enumerate(itertools.pairwise(starts.tolist())):
        for first in range(start, stop, _BLOCK):
            sums[number] += directions(vectors[members[first : min(first + _BLOCK, stop)]]).sum(axis=0)
    return sums


def _full_degrees(vectors: ndarray, total: ndarray) -> ndarray:
    found = np.empty(len(vectors))
    for start in range(0, len(vectors), _BLOCK):
        found[start : start + _BLOCK] = directions(vectors[start : start + _BLOCK]) @ total - 1
    return found


def _check(vectors: ndarray, metric: str, algorithm: str, entries: int, reserve: int) -> None:
    check_vectors(vectors, metric, METRICS)
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    if entries < 1 or reserve < 0:
        raise UsageError(f"entries, reserve: expected at least 1 and 0, found {entries} and {reserve}")


def _check_full(degrees: ndarray) -> None:
    if degrees.min(initial=1.0) <= 0:
        raise UsageError(
            "algorithm=literal: an image's cosines to the others sum to less than zero, and modularity has no meaning "
            "for such weights"
        )
