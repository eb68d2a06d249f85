"""Exact Euclidean and cosine search: a fast scan by matrix products, then direct distances of what may be near.

The scan gives every row a score in float32 which, with the query's offset added, is the value that is searched for
(the squared Euclidean distance, or one minus the cosine) but for rounding::

    l2      |x|^2 - 2 q.x   + |q|^2  = |q - x|^2
    cosine  -(q/|q|).x/|x|  + 1      = 1 - cos(q, x)

Rounding is large next to the distance of near-duplicates, so scores only decide which rows are looked at. With
``|score + offset - value| <= error``, k rows lie within ``limit`` = (k-th score) + offset + error, and a row whose
score is above ``limit`` - offset + error is farther than all of them. Every other row is measured directly, from the
difference of the two vectors in float64, summed in an order that depends on nothing but the vectors' length. The
answer is therefore that of a plain float64 loop, whichever way queries are batched, rows are blocked or the matrix
library sums. In the worst case, all rows within the error of each other, all are measured: slower, never wrong.

Before a block of rows is read at all, a first pass over a few coordinates of it (see ``_reduced``) gives lower bounds
of the values. Where they leave few rows, those are measured and the block is not read.

Reference
---------
N. J. Higham. Accuracy and Stability of Numerical Algorithms. 2nd ed., SIAM 2002. Equation 3.5: an inner product of
length D, summed in any order, is off by at most gamma_D sum|q_i x_i|, with gamma_D = D u / (1 - D u).
"""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index import _distances, _reduced
from cbir_cli.index._blocks import Block, Closed, blocks
from cbir_cli.index._candidates import Candidates, lowest
from cbir_cli.index._nearest import Nearest
from cbir_cli.index._scores import Scores

_SCORES = 2**20  # of one product: 4 MiB, few enough for the cache, and few calls where there is one query
_PICKED = 2**24  # float32 numbers of rows that are picked from among others: 64 MiB
_HELD = 2**20  # pairs that wait to be measured: 24 MiB
_FEW = 4  # times k pairs of each query wait after the first pass: the sooner some are measured, the fewer come
_HEAD = 4096  # rows of a first block that a first reach is taken from


def build(vectors: ndarray, coordinates: int, *, cosine: bool) -> dict[str, ndarray]:
    """Return ``squared_norms`` (N,) float64 and what the first pass needs, if it helps.

    Raises
    ------
    ShapeError
        If a vector is not finite or is longer than 1e18.
    """
    norms = _distances.squared_norms(vectors, "row")
    return {"squared_norms": norms, **_reduced.build(vectors, coordinates, cosine=cosine)}


