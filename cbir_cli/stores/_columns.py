"""The fields of a collection: what each column of the item table is called in an engine, and how wide it is.

A label's field is ``label_`` and its name in lower case, with ``_`` for all but letters a to z, digits and ``_``:
``label:Pleural Effusion`` is ``label_pleural_effusion``. Where two labels would share a field the later one has ``_2``
at its end. The other columns keep their names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from cbir_cli.errors import UsageError
from cbir_cli.where import LABEL

ID, VECTOR = "id", "vector"

_LONGEST = 48  # of a field's name: PostgreSQL cuts names at 63 bytes
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class Column:
    """One field.

    Attributes
    ----------
    field : str
        Its name in the engine.
    bits : int
        Of an integer: 8, 16 or 32; 0 for a text.
    longest : int
        Bytes of the longest text.
    """

    field: str
    bits: int = 0
    longest: int = 0


def of_table(ids: ndarray, columns: Mapping[str, ndarray]) -> dict[str, Column]:
    """Return the field of each column of an item table, ``id`` first."""
    fields: dict[str, Column] = {ID: _column(ID, ids)}
    taken = {ID, VECTOR, *(name for name in columns if not name.startswith(LABEL))}
    for name, values in columns.items():
        field = name
        if name.startswith(LABEL):
            plain = re.sub("[^a-z0-9_]", "_", name.removeprefix(LABEL).lower())[:_LONGEST]
            field, number = f"label_{plain}", 2
            while field in taken:
                field, number = f"label_{plain}_{number}", number + 1
            taken.add(field)
        fields[name] = _column(field, values)
    return fields


def check_name(name: str) -> None:
    """Refuse a name that is no plain word: every engine takes those, and none has to be quoted."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--collection {name}: expected letters a to z, digits and _, at most 63, not a digit first")


def _column(field: str, values: ndarray) -> Column:
    if values.dtype.kind != "U":
        return Column(field, bits=8 * values.dtype.itemsize)
    return Column(field, longest=np.char.encode(values, "utf-8").dtype.itemsize if values.size else 0)
