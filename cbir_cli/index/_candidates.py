"""Which rows may be among the k nearest, by scores whose error is bounded."""

import numpy as np
from numpy import ndarray

from cbir_cli.index._blocks import Block
from cbir_cli.index._nearest import first

_HEAD = 4096  # scores of a first block that are looked at for a first bound
_TOO_MANY = 1 / 32  # of the pairs: to read whole rows in order is then faster than to pick some
_TINY = float(np.finfo(np.float32).tiny)


class Candidates:
    """Collects the rows that may be among the k nearest of each query.

    The value of a row is what is searched for (the square of its distance, or its distance): its score plus
    the query's offset, but for an error that is bounded. Of each query the k least upper bounds of values are kept:
    the largest of them is a limit within which k rows lie, and a row that must lie beyond it is dropped.

    Attributes
    ----------
    count : int
        How many pairs of query and row are held.
    """

    def __init__(self, k: int, offset: ndarray) -> None:
        self._k, self._offset = k, offset
        self._bounds = np.full((len(offset), k), np.inf)
        self._fresh: list[tuple[ndarray, ndarray]] = []  # query and upper bound, not yet among the bounds
        self._held: list[tuple[ndarray, ndarray, ndarray]] = []  # query, row, lower bound of the score
        self.count = 0

    def add(self, scores: ndarray, error: ndarray, block: Block, reach: ndarray) -> None:
        """Take in the scores of a block.

        Parameters
        ----------
        scores : ndarray (Q, M), float32
            Infinite where a row may not answer.
        error : ndarray (Q,), float64
            Bound of ``|score + offset - value|``.
        block : Block
        reach : ndarray (Q,), float64
            Values within which k rows are known to lie.
        """
        limit = self.limit(reach)
        if np.isinf(limit).any() and scores.shape[1] >= self._k:
            head = np.partition(scores[:, : max(_HEAD, 4 * self._k)], self._k - 1, axis=1)[:, self._k - 1]
            limit = np.minimum(limit, _widened(head + self._offset + error) - self._offset)
        asked, places = _within(scores, limit + error)
        found = scores[asked, places].astype(np.float64)
        self._hold(asked, block.rows(places), found - error[asked])
        self._fresh.append((asked, found + error[asked] + self._offset[asked]))
        if sum(len(asked) for asked, _ in self._fresh) >= self._bounds.size:
            self._take_in()

    def hold(self, scores: ndarray, error: ndarray, block: Block, reach: ndarray) -> bool:
        """Take in scores that are lower bounds, but for the error; or nothing and return False if they say little."""
        asked, places = _within(scores, self.limit(reach) + error)
        if len(asked) > scores.size * _TOO_MANY + self._bounds.size:
            return False
        self._hold(asked, block.rows(places), scores[asked, places] - error[asked])
        return True

    def take(self, reach: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        """Return query, row and lower bound (P,) of what may be among the nearest, and hold nothing any more."""
        self._take_in()
        empty = np.empty(0, np.int64)
        asked = np.concatenate([empty, *(asked for asked, _, _ in self._held)])
        rows = np.concatenate([empty, *(rows for _, rows, _ in self._held)])
        low = np.concatenate([np.empty(0), *(low for _, _, low in self._held)])
        self._held, self.count = [], 0
        near = low <= self.limit(reach)[asked]
        return asked[near], rows[near], low[near]

    def limit(self, reach: ndarray) -> ndarray:
        """Score (Q,) float64 above which a row must be farther than the k-th."""
        return _widened(np.minimum(self._bounds[:, -1], reach)) - self._offset

    def _hold(self, asked: ndarray, rows: ndarray, low: ndarray) -> None:
        self._held.append((asked, rows, low))
        self.count += len(asked)

    def _take_in(self) -> None:
        every = np.repeat(np.arange(len(self._bounds)), self._k)
        asked = np.concatenate([every, *(asked for asked, _ in self._fresh)])
        bounds = np.concatenate([self._bounds.ravel(), *(bounds for _, bounds in self._fresh)])
        self._bounds = bounds[first(asked, bounds, self._k)]
        self._fresh = []


def lowest(asked: ndarray, values: ndarray, most: int) -> tuple[ndarray, ndarray]:
    """Places of the ``most`` lowest values of each query, and of the others."""
    order = np.lexsort((values, asked))
    counts = np.bincount(asked)
    place = np.arange(len(order)) - (np.cumsum(counts) - counts)[asked[order]]
    return order[place < most], order[place >= most]


def _within(scores: ndarray, limit: ndarray) -> tuple[ndarray, ndarray]:
    """Query and place (P,) of the finite scores (Q, M) up to a limit (Q,)."""
    top = np.nextafter(limit.astype(np.float32), np.float32(np.inf))
    near = np.flatnonzero(scores <= np.minimum(top, np.finfo(np.float32).max)[:, None])
    return np.divmod(near, scores.shape[1])


def _widened(values: ndarray) -> ndarray:
    """Values that round to the same float32 distance are ties, hence 2**-21 of room on the square."""
    return values * (1 + 2.0**-21) + _TINY
