"""What an item table has of the image, study or patient of an image of another table.

Nothing is compared row by row for each query: the first few values of a column are looked for directly, which for one
query is the faster way; for more of them its rows are grouped once.
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy import ndarray

from cbir_cli.artifacts.items import Items

NO_ROWS = np.empty(0, np.int64)

_FEW = 16  # values that are looked for before a column is grouped, which takes as long as some thirty comparisons


class Relatives:
    """Finds the relatives of images of other tables.

    Parameters
    ----------
    items : Items
        Sorted by id.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._columns: dict[str, _Column] = {}

    def of(self, others: Items, row: int, level: str, *, same_ids: bool) -> ndarray:
        """Return the rows (M,) int64, ascending, of an image of another table, and of what it belongs to.

        Parameters
        ----------
        others : Items
            Patients and studies are compared where both tables were hidden with the same key.
        row : int
            Of the other table.
        level : str
            ``none``, ``image``, ``study`` or ``patient``, as ``guards`` says; ``source`` is as ``patient``, since all
            images of a source are too many to be listed for each query.
        same_ids : bool
            Whether an id names the same image in both.
        """
        if level == "none":
            return NO_ROWS
        copies = self._copies(others, row)
        if level == "image":
            found = [copies[self._items.parts[copies] == others.parts[row]]] if len(copies) else []
        else:
            found = [copies]
            if level != "study":
                found += self._having("patient", self.values(others, row, "patient"))
            studies = {*self.values(others, row, "study"), *self._stated("study", found)}
            found += self._having("study", studies)
        if same_ids and (place := place_of(self._items, _text(others.stored("_index")[row]))) is not None:
            found.append(np.array([place], np.int64))
        return joined(found)

    def values(self, others: Items, row: int, column: str) -> tuple[str, ...]:
        """Return the patients, studies, series or sources of an image: as its table says, and its copies here."""
        comparable = column == "source" or self._items.pseudonyms == others.pseudonyms
        found = {_text(others.stored(column)[row])} if comparable and column in others else set()
        if column in self._items:
            found |= self._stated(column, [self._copies(others, row)])
        return tuple(sorted(found - {""}))

    def having(self, column: str, values: Iterable[str]) -> ndarray:
        """Return the rows with one of some values, ascending."""
        return joined(self._having(column, values))

    def _having(self, column: str, values: Iterable[str]) -> list[ndarray]:
        return [self.rows(column, value) for value in values] if column in self._items else []

    def rows(self, column: str, value: str) -> ndarray:
        """Return the rows with a value, ascending."""
        if column not in self._columns:
            self._columns[column] = _Column(self._items.stored(column))
        return self._columns[column].rows(value)

    def _copies(self, others: Items, row: int) -> ndarray:
        content = _text(others.stored("content")[row])
        return self.rows("content", content) if content else NO_ROWS

    def _stated(self, column: str, rows: Iterable[ndarray]) -> set[str]:
        values = self._items.stored(column)
        return {_text(value) for some in rows for value in values[some].tolist()} - {""}


class _Column:
    """The rows of each value of a column."""

    def __init__(self, values: ndarray) -> None:
        self._values = values
        self._asked = 0
        self._first: dict[str | bytes, int] = {}

    def rows(self, value: str) -> ndarray:
        wanted = value.encode() if self._values.dtype.kind == "S" else value
        self._asked += 1
        if self._asked <= _FEW:
            return np.flatnonzero(self._values == wanted)
        if not self._first and len(self._values):
            self._group()
        first = self._first.get(wanted)
        return NO_ROWS if first is None else self._order[self._starts[first] : self._stops[first]]

    def _group(self) -> None:
        """Name each value by the row where it is first, and sort the rows by that."""
        firsts = np.fromiter(map(self._first.setdefault, self._values.tolist(), itertools.count()), np.int64)
        self._order = np.argsort(firsts, kind="stable")
        self._stops = np.cumsum(
            np.bincount(firsts, minlength=len(firsts))
        )  # of the rows that are first: others are empty
        self._starts = np.concatenate([[0], self._stops[:-1]])


def place_of(items: Items, key: str) -> int | None:
    """Return the row of an id in a table that is sorted by them, None if it is not there."""
    ids = items.stored("_index")
    wanted = key.encode() if ids.dtype.kind == "S" else key
    if len(wanted) * (4 if ids.dtype.kind == "U" else 1) > ids.dtype.itemsize:  # NumPy would widen the whole column
        return None
    place = int(np.searchsorted(ids, wanted))
    return place if place < len(ids) and ids[place] == wanted else None


def joined(some: Sequence[ndarray]) -> ndarray:
    """Return the rows that are in one of some lists at least, ascending."""
    there = [rows for rows in some if len(rows)]
    if len(there) < 2:
        return there[0] if there else NO_ROWS
    return np.unique(np.concatenate(there))


def common(first: ndarray, second: ndarray) -> ndarray:
    """Return the rows that are in both of two ascending lists: quick where one of them is short."""
    few, many = sorted((first, second), key=len)
    if not len(few):
        return few
    places = np.minimum(np.searchsorted(many, few), len(many) - 1)
    return few[many[places] == few]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
