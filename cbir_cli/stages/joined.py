"""Item tables and rows of several artifacts, one after the other: for catalogues that grow, and for shards."""

from collections.abc import Sequence

import numpy as np

from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError
from cbir_cli.records import MISSING


class Stacked:
    """Some rows of several arrays that lie one after the other, read when they are asked for and not all at once.

    Parameters
    ----------
    parts : sequence of ndarray (N_i, D)
        At least one.
    rows : ndarray (M,), int64
        Which rows of the stack there are, in this order.
    """

    def __init__(self, parts: Sequence[np.ndarray], rows: np.ndarray) -> None:
        self._parts, self._rows = parts, rows
        self._starts = np.cumsum([0, *map(len, parts)])
        self.shape = (len(rows), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: slice | np.ndarray) -> np.ndarray:
        rows = self._rows[chosen]
        found = np.empty((len(rows), *self.shape[1:]), self._parts[0].dtype)
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for number, part in enumerate(self._parts):
            mine = owners == number
            if mine.any():
                found[mine] = part[rows[mine] - self._starts[number]]
        return found


def join(tables: Sequence[Items], names: Sequence[str]) -> Items:
    """Return the item table of several artifacts, one after the other; what one does not state is missing there.

    Parameters
    ----------
    tables : sequence of Items
    names : sequence of str
        Of their files, for messages.

    Raises
    ------
    ArtifactError
        If two of them know patients who were hidden with different keys: the same patient would be two.
    """
    known = [(table, name) for table, name in zip(tables, names, strict=True) if (table["patient"] != "").any()]
    for table, name in known[1:]:
        if table.pseudonyms != known[0][0].pseudonyms:
            raise ArtifactError(
                f"{name}: its patients were hidden with another key than those of {known[0][1]} (or --keep-ids "
                "differs), so the same patient cannot be recognised; use the same CBIR_KEY"
            )
    columns = {
        name: np.concatenate([_column(table, name, tables) for table in tables])
        for name in dict.fromkeys(name for table in tables for name in table)
    }
    ids = np.concatenate([table.ids for table in tables])
    return Items(ids, columns, (known[0][0] if known else tables[0]).pseudonyms)


def _column(table: Items, name: str, tables: Sequence[Items]) -> np.ndarray:
    if name in table:
        return table[name]
    if name == "part":
        return table.parts
    kind = next(other[name].dtype for other in tables if name in other)
    return np.full(len(table.ids), "" if kind.kind == "U" else MISSING, kind)
