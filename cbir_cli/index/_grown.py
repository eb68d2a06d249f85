"""Search among candidates: what an approximate index names is measured, and what it does not know is searched.

An index that is slow to build outlives changes of its catalogue. Its payload says in ``rows`` which row each of its
vectors is now, -1 for one that is gone; rows that are not named there were added since and are searched exactly. What
the index names is ordered by its true distance, so a row has the distance that exact search gives it.

Filters lose nothing: few rows that may answer are searched exactly, among many the index is asked for those alone,
and a query for which it names too few is answered exactly.
"""

from collections.abc import Callable

import numpy as np
from numpy import ndarray

from cbir_cli.allowed import Allowed
from cbir_cli.index import _distances, exact
from cbir_cli.index._faiss import Selector, Space
from cbir_cli.index._inputs import Filter, check_queries, together
from cbir_cli.index._nearest import Nearest

FEWEST = 4
"""Candidates that are measured for each result that is wanted, at the least."""

_QUERIES = 256  # asked at once
_DIRECT = 10_000  # rows that may answer, up to which they are searched exactly
_PIECE = 16_384  # rows whose vectors are copied at once
_NONE = np.empty(0, np.int64)

Find = Callable[[ndarray, int, int, Selector | None], ndarray]
"""Takes prepared queries (Q, D), how many to name, the effort, and which may be named; returns positions in the payload
(Q, count) int64, nearest first, -1 where there are fewer."""


