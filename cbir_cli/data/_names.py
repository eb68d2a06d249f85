"""Which names of private images may be written: the rules of ``cbir_cli.names`` for the records of a source."""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from cbir_cli import names
from cbir_cli.data._files import Patients, ending
from cbir_cli.dicom import is_dicom
from cbir_cli.records import Record

PRIVATE = ("dicom", "manifest", "directory", "imagefolder", "image", "-")
"""Readers of anybody's images; the names in public data sets are public."""


def remembered(typed: str, reader: str, hide: names.Hide, *, dicom_files: bool) -> str:
    """Return a source as typed, or its last name if that is absolute, without names that may tell a patient."""
    before, colon, path = typed.partition(":")
    before = f"{before}:" if colon and not os.path.exists(typed) else ""
    path = typed.removeprefix(before)
    path = os.path.basename(os.path.normpath(path)) if os.path.isabs(path) else path
    if dicom_files and reader in PRIVATE and path != "-":
        return before + names.hidden(path, hide)
    return before + names.shown(path, hide)


class Shown:
    """What may be written of paths, of some private images.

    Parameters
    ----------
    hide : callable
    pattern : str, optional
        The user's pattern for the patient in a path.
    """

    def __init__(self, hide: names.Hide, pattern: str | None) -> None:
        self.hide = hide
        self._pattern = pattern
        self._stated: Patients | None = None
        self._public = Patients(None)

    def identifiers(self, path: str, *stated: str) -> tuple[str, ...]:
        """Return what must not stand in a path: its patient and study, unless they are the names of a public set."""
        if self._pattern is not None:
            self._stated = self._stated or Patients(self._pattern)
            return *stated, *self._stated(path)
        public = bool(stated and stated[0]) and stated[0] == self._public(path)[0]
        return () if public else stated

    def __call__(self, path: str, *stated: str, every: bool = False) -> str:
        """Return what may be written of a path whose patient and study are stated."""
        if every or _is_called_dicom(path):
            return names.hidden(path, self.hide)
        return names.shown(path, self.hide, self.identifiers(path, *stated))


def dicom_files(records: Iterable[Record]) -> set[Path]:
    """Return the files that are DICOM, by their first bytes whatever they are called, or else by their ending.

    Each file is opened once more, also one that is called ``.png``: decoding goes by the content as well.
    """
    paths = {record.path for record in records}
    return {path for path in paths if _is_called_dicom(path.name) or _begins_as_dicom(path)}


def _is_called_dicom(name: str) -> bool:
    return ending(name) in (".dcm", ".dicom")


def _begins_as_dicom(path: Path) -> bool:
    try:
        if not path.is_file():  # a named pipe would block for ever
            return False
        with path.open("rb", buffering=0) as file:
            return is_dicom(file.read(132))
    except OSError:
        return False  # reading it will say what is wrong


def hidden_names(records: list[Record], shown: Shown, *, dicom_files: Collection[Path]) -> Iterator[Record]:
    """Yield the records without the names that carry an identifier, and without any name of a DICOM file."""
    labels: dict[str, str] = {}
    for record in records:
        every = record.path in dicom_files
        known = () if every else shown.identifiers(record.relative, record.patient, record.study)
        relative = shown(record.relative, record.patient, record.study, every=every)
        key = names.shown_id(record.id, record.relative, relative, shown.hide, known, every=every)
        for name in record.labels.keys() - labels.keys():
            labels[name] = names.shown(name, shown.hide)  # a folder for each patient looks like one for each class
        codes = record.labels
        if any(labels[name] != name for name in codes):
            codes = {labels[name]: code for name, code in codes.items()}
        yield replace(record, id=key, relative=relative, labels=codes)
