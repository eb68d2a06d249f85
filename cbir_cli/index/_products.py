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

Reference
---------
N. J. Higham. Accuracy and Stability of Numerical Algorithms. 2nd ed., SIAM 2002. Equation 3.5: an inner product of
length D, summed in any order, is off by at most gamma_D sum|q_i x_i|, with gamma_D = D u / (1 - D u).
"""

from collections.abc import Iterator

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index._nearest import Nearest

_SCORES = 2**20  # of one product: 4 MiB, few enough for the cache, and few calls where there is one query
_WORK = 2**20  # float64 numbers in flight where vectors are measured directly: 8 MiB
_UNIT = 2.0**-24  # unit roundoff of float32
_TINY = float(np.finfo(np.float32).tiny)  # bounds what is lost where a product underflows
_LONGEST = 1e18  # of a vector: beyond it a float32 score could overflow
_SHORTEST = 1e-37  # of a vector: below it an inverse norm could, and the error bound is above any cosine anyway


def build(vectors: ndarray) -> dict[str, ndarray]:
    """Return ``squared_norms`` (N,) float64.

    Raises
    ------
    ShapeError
        If a vector is not finite or is longer than 1e18.
    """
    return {"squared_norms": squared_norms(vectors, "row")}


def squared_norms(vectors: ndarray, what: str) -> ndarray:
    """Squared Euclidean norms (N,) float64, computed a block at a time; ``what`` names a vector in the error."""
    norms = np.empty(len(vectors))
    for start, stop in _blocks(len(vectors), max(1, _WORK // vectors.shape[1])):
        norms[start:stop] = np.square(vectors[start:stop], dtype=np.float64).sum(axis=1)
    bad = np.flatnonzero(~(norms <= _LONGEST**2))
    if bad.size:
        raise ShapeError(f"{what} {bad[0]} is not finite, or longer than {_LONGEST:g} ({bad.size} such)")
    return norms


class Products:
    """Search by matrix products, for the metrics ``l2`` and ``cosine``."""

    def __init__(self, vectors: ndarray, payload: dict[str, ndarray], metric: str) -> None:
        norms = np.asarray(payload["squared_norms"])
        if norms.shape != (len(vectors),) or not np.all(norms <= _LONGEST**2):
            raise ShapeError(f"squared norms do not belong to {len(vectors)} vectors")
        self._vectors, self._norms, self._cosine = vectors, np.sqrt(norms), metric == "cosine"

    def check(self, queries: ndarray) -> None:
        """Refuse queries that no distance can be given for."""
        squared_norms(queries, "query")

    def scan(self, queries: ndarray, nearest: Nearest, masks: ndarray | None) -> None:
        """Put the nearest rows of each query into ``nearest``.

        Parameters
        ----------
        queries : ndarray (Q, D), float32
        nearest : Nearest
            Of Q queries.
        masks : ndarray (Q, N), bool, or None
            Rows that each query may be answered with.
        """
        lengths = np.sqrt(np.square(queries, dtype=np.float64).sum(axis=1))
        offset = np.ones(len(queries)) if self._cosine else lengths**2
        probes = self._probes(queries, lengths)
        for start, stop in _blocks(len(self._vectors), max(1, _SCORES // len(queries))):
            scores = self._scores(probes, start, stop)
            error = self._error(lengths, start, stop)
            reach = nearest.reach() if self._cosine else nearest.reach() ** 2
            hits = scores <= _limit(reach, offset, error)[:, None]
            if masks is not None:
                hits &= masks[:, start:stop]
            for query in np.flatnonzero(hits.any(axis=1)):
                near = np.flatnonzero(hits[query])
                if near.size > nearest.k:
                    found = scores[query, near]
                    kth = float(np.partition(found, nearest.k - 1)[nearest.k - 1])
                    near = near[found <= _limit(kth + offset[query] + error[query], offset[query], error[query])]
                near += start
                nearest.add(int(query), self.measure(queries[query], near), near)

    def measure(self, query: ndarray, rows: ndarray) -> ndarray:
        """Distance of one query to some rows, from the difference of the vectors in float64.

        Parameters
        ----------
        query : ndarray (D,), float32
        rows : ndarray (M,), int64

        Returns
        -------
        ndarray (M,), float64
            Exactly 0 for a vector identical to the query (cosine: unless they are zero).
        """
        centre = query.astype(np.float64)
        if self._cosine:
            centre /= np.sqrt(np.square(centre).sum()) or 1.0
        distances = np.empty(len(rows))
        for start, stop in _blocks(len(rows), max(1, _WORK // len(query))):
            part = self._vectors[rows[start:stop]].astype(np.float64)
            if self._cosine:
                # Norms are taken afresh, not from the payload, so that equal vectors have bitwise equal directions.
                norms = np.sqrt(np.square(part).sum(axis=1))
                part /= np.where(norms > 0, norms, 1.0)[:, None]
            part -= centre
            squares = np.square(part, out=part).sum(axis=1)
            if self._cosine:
                # Half the squared difference of unit vectors is 1 - cos without its cancellation.
                distances[start:stop] = np.where((norms > 0) & centre.any(), squares / 2, 1.0)
            else:
                distances[start:stop] = np.sqrt(squares)
        return distances

    def _probes(self, queries: ndarray, lengths: ndarray) -> ndarray:
        """What rows are multiplied with, (Q, D) float32: -2 q (an exact scaling), or -q/|q|."""
        if not self._cosine:
            return queries * np.float32(-2)
        return (queries / -np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)

    def _scores(self, probes: ndarray, start: int, stop: int) -> ndarray:
        """Scores of a block of rows, (Q, stop - start) float32."""
        scores = probes @ self._vectors[start:stop].T
        norms = self._norms[start:stop]
        if self._cosine:  # a zero vector scores 0, which is distance 1
            scores *= np.where(norms > 0, 1 / np.maximum(norms, _SHORTEST), 0).astype(np.float32)
        else:
            scores += np.square(norms).astype(np.float32)
        return scores

    def _error(self, lengths: ndarray, start: int, stop: int) -> ndarray:
        """Bound of ``|score + offset - value|`` in a block of rows, (Q,) float64.

        The product is off by gamma_D |q||x| (Cauchy-Schwarz on Higham's bound). The few roundings besides (of norms,
        of the probe, of the last sum or scaling) each cost one u of a term they touch; eight more terms cover them.
        What underflows is below D times the smallest normal number, times what it is multiplied with.
        """
        terms = self._vectors.shape[1] + 8
        gamma = terms * _UNIT / (1 - terms * _UNIT)
        norms = self._norms[start:stop]
        if self._cosine:
            shortest = norms.min(initial=1.0, where=norms > 0)
            return np.full(len(lengths), gamma + 2 * terms * _TINY / shortest)
        longest = norms.max()
        products = 2 * gamma * lengths * longest
        return products + 4 * _UNIT * (lengths**2 + longest**2) + 2 * terms * _TINY * (1 + lengths + longest)


def _limit(values: ndarray, offset: ndarray, error: ndarray) -> ndarray:
    """Score above which a row is farther than ``values``, float32.

    Values that round to the same float32 distance are ties, hence 2**-21 of room on the square; the limit itself is
    rounded upwards.
    """
    scores = values * (1 + 2.0**-21) + _TINY - offset + error
    return np.nextafter(scores.astype(np.float32), np.float32(np.inf))


def _blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(start + size, count)
