"""A table of images: ``.csv`` or ``.tsv`` with a column ``path``.

What is labelled: every column called ``label:<name>``; if there is none, every other column whose cells are all 1, 0,
-1 or blank, under its own name. A blank is a label that is not stated.
Further columns, all optional: ``id`` (else the path without its ending), ``patient``, ``study``, ``view``, ``source``,
``split``, ``sex``, ``age``; ``part``, the number from 0 of a frame, slice or image in a file that holds several;
``mask``, the path of the lesion's mask; ``boxes``, as ``x y width height`` in pixels, several separated by semicolons;
``series``, and ``position``, the number of a slice in it; ``examination``, the number of the study among those of its
patient in time.
Paths are relative to the table's folder. A table may be packed (``.csv.gz``).
Size, origin, paper: whatever the table lists.
Access and licence: those of the images.
"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from cbir_cli.data import _tables
from cbir_cli.data._files import Patients, ids
from cbir_cli.errors import SourceError
from cbir_cli.records import Flow, Record

CITATION = "none: a layout of files, not a data set"
LICENSE = "that of the images"

_FIELDS = (
    *("path", "id", "patient", "study", "view", "source", "split", "sex", "age", "part", "mask", "boxes"),
    *("series", "position", "examination"),
)
_PREFIX = "label:"
_MOST = 2**31  # of what is counted: it is stored in 32 bits


def recognise(root: Path) -> bool:
    """Whether this is a file that ends in ``.csv`` or ``.tsv``, packed or not."""
    return root.is_file() and root.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))


def read(root: Path, *, flow: Flow, patient: str | None = None) -> Iterator[Record]:
    """Every row of a manifest, also where its file is not there: it is unreadable, and named when it is to be read.

    Parameters
    ----------
    root : Path
        The table itself.
    flow : Flow
        Counts rows; its notes name the label columns, the columns that are not used, and masks that are missing: such
        an image is read without a mask.
    patient : str, optional
        Pattern searched for in the relative path of rows that state no patient.

    Yields
    ------
    Record

    Raises
    ------
    SourceError
        If the table has no column ``path``, or a row has no path, a label other than 1, 0, -1, blank, or a strange
        age, part or box.
    UsageError
        If the pattern is not a regular expression with a group.
    """
    patients = Patients(patient)
    table = _tables.Table(root, ["path"])
    labels = _labels(table, flow)
    # The table is read again rather than kept: its rows would take more memory than the records.
    relatives = [_relative(root, number, row["path"]) for number, row in table]
    # Parts of one file share its name; the number tells them apart.
    names = dict(zip(dict.fromkeys(relatives), ids(dict.fromkeys(relatives)), strict=True))
    without: list[str] = []
    for (number, row), relative in zip(table, relatives, strict=True):
        flow.read += 1
        path = root.parent / relative
        codes = labels(number, row)
        years = _tables.age(root, number, row.get("age", ""))
        part = _count(root, number, "part", row)
        boxes = _boxes(root, number, row.get("boxes", ""))
        mask = root.parent / _relative(root, number, row["mask"]) if row.get("mask") else None
        if mask and not mask.is_file():
            without.append(flow.shown(row["mask"], row.get("patient", ""), row.get("study", "")))
            mask = None
        who, study = (row["patient"], "") if row.get("patient") else patients(relative)
        yield Record(
            id=row.get("id") or (names[relative] if part is None else f"{names[relative]}#{part}"),
            path=path,
            relative=relative,
            labels=codes,
            patient=who,
            study=row.get("study") or study,
            view=row.get("view", ""),
            source=row.get("source", ""),
            split=_tables.split_name(row.get("split", "")),
            sex=_tables.sex(row.get("sex", "")),
            age=years,
            part=part,
            mask=mask,
            boxes=boxes,
            series=row.get("series", ""),
            position=_count(root, number, "position", row),
            examination=_count(root, number, "examination", row),
        )
    if without:
        flow.notes.append(f"missing mask: {len(without):,} ({', '.join(without[:5])}{', ...' if without[5:] else ''})")
    patients.report(flow)


def _relative(table: Path, number: int, text: str) -> str:
    if not text:
        raise SourceError(f"{table}: row {number} has no path")
    if os.path.isabs(text):
        text = os.path.relpath(text, table.parent)
    return Path(os.path.normpath(text)).as_posix()


def _count(table: Path, number: int, column: str, row: Mapping[str, str]) -> int | None:
    text = row.get(column, "")
    if text and not (text.isdecimal() and int(text) < _MOST):
        raise SourceError(f"{table}: row {number}: {column}: expected a number from 0, found {text!r}")
    return int(text) if text else None


def _boxes(table: Path, number: int, text: str) -> tuple[tuple[float, float, float, float], ...]:
    found = []
    for box in filter(None, (piece.strip() for piece in text.split(";"))):
        try:
            x, y, width, height = map(float, box.split())
        except ValueError:
            width = height = 0.0
        if not (0 < width < math.inf and 0 < height < math.inf and math.isfinite(x) and math.isfinite(y)):
            raise SourceError(f"{table}: row {number}: boxes: expected x y width height, found {box!r}")
        found.append((x, y, width, height))
    return tuple(found)


def _labels(table: _tables.Table, flow: Flow) -> _tables.Labels:
    others = [column for column in table.columns if column and column not in _FIELDS]
    named = [column for column in others if column.startswith(_PREFIX)]
    plain = set(others) if not named else set()
    if plain:
        for _, row in table:
            plain -= {column for column in plain if not _tables.is_code(row[column])}
    columns = named or [column for column in others if column in plain]
    if columns:
        flow.notes.append(f"labels: {', '.join(column.removeprefix(_PREFIX) for column in columns)}")
    if unused := [column for column in others if column not in columns]:
        flow.notes.append(f"columns not used: {', '.join(unused)}")
    return _tables.Labels(table.path, {column.removeprefix(_PREFIX): column for column in columns})
