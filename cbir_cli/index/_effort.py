"""How much an approximate index has to look at for a wanted recall, tried on a sample of its own vectors.

recall@k is the share of rows found among k that are as near as the true k-th nearest, mean over queries; by distance,
so that ties do not count as missed. The queries are vectors of the index, each without itself. An image that is not
in the index is a little harder to search for than one that is.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from cbir_cli.allowed import Allowed
from cbir_cli.index import _products, exact
from cbir_cli.index._grown import Searcher

log = logging.getLogger("cbir")

FIRST, SECOND = 10, 50
"""The depths that recall is stored for; the first is the one that is wanted."""

_AT_ONCE = 64  # queries between two looks at signals
_SURE = 1.645  # standard errors: wanted of the mean with 95 % confidence


class Sample:
    """Vectors of an index as queries, and what exact search finds for them."""

    def __init__(self, vectors: ndarray, payload: dict[str, ndarray], *, metric: str, size: int, seed: int) -> None:
        count = len(vectors)
        self.rows = np.sort(np.random.default_rng(seed).choice(count, min(size, count) if count > 1 else 0, False))
        self.queries = np.ascontiguousarray(vectors[self.rows])
        # Norms are for scores; what is measured here needs none.
        self._products = _products.Products(vectors, {"squared_norms": np.zeros(count)}, metric)
        searcher = exact.open(vectors, payload, metric=metric)
        self._depth = min(SECOND, count - 1)
        found = [
            searcher.search(self.queries[part], self._depth + 1) for part in _parts(len(self.rows)) if self._depth > 0
        ]
        self._found = [(_without(row, d, r)) for row, (d, r) in zip(self.rows, _each(found), strict=True)]

    def hits(self, query: int, rows: ndarray, k: int) -> ndarray:
        """Return which rows (M,) are as near to a query as its k-th nearest, (M,) bool."""
        distances, nearest = self._found[query]
        kth = distances[min(k, self._depth) - 1]
        if distances[-1] > kth:  # the list holds all that are as near
            return np.isin(rows, nearest[distances <= kth])
        return self._products.measure(self.queries[query], rows).astype(np.float32) <= kth

    def recall(self, query: int, rows: ndarray, k: int) -> ndarray:
        """Return recall@k (M,) of a query if the first 1, 2 ... M of some rows are measured."""
        k = min(k, self._depth)
        return np.minimum(np.cumsum(self.hits(query, rows, k)), k) / k


def choose(
    searcher: Searcher, sample: Sample, wanted: float, efforts: Sequence[int], most: int, rerank: int
) -> tuple[int, int]:
    """Return the least effort, and for it the fewest candidates, that reach a recall@10 with 95 % confidence.

    Parameters
    ----------
    searcher : Searcher
    sample : Sample
    wanted : float
        Mean recall@10, from 0 to 1.
    efforts : sequence of int
        To be tried, ascending.
    most : int
        Candidates at the most.
    rerank : int
        Candidates, if they are not to be chosen; else 0.
    """
    counts = [rerank] if rerank else _ladder(FIRST + 2, most)
    if not len(sample.rows):
        return efforts[0], counts[0]
    best = (-1.0, 0, 0)
    for effort in efforts:
        curves = np.zeros((len(sample.rows), counts[-1]))
        for part in _parts(len(sample.rows)):
            named = searcher.candidates(sample.queries[part], counts[-1] + 1, effort)
            for q, rows in enumerate(named, start=part.start):
                rows = rows[(rows >= 0) & (rows != sample.rows[q])][: counts[-1]]
                if rows.size:
                    curves[q, : len(rows)] = sample.recall(q, rows, FIRST)
                    curves[q, len(rows) :] = curves[q, len(rows) - 1]
        means = curves[:, [count - 1 for count in counts]].mean(axis=0)
        errors = curves[:, [count - 1 for count in counts]].std(axis=0) / np.sqrt(len(curves))
        enough = np.flatnonzero(means - _SURE * errors >= wanted)
        if enough.size:
            return effort, counts[enough[0]]
        if means.max() > best[0]:
            best = (float(means.max()), effort, counts[int(np.flatnonzero(means >= means.max())[0])])
    return best[1], best[2]


def measure(searcher: Searcher, sample: Sample) -> ndarray:
    """Return the mean recall@10 and recall@50 (2,) float64 of searches for the sample; 1 where there is no sample."""
    means = []
    for k in (FIRST, SECOND):
        values = []
        for part in _parts(len(sample.rows)):
            own = sample.rows[part]
            _, rows = searcher.search(
                sample.queries[part], k, allowed=lambda q, own=own: Allowed(without=own[q : q + 1])
            )
            for q, found in enumerate(rows, start=part.start):
                values.append(sample.recall(q, found[found >= 0], k)[-1])
        means.append(float(np.mean(values)) if values else 1.0)
    return np.array(means)


def _ladder(first: int, last: int) -> list[int]:
    """Whole numbers that grow by about a half."""
    steps = [first]
    while steps[-1] < last:
        steps.append(min(last, steps[-1] + max(1, steps[-1] // 2)))
    return steps


def _parts(count: int) -> list[slice]:
    return [slice(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]


def _each(found: list[tuple[ndarray, ndarray]]):  # type: ignore[no-untyped-def]
    for distances, rows in found:
        yield from zip(distances, rows, strict=True)


def _without(row: int, distances: ndarray, rows: ndarray) -> tuple[ndarray, ndarray]:
    """A query's list without itself, or without the last where it is not in it."""
    keep = rows != row
    keep[-1] &= not keep.all()
    return distances[keep], rows[keep]
