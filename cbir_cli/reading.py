"""Many images in order, read ahead on threads: each is read, or named and counted as unreadable; and content hashes."""

import hashlib
import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy import ndarray

from cbir_cli import dicom, volumes
from cbir_cli.errors import ImageError, UsageError
from cbir_cli.progress import Progress
from cbir_cli.records import Record

log = logging.getLogger("cbir")

_PLAIN = (".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp")
_START = 2**12
_AHEAD = 3
"""Batches that may be decoded or waiting while the consumer holds one."""

Load = Callable[[Record], ndarray]
Batch = tuple[list[Record], list[ndarray | ImageError]]


def each(
    records: Sequence[Record],
    load: Load,
    *,
    workers: int,
    batch: int,
    unreadable: dict[str, str],
    fail: bool = False,
    title: str = "reading images",
) -> Iterator[tuple[list[Record], list[ndarray]]]:
    """Batches of images in the order of their records, without those that cannot be read.

    This is how every command goes through its images. Each unreadable one is named in a warning, once: where
    ``unreadable`` has it already, nothing more is said, nor where the same is true of another image of its file.

    Parameters
    ----------
    records : sequence of Record
    load : callable
        Pixels of a record; raises ImageError.
    workers, batch : int
        As for `stream`.
    unreadable : dict of str to str
        Gets the reason for the id of each image that cannot be read, before its batch is yielded.
    fail : bool
        Raise at the first of them.
    title : str
        Shown with the progress.

    Yields
    ------
    (list of Record, list of ndarray)
        All records of a batch, and the pixels of those that can be read, in order; there may be none.

    Raises
    ------
    ImageError
        At the first unreadable image if ``fail``; it names the file with its folder.
    """
    progress = Progress(len(records), title)
    said: set[str] = set()
    try:
        for some, outcomes in stream(records, load, workers=workers, batch=batch):
            for record, outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, ImageError):
                    if fail:
                        raise named(record, outcome)
                    if record.id not in unreadable and (reason := str(named(record, outcome))) not in said:
                        log.warning("%s", reason)
                        said.add(reason)
                    unreadable[record.id] = str(outcome)
            yield some, [outcome for outcome in outcomes if not isinstance(outcome, ImageError)]
            progress.advance(len(some))
    finally:
        progress.close()


def readable(
    records: Sequence[Record], load: Load, *, workers: int, fail: bool = False
) -> tuple[list[Record], dict[str, str]]:
    """Return the records whose image can be read, and why each other one cannot, by id.

    Decoding everything once costs a small part of an epoch of training, and finds a bad file before hours of it instead
    of in the middle. Parameters and errors are those of `each`.
    """
    unreadable: dict[str, str] = {}
    for _ in each(records, load, workers=workers, batch=16, unreadable=unreadable, fail=fail):
        pass
    return [record for record in records if record.id not in unreadable], unreadable


def libraries(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the libraries that decode some images, for an artifact's history: Pillow, and pydicom and nibabel if used.

    What is called as PNG, JPEG, TIFF or BMP is taken for it: no file is opened once more.
    """
    found = {"pillow"}
    for path in {record.path for record in records if record.path.suffix.lower() not in _PLAIN}:
        with suppress(OSError):
            if path.is_file():
                with path.open("rb") as file:
                    start = file.read(_START)
                found |= {"pydicom"} if dicom.is_dicom(start) else {"nibabel"} if volumes.is_volume(start) else set()
    return tuple(sorted(found))


def named(record: Record, error: ImageError) -> ImageError:
    """Return the error with the file's folder: it names the file alone, and many data sets call all of theirs alike."""
    return ImageError(os.path.join(os.path.dirname(record.relative), str(error)))


def stream(records: Iterable[Record], load: Load, *, workers: int, batch: int) -> Iterator[Batch]:
    """Decoded images in the order of their records, in batches, read ahead on threads.

    Threads suffice because Pillow and numpy release the interpreter's lock while they decode and resize. Records are
    taken as they are needed, and at most three batches (or two images a worker, if that is more) are decoded ahead, so
    memory does not grow with the source.

    Parameters
    ----------
    records : iterable of Record
    load : callable
        Pixels of a record; for instance `InputSpec.load`.
    workers : int
        Threads; 0 decodes in the caller's thread. The result does not depend on it.
    batch : int
        Images a batch; the last may be smaller.

    Yields
    ------
    (list of Record, list of ndarray or ImageError)
        Of the same length; an image that cannot be decoded has its error in its place.

    Raises
    ------
    UsageError
        If ``workers`` is negative or ``batch`` is not positive.
    """
    if workers < 0 or batch < 1:
        raise UsageError(f"expected workers >= 0 and a batch size >= 1, found {workers} and {batch}")

    def outcome(record: Record) -> tuple[Record, ndarray | ImageError]:
        try:
            return record, load(record)
        except ImageError as error:
            return record, error

    ordered = (
        map(outcome, records) if workers == 0 else _ahead(outcome, records, workers, max(_AHEAD * batch, 2 * workers))
    )
    return _batches(ordered, batch)


def _batches(outcomes: Iterator[tuple[Record, ndarray | ImageError]], batch: int) -> Iterator[Batch]:
    while chunk := list(itertools.islice(outcomes, batch)):
        yield [record for record, _ in chunk], [pixels for _, pixels in chunk]


def _ahead(work: Callable[[Record], Any], records: Iterable[Record], workers: int, depth: int) -> Iterator[Any]:
    """Yield ``work(record)`` in order, with at most ``depth`` results under way or waiting."""
    remaining = iter(records)
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        while True:
            for record in itertools.islice(remaining, depth - len(waiting)):
                waiting.append(pool.submit(work, record))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        # Also reached when the consumer stops early: what has not begun is dropped.
        pool.shutdown(cancel_futures=True)


def content_hash(path: str | Path, part: int | None = None) -> str:
    """First 16 hex digits of the SHA-256 of a file's bytes, and of the part's number: the same image elsewhere.

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    try:
        if part is None:
            return _digest(str(path))
        status = Path(path).stat()
        whole = _digest_again(str(path), status.st_mtime_ns, status.st_size)
        return hashlib.sha256(f"{whole} {part}".encode()).hexdigest()[:16]
    except OSError as error:
        raise ImageError(f"{Path(path).name}: {error.strerror or error}") from error


def content_of(record: Record) -> str:
    """Content hash of an image; an error names the file as it may be named.

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    try:
        return content_hash(record.path, record.part)
    except ImageError as error:
        raise ImageError(record.of_file(error)) from error


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@lru_cache(maxsize=256)
def _digest_again(path: str, changed: int, size: int) -> str:
    """Hash a file of several images once for all of them."""
    return _digest(path)
