"""The rows of an index a block at a time, and those among them that may not answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

_DENSE = 4  # a block of which at least every fourth row is wanted is read whole: that is faster than picking rows


@dataclass(frozen=True)
class Block:
    """Some rows that are taken at once.

    Attributes
    ----------
    place : slice or ndarray (M,), int64
        Where they lie among the vectors, ascending.
    shut : ndarray (M,), bool, or None
        Those that may answer no query; None for none.
    """

    place: slice | ndarray
    shut: ndarray | None = None

    def rows(self, found: ndarray) -> ndarray:
        """Return which rows of the index are meant by places within the block."""
        return found + self.place.start if isinstance(self.place, slice) else self.place[found]


def blocks(count: int, size: int, only: ndarray | None = None) -> Iterator[Block]:
    """Yield all of ``count`` rows, or those that may answer, at most ``size`` at once."""
    for start, stop in spans(count, size):
        if only is None:
            yield Block(slice(start, stop))
            continue
        some = only[slice(*np.searchsorted(only, (start, stop)))]
        if len(some) == stop - start:
            yield Block(slice(start, stop))
        elif len(some) * _DENSE < stop - start:
            if len(some):
                yield Block(some)
        else:
            shut = np.ones(stop - start, dtype=bool)
            shut[some - start] = False
            yield Block(slice(start, stop), shut)


def spans(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the first of every ``size`` numbers below ``count``, and the one after the last."""
    for start in range(0, count, size):
        yield start, min(start + size, count)


class Closed:
    """The rows that single queries may not be answered with, found quickly for a block.

    Parameters
    ----------
    without : sequence of ndarray (E,), int64
        Of each query.
    """

    def __init__(self, without: Sequence[ndarray]) -> None:
        rows = np.concatenate([np.empty(0, np.int64), *without])
        order = np.argsort(rows, kind="stable")
        self._rows = rows[order]
        self._asked = np.repeat(np.arange(len(without)), [len(some) for some in without])[order]

    def close(self, scores: ndarray, block: Block) -> None:
        """Set what may not answer to infinity, in the scores (Q, M) of a block."""
        if block.shut is not None:
            scores[:, block.shut] = np.inf
        place = block.place
        ends = (place.start, place.stop) if isinstance(place, slice) else (place[0], place[-1] + 1)
        some = slice(*np.searchsorted(self._rows, ends))
        rows, asked = self._rows[some], self._asked[some]
        if isinstance(place, slice):
            scores[asked, rows - place.start] = np.inf
        elif len(rows):
            spots = np.searchsorted(place, rows)
            there = place[spots] == rows
            scores[asked[there], spots[there]] = np.inf
