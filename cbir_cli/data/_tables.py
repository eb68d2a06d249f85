"""What the readers share about tables: strict rows, label codes, ages and sexes."""

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cbir_cli.errors import SourceError
from cbir_cli.records import MISSING, NEGATIVE, POSITIVE, UNCERTAIN, Flow

_CODES = {
    "": MISSING,
    **dict.fromkeys(("1", "1.0"), POSITIVE),
    **dict.fromkeys(("0", "0.0"), NEGATIVE),
    **dict.fromkeys(("-1", "-1.0"), UNCERTAIN),
}
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validate", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Table:
    """A comma- or tab-separated table (by its ending) whose rows all have as many cells as its header.

    A table that ends in ``.gz`` is unpacked as it is read.

    Iterating gives the row number, as a spreadsheet counts (the header is row 1), and the stripped cells by column.

    Parameters
    ----------
    path : Path
    required : iterable of str
        Columns that must be there.

    Raises
    ------
    SourceError
        If the file cannot be read as UTF-8 text, or lacks a column: the message names it, the file, and the columns
        that are there. While iterating, if a row has too few or too many cells.
    """

    def __init__(self, path: Path, required: Iterable[str]) -> None:
        self.path = path
        self.columns = header(path)
        lacking = [column for column in required if column not in self.columns]
        if lacking:
            there = ", ".join(self.columns) or "none"
            raise SourceError(f"{path}: lacks column {', '.join(lacking)}; columns there: {there}")
        doubled = sorted({c for c in self.columns if c and self.columns.count(c) > 1})
        if doubled:
            raise SourceError(f"{path}: column {', '.join(doubled)} occurs twice")

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        rows = _rows(self.path)
        next(rows)
        width = len(self.columns)
        for number, cells in rows:
            if len(cells) < width or any(cells[width:]):
                raise SourceError(f"{self.path}: row {number} has {len(cells)} cells where the header has {width}")
            yield number, dict(zip(self.columns, cells, strict=False))


def header(path: Path) -> list[str]:
    """Return the column names of a table; empty for an empty file.

    Raises
    ------
    SourceError
        If the file cannot be read as UTF-8 text.
    """
    columns = next(_rows(path), (0, []))[1]
    while columns and not columns[-1]:
        columns.pop()  # the first NIH table and some spreadsheets end their header, but not their rows, with a comma
    return columns


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    name = path.name.lower()
    packed = name.endswith(".gz")
    delimiter = "\t" if name.removesuffix(".gz").endswith(".tsv") else ","
    opened = gzip.open if packed else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:  # spreadsheets put a byte order mark first
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise SourceError(f"{path}: not a table of text: {error}") from error
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error


def note_rows(flow: Flow, path: Path, rows: int, official: int | None) -> None:
    """Note that a table has another number of rows than the one that its data set was published with.

    A part of a data set is a good source, so this is no error; but a table cut short in a download looks the same.
    """
    if official is not None and rows != official:
        flow.notes.append(f"{path.name}: {rows:,} rows, as published {official:,}")


def is_code(cell: str) -> bool:
    """Whether a cell is one of 1, 0, -1 or blank."""
    return cell in _CODES


class Labels:
    """Raw label codes of a row's cells; rows that state the same share one mapping, so that 400,000 rows stay small."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        """Take the table's path, for messages, and the column of each label name."""
        self._path = path
        self._columns = dict(columns)
        self._seen: dict[tuple[str, ...], Mapping[str, int]] = {}

    def __call__(self, number: int, row: Mapping[str, str]) -> Mapping[str, int]:
        """Return label name to code; blank cells are left out.

        Raises
        ------
        SourceError
            If a cell is none of 1, 0, -1, blank; the message has the row number.
        """
        cells = tuple(row[column] for column in self._columns.values())
        if cells not in self._seen:
            for column, cell in zip(self._columns.values(), cells, strict=True):
                if cell not in _CODES:
                    raise SourceError(
                        f"{self._path}: row {number}: {column}: expected 1, 0, -1 or blank, found {cell!r}"
                    )
            codes = {name: _CODES[cell] for name, cell in zip(self._columns, cells, strict=True)}
            self._seen[cells] = {name: code for name, code in codes.items() if code != MISSING}
        return self._seen[cells]


def split_name(text: str) -> str:
    """Return train, validation or test for the usual spellings, other text as it is."""
    return _SPLITS.get(text.lower(), text)


def is_split(text: str) -> bool:
    """Whether a name is a usual spelling of train, validation or test."""
    return text.lower() in _SPLITS


def sex(text: str) -> str:
    """Return F, M, or empty for anything else."""
    return {"f": "F", "female": "F", "m": "M", "male": "M"}.get(text.lower(), "")


def age(path: Path, number: int, text: str) -> int | None:
    """Whole years from ``61``, ``61.0`` or DICOM's ``061Y``, ``018M``, ``006W``, ``003D``; None for blank.

    Raises
    ------
    SourceError
        If it is something else; the message has the row number.
    """
    if not text or text.lower() == "unknown":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d*)?)([YMWD]?)", text.upper())
    if not match:
        raise SourceError(f"{path}: row {number}: expected an age in years, found {text!r}")
    return math.floor(float(match[1]) / {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}[match[2]])
