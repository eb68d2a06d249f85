"""The AnnData element encoding, written and read with h5py alone.

``embedding`` and ``index`` artifacts follow it, so single-cell and embedding viewers open them. Text is stored with a
fixed length in UTF-8: it needs no heap, maps directly and has the same bytes every time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from cbir_cli.errors import ArtifactError
from cbir_cli.records import MISSING


def encode(item: h5py.Group | h5py.Dataset, kind: str, version: str) -> Any:
    """Mark an element with its encoding and return it."""
    item.attrs["encoding-type"] = kind
    item.attrs["encoding-version"] = version
    return item


def dictionary(parent: h5py.Group, name: str) -> h5py.Group:
    """Create a group of named elements."""
    return encode(parent.create_group(name), "dict", "0.1.0")


def array(parent: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    """Create a numeric array element."""
    return encode(parent.create_dataset(name, data=values), "array", "0.2.0")


def text(parent: h5py.Group, name: str, value: str) -> h5py.Dataset:
    """Create a scalar text element."""
    return encode(parent.create_dataset(name, data=value, dtype=h5py.string_dtype()), "string", "0.2.0")


def texts(parent: h5py.Group, name: str, values: Sequence[str] | np.ndarray) -> h5py.Dataset:
    """Create a column of text."""
    encoded = [str(v).encode() for v in values]
    width = max([1, *map(len, encoded)])
    data = np.array(encoded, dtype=h5py.string_dtype("utf-8", width))
    return encode(parent.create_dataset(name, data=data), "string-array", "0.2.0")


def integers(parent: h5py.Group, name: str, values: np.ndarray) -> h5py.Group:
    """Create a column of integers in which ``MISSING`` is stored as a mask."""
    group = encode(parent.create_group(name), "nullable-integer", "0.1.0")
    missing = values == MISSING
    array(group, "values", np.where(missing, 0, values).astype(values.dtype))
    array(group, "mask", missing)
    return group


def frame(parent: h5py.Group, name: str, index: Sequence[str] | np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
    """Create a table: an index of text, then columns of text (dtype U) or integers."""
    group = encode(parent.create_group(name), "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    order = np.array(list(columns), dtype=object)
    group.attrs.create("column-order", order, dtype=h5py.string_dtype()) if columns else group.attrs.create(
        "column-order", np.array([], dtype="f8")
    )
    texts(group, "_index", index)
    for column, values in columns.items():
        write = texts if values.dtype.kind == "U" else integers
        write(group, column, values)


def length(group: h5py.Group, name: str) -> int:
    """Return how many rows a column has.

    Raises
    ------
    ValueError
        If it is neither text nor integers with a mask.
    """
    item = group[name]
    parts = [item] if isinstance(item, h5py.Dataset) else [item["values"], item["mask"]]
    kinds = "".join(part.dtype.kind for part in parts)
    if kinds not in ("S", "ib") or any(part.ndim != 1 or part.shape != parts[0].shape for part in parts):
        raise ValueError(f"{name} is no column of text or integers")
    return len(parts[0])


def column(group: h5py.Group, name: str) -> np.ndarray:
    """Read one column of a table: text as dtype U, integers with ``MISSING`` where masked.

    Raises
    ------
    ValueError
        If it is neither.
    """
    length(group, name)
    item = group[name]
    if isinstance(item, h5py.Dataset):
        return decoded(item[()])
    values = item["values"][()]
    return np.where(item["mask"][()], np.asarray(MISSING, values.dtype), values)


def stored(group: h5py.Group, name: str) -> np.ndarray:
    """Read a column of text as it is stored: UTF-8 in dtype S, which compares and sorts as the text does.

    Raises
    ------
    ValueError
        If it is none.
    """
    length(group, name)
    if not isinstance(group[name], h5py.Dataset):
        raise ValueError(f"{name} is no column of text")
    return group[name][()]


def decoded(values: np.ndarray) -> np.ndarray:
    """Return text of dtype S as dtype U.

    Raises
    ------
    ArtifactError
        If it is none. Columns are read late, by whoever needs them, so this is no ValueError for the reader to catch.
    """
    try:
        return np.strings.decode(values, "utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError("damaged: a column of text is not UTF-8 (cbir verify tells in which file)") from error
