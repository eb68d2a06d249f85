"""A table of images: ``.csv`` or ``.tsv`` with a column ``path``.

What is labelled: every column called ``label:<name>``; if there is none, every other column whose cells are all 1, 0,
-1 or blank, under its own name. A blank is a label that is not stated.
Further columns, all optional: ``id`` (else the path without its ending), ``patient``, ``study``, ``view``, ``source``,
``split``, ``sex``, ``age``. Paths are relative to the table's folder.
Size, origin, paper: whatever the table lists.
Access and licence: those of the images.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from cbir_cli.data import _tables
from cbir_cli.data._files import Patients, drop_missing, ids
from cbir_cli.errors import SourceError
from cbir_cli.records import Flow, Record

CITATION = "none: a layout of files, not a data set"
LICENSE = "that of the images"

_FIELDS = ("path", "id", "patient", "study", "view", "source", "split", "sex", "age")
_PREFIX = "label:"


def recognise(root: Path) -> bool:
    """Whether this is a file that ends in ``.csv`` or ``.tsv``."""
    return root.is_file() and root.suffix.lower() in (".csv", ".tsv")


def read(root: Path, *, flow: Flow, patient: str | None = None) -> Iterator[Record]:
    """Every row of a manifest whose file is there.

    Parameters
    ----------
    root : Path
        The table itself.
    flow : Flow
        Counts rows; its notes name the label columns and the columns that are not used.
    patient : str, optional
        Pattern searched for in the relative path of rows that state no patient.

    Yields
    ------
    Record

    Raises
    ------
    SourceError
        If the table has no column ``path``, or a row has no path, a label other than 1, 0, -1, blank, or a strange age.
    UsageError
        If the pattern is not a regular expression with a group.
    """
    patients = Patients(patient)
    table = _tables.Table(root, ["path"])
    labels = _labels(table, flow)
    # The table is read again rather than kept: its rows would take more memory than the records.
    relatives = [_relative(root, number, row["path"]) for number, row in table]
    missing: list[str] = []
    for (number, row), relative, name in zip(table, relatives, ids(relatives), strict=True):
        flow.read += 1
        path = root.parent / relative
        codes = labels(number, row)
        years = _tables.age(root, number, row.get("age", ""))
        if not path.is_file():
            missing.append(relative)
            continue
        who, study = (row["patient"], "") if row.get("patient") else patients(relative)
        yield Record(
            id=row.get("id") or name,
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
        )
    drop_missing(flow, missing)
    patients.report(flow)


def _relative(table: Path, number: int, text: str) -> str:
    if not text:
        raise SourceError(f"{table}: row {number} has no path")
    if os.path.isabs(text):
        text = os.path.relpath(text, table.parent)
    return Path(os.path.normpath(text)).as_posix()


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
