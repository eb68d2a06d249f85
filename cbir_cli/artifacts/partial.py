"""Rows of an artifact that is not finished: written as they come, so that a killed command can go on.

A folder ``NAME.partial`` beside the artifact holds ``header.json`` (what the command was asked to do), one raw file a
field, and ``journal.jsonl`` with a line for each image that is done: its id and, if it could not be read, why. A line
is written only after its rows. Whatever a kill cut off is dropped on opening.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.errors import ArtifactError

Fields = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape of a row and dtype by field."""


class Partial:
    """Rows so far, and which images they belong to.

    Parameters
    ----------
    folder : Path
    header : mapping
        Everything the rows depend on, as JSON.
    fields : Fields
    resume : bool
        Go on from what is there; refuse if it was made by another command. Otherwise start anew.

    Raises
    ------
    ArtifactError
        If ``resume`` and the folder belongs to another command line or other inputs.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], fields: Fields, *, resume: bool) -> None:
        self.folder = folder
        self.fields = fields
        self.done: dict[str, str] = {}
        """Why each image that was done could not be read, or an empty text, by id, in order."""
        self.notes: dict[str, dict[str, Any]] = {}
        text = json.dumps(header, sort_keys=True)
        if resume and (folder / "header.json").is_file():
            if (folder / "header.json").read_text() != text:
                raise ArtifactError(
                    f"{folder}: was made by another command or from other inputs; remove it or drop --resume"
                )
            self._recover()
        else:
            self._clear()
            folder.mkdir(parents=True)
            temporary = folder / "header.tmp"
            temporary.write_text(text)
            temporary.rename(folder / "header.json")
        self._raw = {name: open(self._path(name), "ab") for name in fields}
        self._journal = open(folder / "journal.jsonl", "a")

    def append(
        self,
        ids: Sequence[str],
        errors: Sequence[str],
        rows: Mapping[str, np.ndarray],
        notes: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Add images in order.

        Parameters
        ----------
        ids : sequence of str
        errors : sequence of str
            Why an image could not be read; empty for those that have a row.
        rows : mapping of str to ndarray (M, ...)
            For each field, a row for every image without error.
        notes : sequence of mapping, optional
            Small facts about each image to be kept with it.
        """
        for name, (shape, dtype) in self.fields.items():
            block = np.ascontiguousarray(rows[name], dtype=dtype)
            if block.shape != (sum(not e for e in errors), *shape):
                raise ArtifactError(f"{self.folder}: field {name}: rows of shape {block.shape}")
            self._raw[name].write(block.tobytes())
            self._raw[name].flush()
        notes = notes or [{}] * len(ids)
        for key, error, note in zip(ids, errors, notes, strict=True):
            self.done[key] = error
            self.notes[key] = dict(note)
            self._journal.write(json.dumps([key, error, dict(note)]) + "\n")
        self._journal.flush()

    def rows(self, name: str) -> np.ndarray:
        """Return all rows of a field, memory-mapped."""
        shape, dtype = self.fields[name]
        count = sum(not error for error in self.done.values())
        if not count:
            return np.empty((0, *shape), dtype)
        return np.memmap(self._path(name), dtype, "r", 0, (count, *shape))

    def close(self, *, remove: bool) -> None:
        """Close the files; remove the folder when the artifact is finished."""
        for file in (*self._raw.values(), self._journal):
            file.close()
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.raw"

    def _clear(self) -> None:
        """Remove what an earlier run left; a folder that holds anything else is somebody's own."""
        if self.folder.exists():
            ours = {"header.json", "header.tmp", "journal.jsonl"}
            if any(file.name not in ours and file.suffix != ".raw" for file in self.folder.iterdir()):
                raise ArtifactError(f"{self.folder}: is in the way of the unfinished rows; move or remove it")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _recover(self) -> None:
        journal = self.folder / "journal.jsonl"
        lines = journal.read_bytes().split(b"\n")[:-1] if journal.is_file() else []
        good = b""
        for line in lines:
            try:
                key, error, note = json.loads(line)
            except ValueError:
                break
            self.done[key], self.notes[key] = error, note
            good += line + b"\n"
        journal.write_bytes(good)
        count = sum(not error for error in self.done.values())
        for name, (shape, dtype) in self.fields.items():
            size = count * int(np.prod(shape)) * np.dtype(dtype).itemsize
            path = self._path(name)
            if (path.stat().st_size if path.is_file() else 0) < size:
                raise ArtifactError(f"{self.folder}: damaged: {path.name} holds fewer rows than its journal; remove it")
            os.truncate(path, size) if path.is_file() else path.touch()
