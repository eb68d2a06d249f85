"""What an artifact holds of each patient, and of what looks like an identifier: behind ``cbir embed --audit``."""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import h5py
import numpy as np

from cbir_cli import names
from cbir_cli.artifacts import explanation, files, items
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.items import Items
from cbir_cli.data._files import walk
from cbir_cli.errors import UsageError
from cbir_cli.names import Hide
from cbir_cli.records import MISSING

log = logging.getLogger("cbir")

_NOT_HELD = ("path", "patient", "study", "content", "phash", "part")
"""Columns that every image has, or that are counted by themselves."""


@dataclass(frozen=True)
class Row:
    """What is held of a patient, or in a field.

    Attributes
    ----------
    kind : str
        ``patient`` or ``field``.
    name : str
        The patient as he is stored, empty for images without; or where in the file.
    count : int
        Images of the patient, without repetition; or values of the field.
    studies : int
    set : str
        Set of the patient in the network's training.
    holds : str
        What is filled in of him, with the number of images; or type and shape of the field.
    looks_like : str
        What looks like an identifier in it, with the number of values.
    """

    kind: str
    name: str
    count: int
    studies: int
    set: str
    holds: str
    looks_like: str


COLUMNS = [field.name for field in fields(Row)]


def rows_of(name: str) -> list[Row]:
    """Return what an artifact holds: a row a patient, then a row a field.

    Parameters
    ----------
    name : str
        Any artifact.

    Raises
    ------
    ArtifactError
        If it is none.
    """
    with files.open_artifact(name) as artifact:
        with files.reading(artifact.name):
            found = [*_patients(artifact), *_fields(artifact.file)]
    if suspect := [row for row in found if row.looks_like]:
        log.warning("%d rows hold what looks like an identifier (see the column looks_like)", len(suspect))
    else:
        log.info("nothing looks like an identifier; a name or number in words of its own kind cannot be told")
    return found


def files_behind(text: str, hide: Hide) -> Iterator[tuple[str, str]]:
    """Yield each file of a folder (or one file) as every name of it is hidden, and as it is.

    Parameters
    ----------
    text : str
        A folder or a file, with or without a reader before a colon.
    hide : callable
        With the key that an artifact was made with.

    Raises
    ------
    UsageError
        If there is no such folder or file.
    """
    path = Path(text)
    if not path.exists():
        path = Path(text.partition(":")[2]).expanduser()
    if not text or not path.exists() or path == Path():
        raise UsageError(f"--audit: expected an artifact, a folder or a file, found {text or 'nothing'}")
    base = path if path.is_dir() else path.parent
    for file in (Path(entry.path) for entry in walk(path)) if path.is_dir() else [path]:
        relative = file.relative_to(base).as_posix()
        yield names.hidden(relative, hide), relative


def cells(row: Row) -> list[str]:
    """Return a row as text."""
    return ["" if key == "studies" and row.kind == "field" else str(value) for key, value in asdict(row).items()]


def tsv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write rows of text as a table, line by line; what would break a line or a cell is written as in JSON."""
    yield "\t".join(header) + "\n"
    for row in rows:
        yield "\t".join(cell if cell.isprintable() else json.dumps(cell) for cell in row) + "\n"


def json_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Write an object a row."""
    for row in rows:
        yield json.dumps(asdict(row)) + "\n"


def _patients(artifact: files.Artifact) -> list[Row]:
    if artifact.kind == models.KIND:
        split = artifact.file["split"]
        owners, sets = (split[name].asstr()[()].tolist() for name in ("patient", "set"))
        return [
            Row("patient", who, 0, 0, role, "", ", ".join(names.looks_like(who)))
            for who, role in sorted(zip(owners, sets, strict=True))
        ]
    groups = ("queries", "results") if artifact.kind == explanation.KIND else ("/",)
    tables = [items.read(artifact.file[group], artifact.name) for group in groups]
    ids: dict[str, set[str]] = defaultdict(set)
    studies: dict[str, set[str]] = defaultdict(set)
    sets_of: dict[str, set[str]] = defaultdict(set)
    held: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    looks: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for table in tables:
        filled = {column: _filled(table, column) for column in table if column not in _NOT_HELD}
        text = {column: table[column].tolist() for column in table if table[column].dtype.kind == "U"}
        for row, (key, who) in enumerate(zip(table.ids.tolist(), table["patient"].tolist(), strict=True)):
            ids[who].add(key)
            studies[who] |= {str(table["study"][row])} - {""}
            sets_of[who] |= {str(table["seen"][row])} - {""}
            for column, there in filled.items():
                if there[row]:
                    held[who][column].add(key)
            for value in (key, *(values[row] for values in text.values())):
                for kind in names.looks_like(value):
                    looks[who][kind].add(key)
    return [
        Row(
            "patient",
            who,
            len(ids[who]),
            len(studies[who]),
            ", ".join(sorted(sets_of[who])),
            _counted({column: len(of) for column, of in held[who].items()}),
            _counted({kind: len(of) for kind, of in looks[who].items()}),
        )
        for who in sorted(ids)
    ]


def _filled(table: Items, column: str) -> np.ndarray:
    return table[column] != ("" if table[column].dtype.kind == "U" else MISSING)


def _fields(file: h5py.File) -> list[Row]:
    """Return every attribute and data set of a file; numbers are not looked at."""
    found: list[Row] = []

    def attributes(name: str, thing: h5py.Group | h5py.Dataset) -> None:
        for key, value in sorted(thing.attrs.items()):
            found.append(_field(f"{name}@{key}", np.asarray(value)))

    def visit(name: str, thing: h5py.Group | h5py.Dataset) -> None:
        if isinstance(thing, h5py.Dataset):
            text = thing.dtype.kind in "SO"
            found.append(_field(name, thing[()] if text else np.empty(thing.shape, np.uint8), str(thing.dtype)))
        attributes(name, thing)

    attributes("", file)
    file.visititems(visit)
    return found


def _field(name: str, values: np.ndarray, dtype: str = "") -> Row:
    values = np.asarray(values)
    looks: Counter[str] = Counter(names.looks_like(name))
    text = values.dtype.kind in "SOU"
    if text:
        for value in values.ravel().tolist():
            looks.update(names.looks_like(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)))
    kind = "text" if text else dtype or str(values.dtype)
    shape = f" {' x '.join(map(str, values.shape))}" if values.shape else ""
    return Row("field", name, int(values.size), 0, "", kind + shape, _counted(looks))


def _counted(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
