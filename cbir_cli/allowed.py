"""Which rows of an index may answer a query: what filters and guards come to."""

from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Allowed:
    """Rows that may answer one query: all or some, without a few.

    Queries that share a filter share the array ``only`` itself: a search takes such queries together.

    Attributes
    ----------
    only : ndarray (M,), int64, or None
        Ascending, each once; None for all rows.
    without : ndarray (E,), int64
        Ascending, each once; rows that may not, whether or not they are in ``only``.
    """

    only: ndarray | None = None
    without: ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def check(self, count: int) -> None:
        """Refuse rows that an index of ``count`` rows does not have, or that are out of order; as ``check`` below."""
        for rows in (self.only, self.without):
            if rows is not None:
                check(rows, count)

    def rows(self, count: int) -> ndarray:
        """Return the rows (K,) int64, ascending, of an index of ``count`` rows."""
        mask = np.ones(count, dtype=bool) if self.only is None else np.zeros(count, dtype=bool)
        if self.only is not None:
            mask[self.only] = True
        mask[self.without] = False
        return np.flatnonzero(mask)


def check(rows: ndarray, count: int) -> None:
    """Refuse rows that an index of ``count`` rows does not have, or that are out of order.

    Raises
    ------
    ShapeError
    """
    if rows.ndim != 1 or rows.dtype != np.int64:
        raise ShapeError(f"expected rows of shape (M,) and type int64, found {rows.shape} {rows.dtype}")
    if rows.size and (rows[0] < 0 or rows[-1] >= count or (np.diff(rows) <= 0).any()):
        raise ShapeError(f"expected ascending rows from 0 to {count - 1}")
