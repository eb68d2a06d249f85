"""Vectors that lie in several files, read by row with plain reads."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import h5py
import numpy as np

from cbir_cli.errors import ArtifactError

TYPE = np.dtype("<f4")


@dataclass(frozen=True)
class Shard:
    """Where the vectors of a shard lie.

    Attributes
    ----------
    path, name : str
        The file; and what messages call it, in a table the path from the folder of the artifact.
    fingerprint : str
    size, rows, width : int
        Bytes of the file, vectors, values of each vector.
    offset : int
        Byte at which the vectors begin, contiguous.
    stamp : tuple of int
        Tells whether the file was replaced or written to.
    """

    path: str
    name: str
    fingerprint: str
    size: int
    rows: int
    width: int
    offset: int
    stamp: tuple[int, ...]


class Rows:
    """The vectors of several shards, one after the other, as an array (N, D) of float32 that is read when indexed.

    Rows come by number, slice, mask or array of numbers. Nothing is mapped or kept, and a file is open only while it is
    read, so memory is what was asked for, and any number of shards can be joined.

    Parameters
    ----------
    shards : sequence of Shard
        At least one, of one width.
    """

    dtype = TYPE
    ndim = 2

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = tuple(shards)
        self._starts = np.cumsum([0, *(shard.rows for shard in shards)])
        self.shape = (int(self._starts[-1]), shards[0].width)
        self.nbytes = self.shape[0] * self.shape[1] * TYPE.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all rows."""
        return self[:].astype(dtype or TYPE, copy=False)

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            return self._read(np.arange(*rows.indices(len(self))))
        numbers = np.asarray(rows)
        numbers = np.flatnonzero(numbers) if numbers.dtype == bool else numbers.astype(np.int64, casting="same_kind")
        numbers = np.where(numbers < 0, numbers + len(self), numbers)
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < len(self)):
            raise IndexError(f"row {numbers.max()} of {len(self)}")
        return self._read(numbers) if numbers.ndim else self._read(numbers[None])[0]

    def _read(self, numbers: np.ndarray) -> np.ndarray:
        values = np.empty((len(numbers), self.shape[1]), TYPE)
        if not values.size:
            return values
        owner = np.searchsorted(self._starts, numbers, "right") - 1
        cuts = np.flatnonzero((np.diff(numbers) != 1) | (np.diff(owner) != 0)) + 1
        runs = list(pairwise([0, *cuts.tolist(), len(numbers)]))
        runs.sort(key=lambda run: int(owner[run[0]]))
        at = 0
        while at < len(runs):
            number = owner[runs[at][0]]
            shard = self.shards[number]
            with _opened(shard) as descriptor:
                while at < len(runs) and owner[runs[at][0]] == number:
                    start, stop = runs[at]
                    _fill(descriptor, shard, int(numbers[start] - self._starts[number]), values[start:stop])
                    at += 1
        return values


@contextmanager
def _opened(shard: Shard) -> Iterator[int]:
    try:
        descriptor = os.open(shard.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ArtifactError(f"{shard.name}: cannot be read: {error.strerror}") from error
    try:
        if _stamp(os.fstat(descriptor)) != shard.stamp:
            raise ArtifactError(f"{shard.name}: was changed while it was read")
        yield descriptor
    finally:
        os.close(descriptor)


def _fill(descriptor: int, shard: Shard, row: int, values: np.ndarray) -> None:
    left, at = values.data.cast("B"), shard.offset + row * shard.width * TYPE.itemsize
    while left:
        read = os.preadv(descriptor, [left], at)
        if not read:
            raise ArtifactError(f"{shard.name}: was changed while it was read")
        left, at = left[read:], at + read


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def shard_of(file: h5py.File, path: str, name: str) -> Shard:
    """Return where the vectors of an open embedding lie.

    Raises
    ------
    ArtifactError
        If they do not lie in it, float32 and contiguous.
    """
    status = os.stat(path)
    vectors = file.get("X") if isinstance(file.get("X", getlink=True), h5py.HardLink) else None
    if not isinstance(vectors, h5py.Dataset) or vectors.is_virtual or vectors.external:
        raise ArtifactError(f"{name}: its vectors do not lie in it")
    if vectors.ndim != 2 or vectors.dtype != TYPE:
        raise ArtifactError(f"{name}: damaged: X of {vectors.shape}, {vectors.dtype}")
    offset = vectors.id.get_offset()
    if vectors.size and offset is None:
        raise ArtifactError(f"{name}: its vectors do not lie in one piece")
    mark = str(file.attrs.get("fingerprint", ""))
    rows, width = vectors.shape
    return Shard(path, name, mark, status.st_size, rows, width, offset or 0, _stamp(status))
