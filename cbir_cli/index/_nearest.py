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

    def add(self, query: int, distances: ndarray, rows: ndarray) -> None:
        """Take in further rows of one query.

        Parameters
        ----------
        query : int
            Number of the query in the block.
        distances : ndarray (M,), float64
            Finite.
        rows : ndarray (M,), int64
            Not given before for this query.
        """
        distances = np.concatenate([self.distances[query], distances.astype(np.float32)])
        rows = np.concatenate([self.rows[query], rows])
        order = np.lexsort((rows, distances))[: self.k]
        self.distances[query] = distances[order]
        self.rows[query] = rows[order]

    def reach(self) -> ndarray:
        """Return the k-th distance of every query, (Q,) float64; inf where fewer than k rows have been met."""
        return self.distances[:, -1].astype(np.float64)
