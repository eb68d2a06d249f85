"""Parquet: a row an image, the item table's columns, and the vector as a list of D numbers.

pandas, Polars, DuckDB, Spark and Hugging Face's datasets read it. Needs pyarrow (``pip install 'cbir-cli[parquet]'``).
"""

from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.errors import CbirError, SourceError
from cbir_cli.exchange import Columns

ENDINGS = (".parquet", ".pq")
VECTOR = "vector"
"""The usual name of the column with the vectors."""

_ROWS = 65536
"""Rows of a group: what is in memory at a time when a file is written."""


def write(path: Path, vectors: np.ndarray, columns: Columns) -> None:
    """Write vectors with their item table, a group of rows at a time.

    Parameters
    ----------
    path : Path
    vectors : ndarray (N, D), float32
    columns : mapping of str to sequence of str
        Cells (N,) by column; what is empty becomes null, and labels become integers.

    Raises
    ------
    CbirError
        If pyarrow is not there.
    """
    arrow, files = _pyarrow()
    kinds = {name: arrow.int8() if name.startswith("label:") else arrow.string() for name in columns}
    whole = {"age": arrow.int16(), "part": arrow.int32(), "position": arrow.int32(), "examination": arrow.int32()}
    kinds |= {name: kind for name, kind in whole.items() if name in columns}
    width = vectors.shape[1]
    fields = [*kinds.items(), (VECTOR, arrow.list_(arrow.float32(), width))]
    with files.ParquetWriter(path, arrow.schema(fields)) as writer:
        for start in range(0, max(1, len(vectors)), _ROWS):
            rows = slice(start, start + _ROWS)
            cells = [
                arrow.array([_cell(text, kind == arrow.string()) for text in columns[name][rows]], kind)
                for name, kind in kinds.items()
            ]
            flat = arrow.array(np.ascontiguousarray(vectors[rows], np.float32).ravel())
            cells.append(arrow.FixedSizeListArray.from_arrays(flat, width))
            writer.write_table(arrow.table(cells, schema=arrow.schema(fields)), row_group_size=_ROWS)


def read(path: Path, name: str = "") -> tuple[np.ndarray, dict[str, list[str]]]:
    """Read vectors and every other column as text.

    Parameters
    ----------
    path : Path
    name : str
        Column of the vectors, ``vector`` by default: lists of one length.

    Returns
    -------
    vectors : ndarray (N, D), float32
    columns : dict of str to list of str
        Columns of text, numbers and truth values; other columns are left out.

    Raises
    ------
    CbirError
        If pyarrow is not there.
    SourceError
        If the file is no Parquet file, or the column is not there or holds no vectors.
    """
    arrow, files = _pyarrow()
    try:
        table = files.read_table(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise SourceError(f"{path}: expected a Parquet file, found something else") from error
    name = name or VECTOR
    if name not in table.column_names:
        known = ", ".join(table.column_names) or "none"
        raise SourceError(f"{path}: no column {name!r} with vectors (--vectors NAME); columns there: {known}")
    vectors = _vectors(arrow, table.column(name).combine_chunks())
    if vectors is None:
        raise SourceError(f"{path}: column {name!r} does not hold vectors of one length without gaps")
    plain = arrow.types
    columns = {
        field.name: ["" if cell is None else _text(cell) for cell in table.column(field.name).to_pylist()]
        for field in table.schema
        if field.name != name
        and any(
            fits(field.type)
            for fits in (plain.is_string, plain.is_large_string, plain.is_integer, plain.is_floating, plain.is_boolean)
        )
    }
    return vectors, columns


def _vectors(arrow: Any, column: Any) -> np.ndarray | None:
    """Return the rows of a column of lists as float32 (N, D), or None if they are no vectors of one length."""
    kinds = arrow.types
    lists = kinds.is_list(column.type) or kinds.is_large_list(column.type) or kinds.is_fixed_size_list(column.type)
    if not lists or column.null_count or not len(column):
        return None
    values = column.flatten()
    if values.null_count or not (kinds.is_floating(values.type) or kinds.is_integer(values.type)):
        return None
    lengths = {len(row) for row in column}
    if len(lengths) != 1 or lengths == {0}:
        return None
    return values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), -1)


def _cell(text: str, word: bool) -> str | int | None:
    return None if text == "" else text if word else int(text)


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return str(int(cell))
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else "" if cell != cell else str(cell)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise CbirError("Parquet needs pyarrow: pip install 'cbir-cli[parquet]'") from error
    return pyarrow, parquet
