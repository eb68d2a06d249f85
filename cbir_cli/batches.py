"""Batches for the training loop: in an order that the seed decides, made by threads ahead of their use."""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli import images
from cbir_cli.errors import ImageError, ShapeError
from cbir_cli.images import InputSpec
from cbir_cli.maps import as_pixels
from cbir_cli.progress import Progress
from cbir_cli.records import Record
from cbir_cli.registry import unknown

SAMPLERS = ("permutation", "bootstrap")

_STREAM = 2
"""Keeps the draws of the order apart from the other draws that start from the same seed."""

Indices = NDArray[np.int64]
Pixels = NDArray[np.float32]


class Data(Protocol):
    """What the loop trains on. ``pixels`` is called from several threads at once."""

    targets: Indices
    spec: InputSpec
    fingerprint: str

    def __len__(self) -> int: ...

    def pixels(self, indices: Indices) -> Pixels:
        """Return (B, S, S) or (B, S, S, 3) float32 images or maps before preprocessing."""
        ...


class Images:
    """Images of records, decoded whenever they are asked for.

    Parameters
    ----------
    records : sequence of Record
    targets : array (N,) of int
        What the network should say of each.
    spec : InputSpec
        How to load and to prepare them.
    """

    def __init__(self, records: Sequence[Record], targets: ArrayLike, spec: InputSpec) -> None:
        self.records, self.spec = records, spec
        self.targets = _targets(targets, len(records))
        self.fingerprint = digest(record.place.encode() for record in records)

    def __len__(self) -> int:
        return len(self.records)

    def pixels(self, indices: Indices) -> Pixels:
        """Return (B, S, S) float32 in [0, 1]; an unreadable one raises ImageError, which names the file."""
        return np.stack([self.spec.load(self.records[i]) for i in indices])


class Maps:
    """Saliency maps in an array or an HDF5 dataset, read whenever they are asked for.

    Parameters
    ----------
    maps : array or dataset (M, S, S) or (M, 3, S, S), float
        Scaled to a largest magnitude of 1.
    targets : array (N,) of int
        What the network should say of each.
    spec : InputSpec
        How to prepare them; its size is that of the maps.
    rows : sequence of int, (N,), optional
        Which maps to use; all where not given.
    source : str
        Fingerprint of the file they come from, so that a run on other maps is not resumed.

    Raises
    ------
    ShapeError
        If the maps are not of the size of the input.
    """

    def __init__(
        self, maps: Any, targets: ArrayLike, spec: InputSpec, *, rows: ArrayLike | None = None, source: str = ""
    ) -> None:
        if maps.shape[1:] not in ((spec.size, spec.size), (3, spec.size, spec.size)):
            raise ShapeError(f"expected maps of {spec.size} x {spec.size}, found shape {maps.shape}")
        self.maps, self.spec = maps, spec
        self.rows = np.arange(len(maps)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.targets = _targets(targets, len(self.rows))
        self.fingerprint = digest([source.encode(), self.rows.tobytes()])

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, indices: Indices) -> Pixels:
        """Return (B, S, S) or (B, S, S, 3) float32 in [-1, 1]."""
        # One by one: HDF5 takes only sorted lists of rows, and a map is a chunk.
        return as_pixels(np.stack([self.maps[self.rows[i]] for i in indices]))


def readable(records: Sequence[Record], spec: InputSpec, *, workers: int) -> tuple[list[Record], list[ImageError]]:
    """Return the records whose image can be decoded, and the errors of the others.

    Decoding everything once costs a small part of an epoch, and finds a bad file before hours of training instead of in
    the middle of them; the class weights then count only images that are there.
    """
    sound, errors = [], []
    progress = Progress(len(records), "reading images")
    for batch, outcomes in images.stream(records, spec.load, workers=workers, batch=16):
        for record, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, ImageError):
                errors.append(outcome)
            else:
                sound.append(record)
        progress.advance(len(batch))
    progress.close()
    return sound, errors


def order(count: int, *, size: int, sampler: str, seed: int, epoch: int) -> list[Indices]:
    """Return the numbers of the images of each training batch of an epoch.

    Parameters
    ----------
    count : int
        Images there are.
    size : int
        Images a batch.
    sampler : str
        ``permutation``: every image once. ``bootstrap``: ceil(count / size) whole batches drawn with replacement.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAM, epoch))))
    if sampler == "permutation":
        return cut(generator.permutation(count), size)
    if sampler == "bootstrap":
        return list(generator.integers(count, size=(-(-count // size), size)))
    raise unknown("sampler", sampler, SAMPLERS)


def cut(numbers: Indices, size: int) -> list[Indices]:
    """Cut a row of numbers into batches; none has a single image unless there is only one."""
    starts = list(range(size, len(numbers), size))
    if starts and len(numbers) - starts[-1] == 1:
        starts.pop()  # one image has no variance to normalise by: it joins the batch before
    return np.split(numbers, starts)


def ahead(
    data: Data, batches: Sequence[Indices], *, workers: int, change: Callable[[Pixels, Indices], Pixels] | None = None
) -> Generator[tuple[Pixels, Indices], None, None]:
    """Yield (B, 3, S, S) prepared images and their (B,) targets, batch by batch in order.

    Parameters
    ----------
    workers : int
        Threads; each makes a whole batch, and at most one batch more than threads is there at a time. With 0 each batch
        is made when it is asked for.
    change : callable, optional
        Done to the pixels of a batch before they are prepared; gets their numbers too.
    """

    def make(indices: Indices) -> tuple[Pixels, Indices]:
        pixels = data.pixels(indices)
        return data.spec.prepare(change(pixels, indices) if change else pixels), data.targets[indices]

    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="cbir-batch") as pool:
        try:
            for indices in batches:
                waiting.append(pool.submit(make, indices))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def digest(parts: Iterable[bytes]) -> str:
    """Return 16 hex digits that change with any of the parts."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:16]


def _targets(targets: ArrayLike, count: int) -> Indices:
    array = np.asarray(targets, dtype=np.int64)
    if array.shape != (count,):
        raise ShapeError(f"expected {count} targets, found shape {array.shape}")
    return array