class Searcher:
    """Answers queries over vectors, of which an approximate index knows most.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        The catalogue as it is now.
    rows : ndarray (P,), int64
        Row of each vector of the payload; -1 if it is gone.
    metric : str
    space : Space
        How queries become what ``find`` takes.
    find : Find
    effort, rerank : int
        How much ``find`` looks at, and how many candidates are measured at the least.
    """

    def __init__(
        self, vectors: ndarray, rows: ndarray, metric: str, space: Space, find: Find, effort: int, rerank: int
    ) -> None:
        self._vectors, self._metric, self._space, self._find = np.asarray(vectors), metric, space, find
        self.rows, self.effort, self.rerank = rows, effort, rerank
        known = np.zeros(len(vectors), bool)
        known[rows[rows >= 0]] = True
        self._added, self._gone = np.flatnonzero(~known), bool((rows < 0).any())
        self._whole: exact.Searcher | None = None

    def search(self, queries: ndarray, k: int, *, allowed: Filter | None = None) -> tuple[ndarray, ndarray]:
        """Find k rows near each query; all arguments, results and errors are those of ``exact``.

        Distances are true. A nearer row may be missed.
        """
        count, width = self._vectors.shape
        check_queries(queries, k, width)
        _distances.squared_norms(queries, "query")  # refuses what is not finite
        distances = np.full((len(queries), k), np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for asked, only, without in together(len(queries), count, allowed, _QUERIES):
            part = np.ascontiguousarray(queries[asked])
            distances[asked], rows[asked] = self._answer(part, k, only, without)
        return distances, rows

    def candidates(self, queries: ndarray, count: int, effort: int, selector: Selector | None) -> ndarray:
        """Return rows (Q, count) int64 that the index names, nearest first as far as it knows; -1 for none."""
        places = self._find(self._space.prepare(queries), count, effort, selector)
        return np.where(places >= 0, self.rows[np.maximum(places, 0)], -1) if self.rows.size else places

    def count(self, k: int) -> int:
        """Return how many candidates are measured for k results."""
        return max(self.rerank, FEWEST * k)

    def _answer(
        self, queries: ndarray, k: int, only: ndarray | None, without: list[ndarray]
    ) -> tuple[ndarray, ndarray]:
        """Answer queries that share a filter."""
        left = len(self._vectors) if only is None else len(only)
        count = self.count(k)
        if (only is not None and left <= _DIRECT) or left <= count or not self.rows.size:
            return self._exactly(queries, k, only, without)
        nearest, far = Nearest(len(queries), k), self._space.far(queries)
        self._add_new(queries, nearest, only, without)
        probes = np.where(far[:, None], np.float32(0), queries)
        named = self._near(probes, count, only, without)
        asked, near = np.repeat(np.arange(len(queries)), [len(rows) for rows in named]), np.concatenate(named)
        cosine = self._metric == "cosine"
        nearest.add(asked, _distances.of_pairs(self._vectors, queries, asked, near, cosine=cosine), near)
        for q in np.flatnonzero((nearest.rows[:, -1] < 0) | far).tolist():
            exceptions = without[q] if only is None else np.intersect1d(without[q], only, assume_unique=True)
            if far[q] or (nearest.rows[q] >= 0).sum() < min(k, left - len(exceptions)):
                found = self._exactly(queries[q : q + 1], k, only, [without[q]])
                nearest.distances[q], nearest.rows[q] = found[0][0], found[1][0]
        return nearest.distances, nearest.rows

    def _near(self, queries: ndarray, count: int, only: ndarray | None, without: list[ndarray]) -> list[ndarray]:
        """Return for each query the rows to measure: ascending, so that a file is read forwards.

        More candidates are asked for than exceptions may take away: as many as the query itself needs, whatever other
        queries there are.
        """
        near = [_NONE] * len(queries)
        more = np.array([1 << (len(rows) - 1).bit_length() if len(rows) else 0 for rows in without])
        selector, effort = self._selector(only)
        for extra in np.unique(more).tolist():
            asked = np.flatnonzero(more == extra)
            if extra > 4 * count:  # rather asked for than dropped
                rows = np.arange(len(self._vectors)) if only is None else only
                for q in asked.tolist():
                    fewer = np.setdiff1d(rows, without[q], assume_unique=True)
                    near[q] = self._near(queries[q : q + 1], count, fewer, [_NONE])[0]
                continue
            named = self.candidates(queries[asked], count + extra, effort, selector)
            for q, rows in zip(asked.tolist(), named, strict=True):
                rows = rows[rows >= 0]
                near[q] = np.sort((rows[~np.isin(rows, without[q])] if extra else rows)[:count])
        return near

    def _selector(self, only: ndarray | None) -> tuple[Selector | None, int]:
        """What may be named, and the effort that it takes to find as many of them among the others."""
        if only is None and not self._gone:
            return None, self.effort
        mask = np.full(len(self._vectors), only is None)
        if only is not None:
            mask[only] = True
        share = 1.0 if only is None else max(1, len(only)) / len(self._vectors)
        return Selector(mask[self.rows] & (self.rows >= 0)), int(self.effort / share)

    def _add_new(self, queries: ndarray, nearest: Nearest, only: ndarray | None, without: list[ndarray]) -> None:
        """Search what was added since the index was built."""
        rows = self._added if only is None else np.intersect1d(self._added, only, assume_unique=True)
        for start in range(0, len(rows), _PIECE):
            self._search_few(queries, nearest, rows[start : start + _PIECE], without)

    def _exactly(
        self, queries: ndarray, k: int, only: ndarray | None, without: list[ndarray]
    ) -> tuple[ndarray, ndarray]:
        if only is not None and len(only) <= _DIRECT:
            nearest = Nearest(len(queries), k)
            self._search_few(queries, nearest, only, without)
            return nearest.distances, nearest.rows
        if self._whole is None:
            parts = exact.build(self._vectors, metric=self._metric, coordinates=0)
            self._whole = exact.open(self._vectors, parts, metric=self._metric)
        return self._whole.search(queries, k, allowed=lambda q: Allowed(only, without[q]))

    def _search_few(self, queries: ndarray, nearest: Nearest, rows: ndarray, without: list[ndarray]) -> None:
        """Search some rows (ascending) exactly, on a copy of their vectors."""
        if not rows.size:
            return
        vectors = np.ascontiguousarray(self._vectors[rows])
        parts = exact.build(vectors, metric=self._metric, coordinates=0)
        searcher = exact.open(vectors, parts, metric=self._metric)

        def allowed(q: int) -> Allowed:
            return Allowed(without=np.flatnonzero(np.isin(rows, without[q])) if without[q].size else _NONE)

        distances, places = searcher.search(queries, nearest.k, allowed=allowed)
        asked, found = np.nonzero(places >= 0)
        nearest.add(asked, distances[asked, found].astype(np.float64), rows[places[asked, found]])
