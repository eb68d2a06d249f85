"""Image sources: what the user typed to a list of records.

Each module here is a reader of one layout, with ``CITATION``, ``LICENSE``, ``recognise(root)`` and
``read(root, *, flow, ...)``. A reader that takes a ``patient`` pattern has it as a keyword-only argument.
"""

import itertools
import logging
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from cbir_cli import names, registry
from cbir_cli.data import _parts
from cbir_cli.data._files import NOT_TEXT, Patients, ids, is_text
from cbir_cli.data._names import PRIVATE, Shown, dicom_files, hidden_names, remembered
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.records import Flow, Record, images

log = logging.getLogger("cbir")

# Asked last, in this order: their layouts have no file of their own that tells them.
_GENERAL = ("manifest", "imagefolder", "directory")


@dataclass
class Source:
    """The images of one source.

    Attributes
    ----------
    records : list of Record
        Sorted by id, which is unique.
    reader : str
        Reader that made them; ``image`` for a single file, ``-`` for paths on standard input.
    root : Path
        What ``Record.relative`` is relative to: the folder named or that of the table, or the working folder; for a
        list of images elsewhere the deepest folder that holds them all.
    typed : str
        The source as it was typed.
    flow : Flow
        How many were read, and how many dropped for which reason.
    holds_dicom : bool
        Whether some of the files are DICOM, as far as that was looked at: where names are hidden.
    """

    records: list[Record]
    reader: str
    root: Path
    typed: str
    flow: Flow = field(default_factory=Flow)
    holds_dicom: bool = False

    def stored(self, hide: names.Hide) -> str:
        """Return how an artifact remembers the source: as typed, or its last name if that is absolute.

        Names are hidden as those below it are; the reader before a colon stays.
        """
        return remembered(self.typed, self.reader, hide, dicom_files=self.holds_dicom)


def read_source(
    text: str,
    *,
    patient: str | None = None,
    frame: int | None = None,
    flow: Flow | None = None,
    stdin: IO[bytes] | None = None,
    nul: bool = False,
    hide: names.Hide | None = None,
) -> Source:
    """Records of an image source.

    Parameters
    ----------
    text : str
        A folder, an image file, a manifest (``.csv`` or ``.tsv``), ``reader:ROOT``, or ``-`` for paths on standard
        input. Some readers take a table of their data set as ROOT, where there are several. What exists under this very
        name comes before ``reader:ROOT``.
    patient : str, optional
        Pattern for the patient in a path, for layouts that do not state it.
    frame : int, optional
        Of each file that holds several images take this one alone, from 0; every one where not given.
    flow : Flow, optional
        Counted into, if given.
    stdin : binary file, optional
        Read for ``-``; by default the standard input. Paths are relative to the working folder.
    nul : bool
        Paths on standard input end with NUL instead of a line break.
    hide : callable, optional
        Turns an identifier into its stand-in. With it, names that carry an identifier are hidden in ``Record.id`` and
        ``Record.relative`` and in what ``flow`` says (see ``cbir_cli.names``).

    Returns
    -------
    Source

    Raises
    ------
    SourceError
        If the path does not exist, holds no image, lists none that is there, states an id twice, or its table is wrong.
    UsageError
        If the reader is unknown (the known ones are listed), the pattern is no regular expression with a group, or the
        reader takes none because its data set states the patients.
    """
    flow = Flow() if flow is None else flow
    path = Path(text)
    if hide:
        flow.shown = Shown(hide, patient)
    if text == "-":
        records, reader, root = _listed(stdin or sys.stdin.buffer, nul, patient, flow), "-", Path()
    elif path.exists() and text:
        reader, root = _recognised(path), path
        records = _image(path, patient, flow) if reader == "image" else _read(reader, path, patient, flow)
    else:
        reader, root = _named(text)
        records = _read(reader, root, patient, flow)
    root = root if root.is_dir() else root.parent
    listed = list(records) if frame is None else _parts.only(records, frame, flow)
    listed, root = _without_absolute_paths(listed, root)
    hidden, holds_dicom = 0, reader == "dicom"
    if hide and reader in PRIVATE:
        found = {record.path for record in listed} if holds_dicom else dicom_files(listed)
        holds_dicom = bool(found)
        told, listed = listed, list(hidden_names(listed, Shown(hide, patient), dicom_files=found))
        hidden = sum((a.id, a.relative) != (b.id, b.relative) for a, b in zip(told, listed, strict=True))
    source = Source(listed, reader, root, text, flow, holds_dicom)
    how = {"-": "a list of paths", "image": "one image"}.get(reader, reader)
    log.info("%s: read as %s", source.stored(hide) if hide else text, how)
    if hidden:
        log.info("names: those of %d of %d images are hidden, since they may tell a patient", hidden, len(listed))
    kept = sorted(listed, key=lambda record: record.id)
    if not kept:
        raise SourceError(_nothing(text, flow))
    if reader in ("-", "manifest") and not any(record.path.exists() for record in kept):
        raise SourceError(f"{text}: none of {images(len(kept))} exists, such as {kept[0].relative}")
    for first, second in itertools.pairwise(kept):
        if first.id == second.id:
            raise SourceError(f"{text}: id {first.id!r} occurs twice: {first.relative} and {second.relative}")
    return replace(source, records=kept)


