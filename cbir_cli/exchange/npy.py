"""NumPy: ``NAME.npy`` with the vectors (N, D), and beside it ``NAME.csv`` with what is known of the image in each row.

The table is a manifest, so the rest of ``cbir`` reads it, too. A ``.npy`` file that needs unpickling is refused.
"""

import csv
from pathlib import Path

import numpy as np

from cbir_cli.errors import SourceError
from cbir_cli.exchange import Columns

ENDINGS = (".npy",)


def table_of(path: Path) -> Path:
    """Return the table that belongs to a file of vectors."""
    return path.with_suffix(".csv")


def write_table(path: Path, columns: Columns) -> None:
    """Write the item table as CSV.

    Parameters
    ----------
    path : Path
    columns : mapping of str to sequence of str
        Cells (N,) by column.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write(path: Path, vectors: np.ndarray) -> None:
    """Write vectors alone; the table is written by ``write_table``.

    Parameters
    ----------
    path : Path
    vectors : ndarray (N, D), float32
    """
    with path.open("wb") as file:  # np.save adds an ending to a name without one
        np.save(file, np.asarray(vectors, np.float32), allow_pickle=False)


def read(path: Path) -> np.ndarray:
    """Return the vectors (N, D), memory-mapped, of any type of numbers.

    Raises
    ------
    SourceError
        If it is no array, or holds objects.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: expected an array of numbers (.npy), found something else") from error