class Products:
    """Search by matrix products, for the metrics ``l2`` and ``cosine``."""

    def __init__(self, vectors: ndarray, payload: dict[str, ndarray], metric: str) -> None:
        norms = np.asarray(payload["squared_norms"])
        if norms.shape != (len(vectors),) or not np.all(norms <= _distances.LONGEST**2):
            raise ShapeError(f"squared norms do not belong to {len(vectors)} vectors")
        self._vectors, self._cosine = vectors, metric == "cosine"
        norms = np.sqrt(norms)
        self._scores = Scores(vectors, norms, cosine=self._cosine)
        self._few: tuple[Scores, ndarray] | None = None  # of the first pass, with its basis
        if "basis" in payload:
            basis, reduced = payload["basis"], payload["reduced"]
            _reduced.check(basis, reduced, vectors.shape)
            rounded = _reduced.ROUNDED
            self._few = Scores(reduced, norms, cosine=self._cosine, scaled=self._cosine, rounded=rounded), basis

    def check(self, queries: ndarray) -> None:
        """Refuse queries that no distance can be given for."""
        _distances.squared_norms(queries, "query")

    def scan(self, queries: ndarray, nearest: Nearest, only: ndarray | None, without: Sequence[ndarray]) -> None:
        """Put the nearest rows of each query into ``nearest``.

        Parameters
        ----------
        queries : ndarray (Q, D), float32
        nearest : Nearest
            Of Q queries.
        only : ndarray (M,), int64, or None
            The rows that may answer, ascending; None for all.
        without : sequence of ndarray (E,), int64
            Of each query the rows that may not, ascending.
        """
        lengths = np.sqrt(np.square(queries, dtype=np.float64).sum(axis=1))
        offset = np.ones(len(queries)) if self._cosine else lengths**2
        probes = self._scores.probes(queries, lengths)
        few, few_probes = self._first_pass(queries, lengths)
        candidates, closed = Candidates(nearest.k, offset), Closed(without)
        size = max(1, _SCORES // len(queries))
        if only is not None:  # rows that are picked are copied
            size = min(size, max(1, _PICKED // self._vectors.shape[1]))
        for block in blocks(len(self._vectors), size, only):
            if few is not None:
                scores, error = few.of(few_probes, lengths, block)
                closed.close(scores, block)
                if self._narrowed(candidates, queries, scores, error, block, nearest):
                    if candidates.count > _FEW * nearest.rows.size:
                        self._settle(candidates, queries, nearest)
                    continue
            scores, error = self._scores.of(probes, lengths, block)
            closed.close(scores, block)
            candidates.add(scores, error, block, self._values(nearest.reach()))
            if candidates.count > _HELD:
                self._settle(candidates, queries, nearest)
        self._settle(candidates, queries, nearest)

    def _first_pass(self, queries: ndarray, lengths: ndarray) -> tuple[Scores | None, ndarray]:
        if self._few is None:
            return None, queries
        few, basis = self._few
        values = _distances.directions(queries) if self._cosine else queries.astype(np.float64)
        return few, few.probes(_reduced.reduce(values, basis), np.ones(len(lengths)))

    def _narrowed(
        self,
        candidates: Candidates,
        queries: ndarray,
        scores: ndarray,
        error: ndarray,
        block: Block,
        nearest: Nearest,
    ) -> bool:
        """Hold what the first pass leaves of a block; nothing, and return False, if that is much of it."""
        reach = self._values(nearest.reach())
        if np.isinf(reach).any():
            reach = np.minimum(reach, self._reach_of(queries, scores[:, :_HEAD], block, nearest.k))
        if candidates.hold(scores, error, block, reach):
            return True
        # All that was seen may lie far from a query of a small group: what seems nearest in the whole block does not.
        reach = np.minimum(reach, self._reach_of(queries, scores, block, nearest.k))
        return candidates.hold(scores, error, block, reach)

    def _reach_of(self, queries: ndarray, scores: ndarray, block: Block, k: int) -> ndarray:
        """Values (Q,) within which k rows lie, of those that seem nearest by some scores (Q, M); inf if unknown."""
        if scores.shape[1] < k:
            return np.full(len(scores), np.inf)
        places = np.argpartition(scores, k - 1, axis=1)[:, :k]
        asked = np.repeat(np.arange(len(scores)), k)
        distances = self._measure(queries, asked, block.rows(places.ravel())).reshape(places.shape).max(axis=1)
        distances[np.isinf(np.take_along_axis(scores, places, axis=1)).any(axis=1)] = np.inf
        return self._values(distances)

    def _settle(self, candidates: Candidates, queries: ndarray, nearest: Nearest) -> None:
        """Measure the candidates, those that seem nearest first: most of the others are then out of reach."""
        asked, rows, low = candidates.take(self._values(nearest.reach()))
        some = nearest.k
        while len(rows):
            now, later = lowest(asked, low, some)
            nearest.add(asked[now], self._measure(queries, asked[now], rows[now]), rows[now])
            later = later[low[later] <= candidates.limit(self._values(nearest.reach()))[asked[later]]]
            asked, rows, low = asked[later], rows[later], low[later]
            some *= 2

    def _measure(self, queries: ndarray, asked: ndarray, rows: ndarray) -> ndarray:
        return _distances.of_pairs(self._vectors, queries, asked, rows, cosine=self._cosine)

    def _values(self, distances: ndarray) -> ndarray:
        """What is searched for, in place of distances."""
        return distances if self._cosine else distances**2