def read_table(path: Path, *, flow: Flow, hide: names.Hide | None = None) -> list[Record]:
    """Records of a manifest in the order of its rows, for vectors that were made elsewhere; no file need be there.

    Parameters
    ----------
    path : Path
        See ``manifest``.
    flow : Flow
        Counted into; its notes name the label columns, and those that are not used.
    hide : callable, optional
        As ``read_source`` has it.

    Raises
    ------
    SourceError
        If the table is wrong, or states an id twice.
    """
    if hide:
        flow.shown = Shown(hide, None)
    listed, _ = _without_absolute_paths(list(_read("manifest", path, None, flow)), path.parent)
    if hide:
        listed = list(hidden_names(listed, Shown(hide, None), dicom_files=dicom_files(listed)))
    seen: set[str] = set()
    for record in listed:
        if record.id in seen:
            raise SourceError(f"{path}: id {record.id!r} occurs twice")
        seen.add(record.id)
    return listed


def _without_absolute_paths(records: list[Record], root: Path) -> tuple[list[Record], Path]:
    """Return the records relative to the deepest folder that holds them all, if their paths climb to the file system's.

    A list may name images anywhere. Relative to a folder that has nothing in common with theirs, a path is the absolute
    one behind so many steps up: it would tell an artifact's reader where on this machine the images lie.
    """
    here = os.path.abspath(root)
    top = os.path.abspath(os.sep)
    climbing = (r for r in records if r.relative.startswith("../"))
    if all(os.path.commonpath([here, os.path.abspath(record.path)]) != top for record in climbing):
        return records, root
    base = Path(os.path.commonpath([os.path.dirname(os.path.abspath(record.path)) for record in records]))
    relatives = [Path(os.path.relpath(record.path, base)).as_posix() for record in records]
    return [
        replace(old, relative=new, id=name if old.id in (old.relative, os.path.splitext(old.relative)[0]) else old.id)
        for old, new, name in zip(records, relatives, ids(relatives), strict=True)
    ], base


def _recognised(path: Path) -> str:
    special = [name for name in registry.names("data") if name not in _GENERAL]
    for name in (*special, *_GENERAL):
        if registry.load("data", name).recognise(path):
            return name
    return "image"


def _named(text: str) -> tuple[str, Path]:
    name, colon, rest = text.partition(":")
    if not colon or not re.fullmatch(r"[\w-]{2,}", name):  # ./a:b and C:\a are paths
        raise SourceError(f"{text}: no such file or folder")
    if registry.canonical(name) not in registry.names("data"):
        raise registry.unknown(f"reader (and {text} is no file)", name, registry.names("data"))
    name = registry.canonical(name)
    if not rest:
        raise UsageError(f"{text}: expected {name}:ROOT")
    root = Path(rest).expanduser()  # the shell leaves nih:~/data alone
    if not root.exists():
        raise SourceError(f"{rest}: no such file or folder")
    if name != "manifest" and not root.is_dir() and not registry.load("data", name).recognise(root):
        raise SourceError(f"{rest}: expected a folder for the reader {name}")
    return name, root


def _read(reader: str, root: Path, patient: str | None, flow: Flow) -> Iterator[Record]:
    read = registry.load("data", reader).read
    if "patient" in registry.parameters(read):
        return read(root, flow=flow, patient=patient)
    if patient is not None:
        raise UsageError(f"{root}: the data set {reader} states its patients; a patient pattern is not used")
    return read(root, flow=flow)


def _image(path: Path, patient: str | None, flow: Flow) -> Iterator[Record]:
    flow.read += 1
    if not path.is_file() or not is_text(str(path)):
        raise SourceError(f"{str(path)!a}: not a regular file with a UTF-8 name")
    who, study = Patients(patient)(Path(os.path.normpath(path)).as_posix())  # the folders may say whose it is
    yield from _counted(Record(id=path.stem, path=path, relative=path.name, patient=who, study=study), flow)


def _listed(stdin: IO[bytes], nul: bool, patient: str | None, flow: Flow) -> Iterator[Record]:
    patients = Patients(patient)
    data = stdin.read()
    if not nul and b"\0" in data:
        raise UsageError(
            "standard input: expected one path a line, found NUL bytes; for paths that end with NUL give -0"
        )
    names = [os.fsdecode(name if nul else name.removesuffix(b"\r")) for name in data.split(b"\0" if nul else b"\n")]
    named = [Path(os.path.relpath(name)).as_posix() for name in names if name]
    relatives = [name for name in named if is_text(name)]
    if len(relatives) < len(named):
        flow.read += len(named) - len(relatives)
        flow.drop(NOT_TEXT, len(named) - len(relatives))
    for name, relative in zip(ids(relatives), relatives, strict=True):
        flow.read += 1
        who, study = patients(relative)
        # A file that is not there was asked for by its name: it is unreadable, and named when it is to be read.
        yield from _counted(Record(id=name, path=Path(relative), relative=relative, patient=who, study=study), flow)
    patients.report(flow)


def _counted(record: Record, flow: Flow) -> Iterator[Record]:
    """Yield every image of a file that has been counted as one."""
    for number, part in enumerate(_parts.each(record)):
        flow.read += number > 0
        yield part


def _nothing(text: str, flow: Flow) -> str:
    reasons = [f"{reason} {count:,}" for reason, count in flow.dropped.most_common()]
    reasons += [note.removeprefix("not images: ") for note in flow.notes if note.startswith("not images: ")]
    return f"{text}: holds no images that can be read" + (f" ({', '.join(reasons)})" if reasons else "")
