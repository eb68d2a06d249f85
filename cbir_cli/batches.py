"""Batches for the training loop: in an order that the seed decides, made by threads ahead of their use."""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli import augmentation
from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.maps import as_pixels
from cbir_cli.records import Record
from cbir_cli.registry import unknown
from cbir_cli.windows import View

SAMPLERS = ("permutation", "bootstrap", "balanced", "balanced-rarest")

BEFORE_CROP = 256 / 224
"""Side that images are loaded at before a crop, in sides of the input: X-MIR reduces to 256 and crops 224."""

_STREAM = 2
"""Keeps the draws of the order apart from the other draws that start from the same seed."""

Indices = NDArray[np.int64]
Pixels = NDArray[np.float32]


class Data(Protocol):
    """What the loop trains on. ``pixels`` is called from several threads at once.

    ``targets`` are (N,), or (N, K) of several labels; ``changes`` names the settings of ``augmentation`` that make
    sense.
    """

    targets: Indices
    spec: InputSpec
    fingerprint: str
    changes: tuple[str, ...]

    def __len__(self) -> int: ...

    def pixels(self, indices: Indices) -> Pixels:
        """Return (B, S, S) or (B, S, S, 3) float32 images or maps before preprocessing; two views: (B, 2, S, S...)."""
        ...


class Images:
    """Images of records, decoded whenever they are asked for.

    Parameters
    ----------
    records : sequence of Record
    targets : array (N,) or (N, K) of int
        What the network should say of each.
    spec : InputSpec
        How to load and to prepare them.
    views : sequence of 2 View, optional
        Pictures to make of each image; ``windows.views`` has them. Equal ones are decoded once.
    cropped : bool
        A crop follows: images are loaded at ``BEFORE_CROP`` times their side.
    contents : sequence of str
        Content hash of each image, so that a run on other pixels is not resumed.
    """

    changes: tuple[str, ...] = augmentation.SETTINGS

    def __init__(
        self,
        records: Sequence[Record],
        targets: ArrayLike,
        spec: InputSpec,
        *,
        views: Sequence[View] = (),
        cropped: bool = False,
        contents: Sequence[str] = (),
    ) -> None:
        self.records, self.spec, self.views = records, spec, tuple(views)
        self.targets = _targets(targets, len(records))
        self.fingerprint = digest([*(record.place.encode() for record in records), *map(str.encode, contents)])
        side = round(spec.size * BEFORE_CROP) if cropped else spec.size
        seen = dict.fromkeys(self.views or [View(spec.window)])
        self._loads = {view: replace(spec, size=side, window=view.window) for view in seen}

    def __len__(self) -> int:
        return len(self.records)

    def pixels(self, indices: Indices) -> Pixels:
        """Return (B, S, S) or (B, S, S, 3) float32 in [0, 1], or (B, 2, S, S...) where there are views.

        Raises
        ------
        ImageError
            If one cannot be read; the message names the file.
        """
        return np.stack([self._shown(self.records[i]) for i in indices])

    def _shown(self, record: Record) -> Pixels:
        made = {view: _scaled(spec.load(record), view) for view, spec in self._loads.items()}
        return np.stack([made[view] for view in self.views]) if self.views else next(iter(made.values()))


