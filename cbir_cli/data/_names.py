"""Which names of private images may be written: the rules of ``cbir_cli.names`` for the records of a source."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cbir_cli import names
from cbir_cli.data._files import ENDINGS, Patients, ending
from cbir_cli.dicom import is_dicom
from cbir_cli.records import Record

PRIVATE = ("dicom", "manifest", "directory", "imagefolder", "image", "-")
"""Readers of anybody's images; the names in public data sets are public."""
_NO_DICOM = (*ENDINGS, ".nii", ".nii.gz", ".npz")
"""Endings of files that are not opened to see whether they are DICOM."""


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
        if every or is_dicom_file(path, None):
            return names.hidden(path, self.hide)
        return names.shown(path, self.hide, self.identifiers(path, *stated))


def is_dicom_file(relative: str, path: Path | None) -> bool:
    """Whether a file is DICOM, by its ending or its first bytes."""
    kind = ending(relative)
    if kind in (".dcm", ".dicom") or path is None or kind in _NO_DICOM:
        return kind in (".dcm", ".dicom")
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(132))
    except OSError:
        return False  # reading it will say what is wrong


def hidden_names(records: list[Record], shown: Shown, *, dicom_files: bool) -> Iterator[Record]:
    """Yield the records without the names that carry an identifier."""
    labels: dict[str, str] = {}
    for record in records:
        every = dicom_files or is_dicom_file(record.relative, record.path)
        known = () if every else shown.identifiers(record.relative, record.patient, record.study)
        relative = shown(record.relative, record.patient, record.study, every=every)
        key = names.shown_id(record.id, record.relative, relative, shown.hide, known, every=every)
        for name in record.labels.keys() - labels.keys():
            labels[name] = names.shown(name, shown.hide)  # a folder for each patient looks like one for each class
        codes = record.labels
        if any(labels[name] != name for name in codes):
            codes = {labels[name]: code for name, code in codes.items()}
        yield replace(record, id=key, relative=relative, labels=codes)
