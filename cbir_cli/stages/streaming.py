"""Any number of images through a network, at constant memory, into the rows of an artifact."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli import images, phash
from cbir_cli.artifacts.files import STDIO
from cbir_cli.artifacts.partial import Fields, Partial
from cbir_cli.errors import ImageError
from cbir_cli.progress import Progress
from cbir_cli.records import Record

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


def _fill(
    partial: Partial, records: Sequence[Record], load: Callable[[Record], np.ndarray], process: Process, job: Job
) -> None:
    notes: dict[str, dict[str, str]] = {}
    none = {"content": "", "phash": ""}

    def load_and_hash(record: Record) -> np.ndarray:
        pixels = load(record)
        notes[record.id] = {"content": images.content_hash(record.path, record.part), "phash": phash.of(pixels)}
        return pixels

    left = [r for r in records if r.id not in partial.done]
    if len(left) < len(records):
        log.info("resumed: %d of %d images are done", len(records) - len(left), len(records))
    progress = Progress(len(left), job.description)
    try:
        for some, outcomes in images.stream(left, load_and_hash, workers=job.workers, batch=job.batch):
            errors = [str(o) if isinstance(o, ImageError) else "" for o in outcomes]
            for record, outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, ImageError):
                    if job.fail:
                        raise named(record, outcome)
                    log.warning("%s", named(record, outcome))
            good = [o for o in outcomes if not isinstance(o, ImageError)]
            empty = {name: np.empty((0, *shape), dtype) for name, (shape, dtype) in partial.fields.items()}
            rows = process(np.stack(good)) if good else empty
            partial.append([r.id for r in some], errors, rows, [notes.pop(r.id, none) for r in some])
            progress.advance(len(some))
    finally:
        progress.close()


def named(record: Record, error: ImageError) -> ImageError:
    """Return the error with the file's folder: it names the file alone, and many data sets call all of theirs alike."""
    return ImageError(os.path.join(os.path.dirname(record.relative), str(error)))