class Maps:
    """Saliency maps in an array or an HDF5 dataset, read whenever they are asked for.

    Parameters
    ----------
    maps : array or dataset (M, S, S) or (M, 3, S, S), float
        Scaled to a largest magnitude of 1.
    targets : array (N,) or (N, K) of int
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

    changes: tuple[str, ...] = augmentation.PLACE

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


def order(
    count: int,
    *,
    size: int,
    sampler: str,
    seed: int,
    epoch: int,
    targets: ArrayLike | None = None,
    per_class: int = 0,
) -> list[Indices]:
    """Return the numbers of the images of each training batch of an epoch.

    The list is a function of the arguments alone, so a loop that goes on in the middle of an epoch takes it from there.

    Parameters
    ----------
    count : int
        Images there are.
    size : int
        Images a batch.
    sampler : str
        ``permutation``: every image once. ``bootstrap``: ceil(count / size) whole batches drawn with replacement.
        ``balanced``: as many images of each class in every batch, until every image was shown; a smaller class is
        shuffled again and goes on, within a batch if it has fewer images than the batch has of it. ``balanced-rarest``:
        the same without repetition; the epoch ends when too few classes have images left for a batch, and shows the
        others only in part (Hu et al., X-MIR 2022, the authors' code).
    targets : array (N,) of int, optional
        Class of each image, for the last two.
    per_class : int
        Images of a class in a batch, for the last two; 0 shares a batch among all classes. A batch of fewer classes
        than there are takes those that were shown least, or at random those with images left.

    Raises
    ------
    UsageError
        If there is no such sampler, images have several labels, or a batch cannot be shared as asked.
    CbirError
        If, for ``balanced-rarest``, a class has fewer images than a batch needs.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAM, epoch))))
    if sampler == "permutation":
        return cut(generator.permutation(count), size)
    if sampler == "bootstrap":
        return list(generator.integers(count, size=(-(-count // size), size)))
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    true = np.asarray(targets)
    if targets is None or true.shape != (count,):
        raise UsageError(f"sampler={sampler} needs one class for each image")
    classes = [np.flatnonzero(true == label) for label in np.unique(true)]
    per_class = per_class or max(size // len(classes), 1)
    shown = size // per_class
    if size % per_class or not 2 <= shown <= len(classes):
        raise UsageError(
            f"sampler={sampler}: a batch of {size} cannot hold {per_class} images of each class: there are "
            f"{len(classes)} that have images; change batch_size or per_class"
        )
    if sampler == "balanced":
        return _balanced(classes, shown, per_class, generator)
    if few := min(map(len, classes)) if min(map(len, classes)) < per_class else 0:
        raise CbirError(
            f"sampler={sampler}: a class has {few} images, a batch takes {per_class} of each: lower per_class and "
            "batch_size, or take sampler=balanced"
        )
    return _rarest(classes, shown, per_class, generator)


def _balanced(classes: list[Indices], shown: int, per_class: int, generator: np.random.Generator) -> list[Indices]:
    rounds = -(-max(map(len, classes)) // per_class)  # that the largest class needs
    times, result = np.zeros(len(classes), np.int64), []
    stock: list[list[int]] = [[] for _ in classes]

    def take(c: int) -> list[int]:
        while len(stock[c]) < per_class:
            # What is left of the last shuffle comes late in the next: no image twice in a batch that can do without.
            stock[c] += sorted(generator.permutation(classes[c]).tolist(), key=set(stock[c]).__contains__)
        taken, stock[c] = stock[c][:per_class], stock[c][per_class:]
        return taken

    while times.min() < rounds:
        # Those shown least, ties at random: all classes are shown equally often, none twice in a batch.
        chosen = np.lexsort((generator.random(len(classes)), times))[:shown]
        times[chosen] += 1
        result.append(np.concatenate([take(c) for c in chosen]))
    return result


def _rarest(classes: list[Indices], shown: int, per_class: int, generator: np.random.Generator) -> list[Indices]:
    stock = [generator.permutation(numbers).tolist() for numbers in classes]
    result = []
    while len(left := [c for c, numbers in enumerate(stock) if len(numbers) >= per_class]) >= shown:
        chosen = generator.permutation(left)[:shown]
        result.append(np.array([stock[c].pop() for c in chosen for _ in range(per_class)], np.int64))
    return result


def cut(numbers: Indices, size: int) -> list[Indices]:
    """Cut a row of numbers into batches; none has a single image unless there is only one."""
    starts = list(range(size, len(numbers), size))
    if starts and len(numbers) - starts[-1] == 1:
        starts.pop()  # one image has no variance to normalise by: it joins the batch before
    return np.split(numbers, starts)


def showings(batches: Sequence[Indices], count: int) -> list[Indices]:
    """Return a number for each image of each batch that no other showing of an epoch has: its own when shown first.

    Parameters
    ----------
    batches : sequence of array
    count : int
        Images there are.
    """
    times = np.zeros(count, np.int64)
    numbers = []
    for batch in batches:
        here = []
        for index in batch:
            here.append(index + count * times[index])
            times[index] += 1
        numbers.append(np.array(here, np.int64))
    return numbers


def ahead(
    data: Data,
    batches: Sequence[Indices],
    *,
    workers: int,
    change: Callable[[Pixels, Indices], Pixels] | None = None,
    numbers: Sequence[Indices] | None = None,
) -> Generator[tuple[Pixels, Indices], None, None]:
    """Yield (B, 3, S, S) or (B, 2, 3, S, S) prepared images and their targets, batch by batch in order.

    Parameters
    ----------
    workers : int
        Threads; each makes a whole batch, and at most one batch more than threads is there at a time. With 0 each batch
        is made when it is asked for.
    change : callable, optional
        Done to the pixels of a batch before they are prepared; gets their numbers too. A crop happens here.
    numbers : sequence of array, optional
        The numbers that it gets for each batch; those of the images where not given.

    Raises
    ------
    ShapeError
        If what comes out is not of the side of the input.
    """

    def make(indices: Indices, numbers: Indices) -> tuple[Pixels, Indices]:
        pixels = data.pixels(indices)
        return prepared(data.spec, change(pixels, numbers) if change else pixels), data.targets[indices]

    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="cbir-batch") as pool:
        try:
            for indices, own in zip(batches, numbers or batches, strict=True):
                waiting.append(pool.submit(make, indices, own))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def prepared(spec: InputSpec, pixels: Pixels) -> Pixels:
    """Return network input (B, 3, S, S) from pixels (B, S, S) or (B, S, S, 3), (B, 2, 3, S, S) from two views of them.

    Raises
    ------
    ShapeError
        If they are not of the side of the input.
    """
    views = augmentation.two_views(pixels)
    flat = pixels.reshape(-1, *pixels.shape[2:]) if views else pixels
    if flat.shape[1:3] != (spec.size, spec.size):
        raise ShapeError(f"expected images of {spec.size} x {spec.size}, found shape {pixels.shape}")
    ready = spec.prepare(flat)
    return ready.reshape(len(pixels), -1, *ready.shape[1:]) if views else ready


def digest(parts: Iterable[bytes]) -> str:
    """Return 16 hex digits that change with any of the parts."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:16]


def _scaled(pixels: Pixels, view: View) -> Pixels:
    if (view.low, view.high) == (0, 1):
        return pixels
    return pixels * np.float32(view.high - view.low) + np.float32(view.low)


def _targets(targets: ArrayLike, count: int) -> Indices:
    array = np.asarray(targets, dtype=np.int64)
    if array.ndim not in (1, 2) or len(array) != count:
        raise ShapeError(f"expected {count} targets, found shape {array.shape}")
    return array
