"""Any number of images through a network, at constant memory, into the rows of an artifact."""

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli import phash, reading
from cbir_cli.artifacts.files import STDIO
from cbir_cli.artifacts.partial import Fields, Partial
from cbir_cli.errors import SourceError
from cbir_cli.records import Record, images

log = logging.getLogger("cbir")

Process = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Pixels (B, ...) to a row of each field for each image."""


@dataclass(frozen=True)
class Job:
    """How a command goes through its images.

    Attributes
    ----------
    output : str
        The artifact to be made, or ``-``; unfinished rows lie in ``OUTPUT.partial``.
    header : mapping
        Everything the rows depend on: a killed run is resumed only if it was the same.
    batch, workers : int
        Images at a time, and threads that decode. The result depends on neither.
    shard : tuple of int
        Part I of N of the records; contiguous, so that merging restores the order.
    resume : bool
    fail : bool
        Raise at the first image that cannot be read instead of recording it.
    description : str
    """

    output: str
    header: Mapping[str, Any]
    batch: int
    workers: int
    shard: tuple[int, int] = (1, 1)
    resume: bool = False
    fail: bool = False
    description: str = "images"


@dataclass(frozen=True)
class Extracted:
    """What came out: rows by field, the records they belong to, the images without a row.

    Attributes
    ----------
    contents, hashes : list of str
        Hash of each file, and perceptual hash of each image.
    """

    rows: dict[str, np.ndarray]
    records: list[Record]
    contents: list[str]
    hashes: list[str]
    unreadable: dict[str, str]


@contextmanager
def extract(
    records: Sequence[Record], load: Callable[[Record], np.ndarray], process: Process, fields: Fields, job: Job
) -> Iterator[Extracted]:
    """Decode, process and collect images in order; what is collected is gone when the block ends well.

    Parameters
    ----------
    records : sequence of Record
    load : callable
        Record to pixels; raises ImageError.
    process : Process
    fields : Fields
        Shape and dtype of a row of each field.
    job : Job

    Yields
    ------
    Extracted

    Raises
    ------
    ImageError
        At the first unreadable image if ``job.fail``.
    SourceError
        If none can be read; a shard may hold nothing.
    """
    part, parts = job.shard
    records = records[len(records) * (part - 1) // parts : len(records) * part // parts]
    temporary = tempfile.mkdtemp(prefix="cbir-") if job.output == STDIO else None
    folder = Path(temporary, "rows") if temporary else Path(f"{job.output}.partial")
    identity = hashlib.sha256("\n".join(f"{r.id}\t{r.place}" for r in records).encode()).hexdigest()
    try:
        partial = Partial(folder, {**job.header, "images": identity}, fields, resume=job.resume)
        finished = False
        try:
            _fill(partial, records, load, process, job)
            readable = [r for r in records if not partial.done[r.id]]
            if records and not readable and parts == 1:  # one of several shards may be unlucky, and is merged
                finished = True
                raise SourceError(nothing(len(records)))
            yield Extracted(
                rows={name: partial.rows(name) for name in fields},
                records=readable,
                contents=[partial.notes[r.id]["content"] for r in readable],
                hashes=[partial.notes[r.id]["phash"] for r in readable],
                unreadable={key: error for key, error in partial.done.items() if error},
            )
            finished = True
        finally:
            partial.close(remove=finished or not partial.done)  # nothing to resume from
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def nothing(count: int) -> str:
    """Return what is wrong where not one of some images can be read."""
    return "the only image cannot be read" if count == 1 else f"none of {images(count)} can be read"


def _fill(
    partial: Partial, records: Sequence[Record], load: Callable[[Record], np.ndarray], process: Process, job: Job
) -> None:
    notes: dict[str, dict[str, str]] = {}
    none = {"content": "", "phash": ""}

    def load_and_hash(record: Record) -> np.ndarray:
        pixels = load(record)
        notes[record.id] = {"content": reading.content_of(record), "phash": phash.of(pixels)}
        return pixels

    left = [r for r in records if r.id not in partial.done]
    if len(left) < len(records):
        log.info("resumed: %d of %s are done", len(records) - len(left), images(len(records)))
    how = {"workers": job.workers, "batch": job.batch, "fail": job.fail, "title": job.description}
    unreadable: dict[str, str] = {}
    for some, pixels in reading.each(left, load_and_hash, unreadable=unreadable, **how):  # type: ignore[arg-type]
        empty = {name: np.empty((0, *shape), dtype) for name, (shape, dtype) in partial.fields.items()}
        rows = process(np.stack(pixels)) if pixels else empty
        errors = [unreadable.get(r.id, "") for r in some]
        partial.append([r.id for r in some], errors, rows, [notes.pop(r.id, none) for r in some])
