"""Algorithm 1, repaired: a region of images grows around a query, from the community that is nearest to it.

What ``community`` says of the algorithm's lines holds here; this is how it is computed. Images are compared by a
product in float32, and those near enough by the difference of directions in float64: what a region holds does not
depend on rounding, nor on the queries that are asked with it.
"""

from collections import defaultdict

import numpy as np
from numpy import ndarray

from cbir_cli.allowed import Allowed
from cbir_cli.index._distances import directions, of_one
from cbir_cli.index._modularity import gain
from cbir_cli.index._nearest import Nearest
from cbir_cli.index._stored import Stored

_BLOCK = 1024  # rows read at once: 4 MiB of 1024 features
_TINY = 1e-30  # squared length below which float32 products say nothing


class Growing:
    """Regions of a block of queries.

    Parameters
    ----------
    stored : Stored
    queries : ndarray (Q, D), float32
    allowed : list of Allowed or None, (Q,)
    k, reserve, entries, across, neighbours
        As in ``community``.
    threshold : float
        Cosine below which a query is joined to nothing; 0 for a graph of nearest neighbours.

    Attributes
    ----------
    looked_at : ndarray (Q,), int64
        Images that each query was compared with.
    """

    def __init__(
        self,
        stored: Stored,
        queries: ndarray,
        allowed: list[Allowed | None],
        *,
        k: int,
        reserve: int,
        entries: int,
        across: bool,
        neighbours: int,
        threshold: float,
    ) -> None:
        self._stored, self._queries, self._k, self._size = stored, queries, k, k + reserve
        self._entries, self._across, self._threshold = entries, across, threshold
        self._units = directions(queries)
        self._probes = self._units.astype(np.float32)
        self._edges = Nearest(len(queries), max(self._size, neighbours))
        self._unseen = np.ones((len(queries), len(stored.vectors)), dtype=bool)  # and allowed
        for query, one in enumerate(allowed):
            if one is not None:
                self._unseen[query] = False
                self._unseen[query, one.rows(len(stored.vectors))] = True
        self._closed = np.ones((len(queries), len(stored.sums)), dtype=bool)
        # Products and lengths are off by at most (D + 16) units of roundoff each, of which this is twice the sum.
        self._margin = np.float32(4 * (queries.shape[1] + 16) * 2.0**-24)
        self.looked_at = np.zeros(len(queries), dtype=np.int64)

    def grow(self) -> tuple[ndarray, ndarray]:
        """Return distances (Q, k) float32 and rows (Q, k) int64: the nearest images of each query's region."""
        every = list(range(len(self._queries)))
        self._compare(self._stored.loose, every)
        # Queries that begin in the same community read it together.
        entered = defaultdict(list)
        order = [np.argsort(-(self._stored.directions @ unit), kind="stable") for unit in self._units]
        for query in every:
            for community in order[query][: self._entries].tolist():
                entered[community].append(query)
        for community in sorted(entered):
            self._enter(community, entered[community])
        answers = Nearest(len(every), self._k)
        for query in every:
            far, rows = self._grow(query, order[query])
            answers.add_to(query, far, rows)
        return answers.distances, answers.rows

    def _grow(self, query: int, order: ndarray) -> tuple[ndarray, ndarray]:
        """Return the region of one query: distances and rows."""
        while True:
            far, rows, gains = self._region(query)
            if self._across and (beyond := self._joined(query, rows)).size:
                self._compare(beyond, [query])
            elif len(rows) < self._k and self._closed[query].any():
                closed = self._closed[query]
                best = int(np.where(closed, gains, -np.inf).argmax())
                self._enter(best if gains[best] > 0 else int(order[closed[order]][0]), [query])
            else:
                return far, rows

    def _enter(self, community: int, queries: list[int]) -> None:
        self._compare(self._stored.community(community), queries)
        self._closed[queries, community] = False

    def _compare(self, rows: ndarray, queries: list[int]) -> None:
        """Join each query to those of some rows that are near, of those it may have and has not seen."""
        rows = rows[np.any([self._unseen[query, rows] for query in queries], axis=0)]
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            vectors = self._stored.vectors[part]
            squares = np.einsum("ij,ij->i", vectors, vectors)
            inverse = 1 / np.sqrt(np.maximum(squares, np.float32(_TINY)))
            for query in queries:
                scores = np.where(squares < _TINY, np.inf, (vectors @ self._probes[query]) * inverse)
                new = self._unseen[query, part]
                self._unseen[query, part] = False
                self.looked_at[query] += np.count_nonzero(new)
                self._join(query, part[new], scores[new])

    def _join(self, query: int, rows: ndarray, scores: ndarray) -> None:
        limit = 1 - self._edges.distances[query, -1] - self._margin  # minus infinity while there is room
        if len(rows) > self._edges.k:
            limit = max(limit, np.partition(scores, -self._edges.k)[-self._edges.k] - 2 * self._margin)
        near = rows[scores >= limit]
        if near.size:
            self._edges.add_to(query, of_one(self._stored.vectors, self._queries[query], near, cosine=True), near)

    def _region(self, query: int) -> tuple[ndarray, ndarray, ndarray]:
        """Return distances and rows of the region as it stands, and what it would gain by each community, (C,)."""
        stored = self._stored
        rows = self._edges.rows[query]
        rows = rows[rows >= 0]
        far = self._edges.distances[query, : len(rows)].astype(np.float64)
        edges = np.where(1 - far >= self._threshold, np.maximum(1 - far, 0), 0)
        nodes = stored.nodes[rows]
        strengths = edges.copy()
        strengths[nodes >= 0] += stored.strengths[nodes[nodes >= 0]]
        degree = edges.sum()
        total = stored.total + 2 * degree or 1.0
        gains = gain(edges, degree, strengths, total)
        chosen = np.lexsort((rows, far, -gains, edges == 0))[: self._size]
        others, weights = stored.edges(nodes[chosen][:0] if len(chosen) >= self._k else nodes[chosen])
        there = self._may_have(query, stored.rows[others])
        between = np.bincount(stored.labels[others][there], weights[there], minlength=len(stored.sums))
        whole = degree + strengths[chosen].sum()
        return far[chosen], rows[chosen], gain(between, whole, stored.community_strengths, total)

    def _joined(self, query: int, region: ndarray) -> ndarray:
        """Rows that the region has edges to, which the query may have and has not seen."""
        others, _ = self._stored.edges(self._stored.nodes[region])
        rows = self._stored.rows[others]
        return np.unique(rows[self._may_have(query, rows)])

    def _may_have(self, query: int, rows: ndarray) -> ndarray:
        """Which of some rows, -1 for those that are gone, are left for a query."""
        return (rows >= 0) & self._unseen[query, rows]
