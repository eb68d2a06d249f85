"""How much an approximate index has to look at for a wanted recall, tried on a sample of vectors that are held out.

recall@k is the share of rows found among k that are as near as the true k-th nearest, mean over queries; by distance,
so that ties do not count as missed. The queries are vectors of the catalogue, searched for among the others: a vector
that is itself in a graph is found more easily than a new one.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy import ndarray

from cbir_cli.allowed import Allowed
from cbir_cli.index import _distances, _faiss, exact
from cbir_cli.index._grown import FEWEST, Searcher

FIRST, SECOND = 10, 50
"""The depths that recall is stored for; the first is the one that is wanted."""

_AT_ONCE = 64  # queries between two looks at signals
_SHARE = 5  # one vector in so many is held out, at the most
_SURE = 1.645  # standard errors: what is wanted is reached with 95 % confidence


class Sample:
    """Vectors that are held out as queries, and what exact search finds for them among the others.

    Attributes
    ----------
    rows, others : ndarray, int64
        Ascending; together all rows.
    queries : ndarray (S, D), float32
    """

    def __init__(self, vectors: ndarray, payload: dict[str, ndarray], *, metric: str, size: int, seed: int) -> None:
        count = len(vectors)
        size = min(size, count // _SHARE)
        self.rows = np.sort(np.random.default_rng(seed).choice(count, size, replace=False)) if size else _none()
        self.others = np.setdiff1d(np.arange(count), self.rows, assume_unique=True)
        self.queries = np.ascontiguousarray(vectors[self.rows])
        self._vectors, self._cosine = vectors, metric == "cosine"
        self._depth = min(SECOND, len(self.others))
        searcher = exact.open(vectors, payload, metric=metric)
        self._found = [
            pair
            for part in parts(size)
            for pair in zip(*searcher.search(self.queries[part], self._depth + 1, allowed=self._allowed), strict=True)
        ]

    def _allowed(self, _: int) -> Allowed:
        return Allowed(self.others)

    def recall(self, query: int, rows: ndarray, k: int) -> ndarray:
        """Return recall@k (M,) of a query if the first 1, 2 ... M of some rows are measured."""
        k = min(k, self._depth)
        distances, nearest = self._found[query]
        kth = distances[k - 1]
        if distances[-1] > kth:  # the list holds all that are as near
            hits = np.isin(rows, nearest[distances <= kth])
        else:
            measured = _distances.of_one(self._vectors, self.queries[query], rows, cosine=self._cosine)
            hits = measured.astype(np.float32) <= kth
        return np.minimum(np.cumsum(hits), k) / k


def choose(
    searcher: Searcher, sample: Sample, wanted: float, efforts: Sequence[int], most: Callable[[int], int], rerank: int
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
    most : callable
        Candidates at the most, of an effort.
    rerank : int
        Candidates, if they are not to be chosen; else 0.

    Returns
    -------
    effort, candidates : int
        The best there is if none reaches it.
    """
    best = (-1.0, efforts[0], rerank or FEWEST * FIRST)
    selector = _faiss.Selector(~np.isin(searcher.rows, sample.rows)) if len(sample.rows) else None
    for effort in efforts if selector else []:
        counts = [rerank] if rerank else _ladder(FEWEST * FIRST, most(effort))
        curves = np.zeros((len(sample.rows), counts[-1]))
        for part in parts(len(sample.rows)):
            for q, named in enumerate(searcher.candidates(sample.queries[part], counts[-1], effort, selector)):
                rows = named[named >= 0]
                if rows.size:
                    curve = sample.recall(part.start + q, rows, FIRST)
                    curves[part.start + q] = np.pad(curve, (0, counts[-1] - len(rows)), mode="edge")
        curves = curves[:, np.array(counts) - 1]
        means, errors = curves.mean(axis=0), curves.std(axis=0) / np.sqrt(len(curves))
        enough = np.flatnonzero(means - _SURE * errors >= wanted)
        if enough.size:
            return effort, counts[enough[0]]
        if means[-1] > best[0]:
            best = (float(means[-1]), effort, counts[np.flatnonzero(means == means[-1])[0]])
    return best[1:]


def measure(searcher: Searcher, sample: Sample) -> ndarray:
    """Return the mean recall@10 and recall@50 (2,) float64 of searches for the sample; 1 where there is no sample."""
    if not len(sample.rows):
        return np.ones(2)
    selector = _faiss.Selector(~np.isin(searcher.rows, sample.rows))
    found = np.zeros((2, len(sample.rows)))
    for place, k in enumerate((FIRST, SECOND)):
        for part in parts(len(sample.rows)):
            named = searcher.candidates(sample.queries[part], searcher.count(k), searcher.effort, selector)
            for q, rows in enumerate(named, start=part.start):
                if (rows >= 0).any():
                    found[place, q] = sample.recall(q, rows[rows >= 0], k)[-1]
    return found.mean(axis=1)


def parts(count: int) -> list[slice]:
    """Return slices of a few queries, between which Python sees signals."""
    return [slice(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]


def _ladder(first: int, last: int) -> list[int]:
    """Whole numbers that grow by about a half."""
    steps = [first]
    while steps[-1] < last:
        steps.append(min(last, steps[-1] * 3 // 2))
    return steps


def _none() -> ndarray:
    return np.empty(0, np.int64)
