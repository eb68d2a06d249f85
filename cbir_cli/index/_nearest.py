"""The nearest rows met so far, of every query of a block."""

import numpy as np
from numpy import ndarray


class Nearest:
    """Running list of the k nearest rows of each query.

    Order is by distance rounded to float32, then by row: what a table prints is what the order rests on, and rows
    that a reader sees as tied stand by row.

    Attributes
    ----------
    distances : ndarray (Q, k), float32
        Ascending; inf where fewer than k rows have been met.
    rows : ndarray (Q, k), int64
        -1 where fewer than k rows have been met.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.distances = np.full((queries, k), np.inf, dtype=np.float32)
        self.rows = np.full((queries, k), -1, dtype=np.int64)

    def add(self, asked: ndarray, distances: ndarray, rows: ndarray) -> None:
        """Take in further rows.

        Parameters
        ----------
        asked : ndarray (P,), int64
            Number of the query in the block, of each pair.
        distances : ndarray (P,), float64
            Finite.
        rows : ndarray (P,), int64
            Not given before for this query.
        """
        if not len(rows):
            return
        every = np.repeat(np.arange(len(self.rows)), self.k)
        distances = np.concatenate([self.distances.ravel(), distances.astype(np.float32)])
        rows = np.concatenate([self.rows.ravel(), rows])
        kept = first(np.concatenate([every, asked]), distances, self.k, rows)
        self.distances, self.rows = distances[kept], rows[kept]

    def add_to(self, query: int, distances: ndarray, rows: ndarray) -> None:
        """Take in further rows (M,) of one query, with distances (M,) float64; as ``add``."""
        distances = np.concatenate([self.distances[query], distances.astype(np.float32)])
        rows = np.concatenate([self.rows[query], rows])
        order = np.lexsort((rows, distances))[: self.k]
        self.distances[query], self.rows[query] = distances[order], rows[order]

    def reach(self) -> ndarray:
        """Return the k-th distance of every query, (Q,) float64; inf where fewer than k rows have been met."""
        return self.distances[:, -1].astype(np.float64)


def first(asked: ndarray, values: ndarray, k: int, ties: ndarray | None = None) -> ndarray:
    """Places (Q, k) of the k smallest values of each query, ascending; each of 0 .. Q - 1 has at least k.

    Parameters
    ----------
    asked : ndarray (P,), int64
        Query of each value.
    values : ndarray (P,)
    k : int
    ties : ndarray (P,), optional
        Orders equal values.
    """
    order = np.lexsort((values, asked) if ties is None else (ties, values, asked))
    counts = np.bincount(asked)
    starts = np.cumsum(counts) - counts
    return order[starts[:, None] + np.arange(k)]
