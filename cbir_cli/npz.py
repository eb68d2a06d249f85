"""Images inside a NumPy archive (``.npz``), as MedMNIST ships them: one array for each of train, val and test.

An archive is compressed, so its images cannot be reached one by one. An array is unpacked once in a process, to memory
or, where it is large, to a temporary file that is mapped, and shared by all threads. Nothing is ever unpickled.

`Record.part` counts on through the arrays, in the order train, val, test: with 100 training images, part 100 is the
first of the validation set.
"""

import math
import os
import re
import shutil
import tempfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ImageError

SPLITS = ("train", "val", "test")

_IN_MEMORY = 2**28
"""Bytes; a larger array is unpacked to a temporary file: the largest of MedMNIST has 13.5 GB."""
_PIECE = 2**22
_KEPT = 3
"""Unpacked arrays that are kept at once: all of one data set."""

_Key = tuple[str, int, int]
_unpacked: OrderedDict[tuple[_Key, str], ndarray] = OrderedDict()
_lock = threading.Lock()


class Images(NamedTuple):
    """One array of images in an archive.

    Attributes
    ----------
    split : str
        train, val or test.
    shape : tuple of int
        (N, H, W) or (N, H, W, 3).
    """

    split: str
    shape: tuple[int, ...]


def arrays(path: str | Path) -> list[Images]:
    """Image arrays of an archive, in the order in which parts count; nothing is unpacked.

    Raises
    ------
    ImageError
        If the file cannot be read, is no archive of NumPy arrays, holds no images, or holds volumes or pixels other
        than 8-bit grey or RGB. One line without the file's name.
    """
    with _named():
        found = list(_listed(*_key(Path(path))))
    if not found:
        raise ImageError("expected arrays train_images, val_images or test_images, found none of them")
    return found


def labels(path: str | Path, split: str) -> ndarray:
    """Label table of a split.

    Returns
    -------
    ndarray (N, L), integers
        A class number (L = 1), or 0 or 1 for each of L findings.

    Raises
    ------
    ImageError
        If there is none, or it is not a table of whole numbers.
    """
    member = f"{split}_labels.npy"
    with _named(), zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            raise ImageError(f"lacks the array {split}_labels")
        shape, dtype, start = _header(archive, member)
        found = np.frombuffer(archive.read(member), dtype, offset=start).reshape(shape)
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer):
        raise ImageError(f"{split}_labels: expected (N, L) integers, found {found.shape} {found.dtype}")
    return found


def stored(path: str | Path, part: int | None) -> ndarray:
    """Pixels of one image as the archive holds them.

    Parameters
    ----------
    path : path
    part : int or None
        Counts through train, val and test; None only for an archive of one image.

    Returns
    -------
    ndarray (H, W) or (H, W, 3), uint8
        Not to be written to.

    Raises
    ------
    ImageError
        As `arrays`, and if there is no such part.
    """
    found = arrays(path)
    total = sum(images.shape[0] for images in found)
    if part is None and total != 1:
        raise ImageError(f"holds {total:,} images, expected the number of one")
    index = part or 0
    if not 0 <= index < total:
        raise ImageError(f"has no image {index:,}; it holds {total:,}, counted from 0")
    for images in found:
        if index < images.shape[0]:
            break
        index -= images.shape[0]
    with _named():
        return _array(Path(path), f"{images.split}_images.npy")[index]


def decode(path: str | Path, part: int | None) -> ndarray:
    """Pixels of one image.

    Parameters
    ----------
    path : path
    part : int or None
        As for `stored`.

    Returns
    -------
    ndarray (H, W) or (H, W, 3), float32
        Grey or RGB in [0, 1].

    Raises
    ------
    ImageError
        As for `stored`.
    """
    return np.divide(stored(path, part), 255, dtype=np.float32)


def _key(path: Path) -> _Key:
    """What tells an archive from another, also from a later one under its name."""
    status = path.stat()
    return os.path.abspath(path), status.st_mtime_ns, status.st_size


@lru_cache(maxsize=8)
def _listed(path: str, *_: int) -> tuple[Images, ...]:
    with zipfile.ZipFile(path) as archive:
        members = [(split, f"{split}_images.npy") for split in SPLITS]
        return tuple(Images(s, _images_header(archive, m)[0]) for s, m in members if m in archive.namelist())


def _header(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and length of the header of an array, checked against what the archive holds."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        start = file.tell()
    name = member.removesuffix(".npy")
    if dtype.names:  # which may be anybody's
        raise ImageError(f"{name}: expected an array of numbers, found one of {len(dtype.names)} fields")
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise ImageError(f"{name}: expected numbers in C order, found {dtype}{' in Fortran order' if fortran else ''}")
    if archive.getinfo(member).file_size != start + math.prod(shape) * dtype.itemsize:
        raise ImageError(f"{name}: its size is not that of {shape} {dtype}")
    return shape, dtype, start


def _images_header(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], int]:
    shape, dtype, start = _header(archive, member)
    if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)) or 0 in shape[1:]:
        name = member.removesuffix(".npy")
        raise ImageError(f"{name}: expected 8-bit images (N, H, W) or (N, H, W, 3), found {shape} {dtype}")
    return shape, start


def _array(path: Path, member: str) -> ndarray:
    key = _key(path), member
    with _lock:  # one thread unpacks, the others wait for the same array
        if key not in _unpacked:
            _unpacked[key] = _unpack(path, member)
            while len(_unpacked) > _KEPT:
                _unpacked.popitem(last=False)
        _unpacked.move_to_end(key)
        return _unpacked[key]


def _unpack(path: Path, member: str) -> ndarray:
    with zipfile.ZipFile(path) as archive:
        shape, start = _images_header(archive, member)
        size = math.prod(shape)
        with archive.open(member) as packed:
            packed.read(start)
            if size <= _IN_MEMORY:
                pixels = np.frombuffer(packed.read(), np.uint8).reshape(shape)
            else:
                with tempfile.TemporaryFile() as file:  # written before it is mapped: a full disk is an error, no crash
                    shutil.copyfileobj(packed, file, _PIECE)
                    file.flush()
                    pixels = np.memmap(file, np.uint8, "r", shape=shape)  # outlives the file's name
    return pixels


@contextmanager
def _named() -> Iterator[None]:
    """Turn whatever a damaged archive raises, which is nearly anything, into an ImageError of one line."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        strerror = error.strerror if isinstance(error, OSError) else None
        said = re.split("['\"{:]", str(error))[0].strip()  # what follows is quoted from the file
        reason = strerror or f"damaged archive: {said or type(error).__name__}"
        raise ImageError(reason) from error
