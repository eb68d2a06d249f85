"""Slices of NIfTI volumes, as a radiologist looks at them, in Hounsfield units in a window.

A volume is turned to its closest canonical axes (right, anterior, superior), so that slice ``part`` is the part-th from
below whatever way it is stored, and each slice is laid out as on a light box: the patient's right on the left, front on
top. A DICOM series of the same scan gives the same pictures.

Of a file that is not compressed only the slice is read. A ``.nii.gz`` has to be inflated up to the slice, so it is done
once: the two volumes read last are kept, and up to 1,024 single slices (512 MiB at 512 x 512) in the type that they are
stored in, since training comes back to the same few of each volume in any order.

Volumes that have lost their units
----------------------------------
Files made from exported pictures hold 0 to 255 instead of Hounsfield units, and a window would turn them into noise
without a word. Every CT has air in or around the patient, far below zero. A volume is refused if in the slices at a
quarter, a half and three quarters of its height no value is below zero, or all values lie within 255 of each other.
"""

import gzip
import io
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.dicom import within
from cbir_cli.errors import ImageError

_LOCKS = [threading.Lock() for _ in range(2)]
"""No more volumes than this are inflated at once, and none twice at once."""
Key = tuple[str, int, int]
"""A file as it was when it was read: path, time of its last change, size."""


def is_volume(start: bytes) -> bool:
    """Say whether a file begins as NIfTI, compressed or not, from its first few hundred bytes."""
    if start[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(start + bytes(2**12))) as inflated:
                start = inflated.read1(352)
        except (OSError, EOFError):
            return False
    return start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")


def depth(path: str | Path) -> int:
    """Return how many slices a volume has along its third axis, after it is turned.

    Raises
    ------
    ImageError
        If it is no volume of three axes.
    """
    image, axes, _ = _opened(_key(Path(path)))
    return int(image.shape[axes[2]])


def pixels(path: str | Path, part: int | None, window: tuple[float, float] | None) -> ndarray:
    """Pixels of one slice.

    Parameters
    ----------
    path : path
        NIfTI, ``.nii`` or ``.nii.gz``.
    part : int
        Slice, from 0 at the feet.
    window : tuple of float
        LOW and HIGH in Hounsfield units.

    Returns
    -------
    ndarray (H, W), float32
        In [0, 1]: front on top, the patient's right on the left.

    Raises
    ------
    ImageError
        If the file is no volume of three axes, has no such slice, or holds no Hounsfield units; or without a part or a
        window.
    """
    key = _key(Path(path))
    if part is None:
        raise ImageError(f"a volume of {depth(path)} slices, expected one image or the number of a slice")
    if window is None:
        raise ImageError("a volume of Hounsfield units needs a window: train the model with --set window=LOW,HIGH")
    _check_units(key)
    return within(_values(key, part), *window)


def labels(path: str | Path, part: int, *, like: str | Path | None = None) -> ndarray:
    """Labels of one slice of a volume, laid out as `pixels` lays out the image's.

    Parameters
    ----------
    path : path
    part : int
        Slice of the image.
    like : path, optional
        The image. Label files whose affine is not the image's are common and are turned as the image is.

    Returns
    -------
    ndarray (H, W), int64

    Raises
    ------
    ImageError
        If it is no volume, has another shape than the image, or no such slice.
    """
    key, turned = _key(Path(path)), None
    if like is not None:
        image, axes, flips = _opened(_key(Path(like)))
        if image.shape != _opened(key)[0].shape:
            raise ImageError(f"labels of {_opened(key)[0].shape}, expected the image's {image.shape}")
        turned = (axes, flips)
    return np.rint(_values(key, part, turned)).astype(np.int64)


def present(path: str | Path, values: tuple[int, ...], *, like: str | Path) -> ndarray:
    """Return which slices of the image hold which of some labels (D, len(values)), bool."""
    image, axes, flips = _opened(_key(Path(like)))
    own = _opened(_key(Path(path)))[0]
    if own.shape != image.shape:
        raise ImageError(f"labels of {own.shape}, expected the image's {image.shape}")
    stored = np.rint(np.asanyarray(own.dataobj)).reshape(own.shape[:3])
    others = tuple(axis for axis in range(3) if axis != axes[2])
    found = np.stack([(stored == value).any(axis=others) for value in values], axis=1)
    return found[::-1] if flips[2] else found


def _key(path: Path) -> Key:
    status = path.stat()
    return str(path), status.st_mtime_ns, status.st_size


@lru_cache(maxsize=64)
def _opened(key: Key) -> tuple[Any, tuple[int, ...], tuple[bool, ...]]:
    """Return the volume without its pixels, the stored axis for each turned one, and whether that is turned round."""
    import nibabel

    if not key[0].endswith((".nii", ".nii.gz")):
        raise ImageError("a NIfTI volume whose name does not end in .nii or .nii.gz is not supported")
    with (gzip.open if key[0].endswith(".gz") else open)(key[0], "rb") as file:
        second = file.read(8)[4:7] in (b"n+2", b"ni2")
    image: Any = (nibabel.Nifti2Image if second else nibabel.Nifti1Image).from_filename(key[0])
    shape = image.shape
    if len(shape) < 3 or any(side != 1 for side in shape[3:]) or 0 in shape:
        raise ImageError(f"expected a volume of three axes, found {' x '.join(map(str, shape))}")
    if image.get_data_dtype().kind not in "iuf":
        raise ImageError(f"values of type {image.get_data_dtype()} are not supported")
    # For each stored axis: the turned axis that it becomes, and its direction.
    turned = nibabel.io_orientation(image.affine)
    if not np.isfinite(turned).all():
        raise ImageError("the affine leaves an axis without a direction")
    axes = tuple(int(np.flatnonzero(turned[:, 0] == axis)[0]) for axis in range(3))
    return image, axes, tuple(bool(turned[axis, 1] < 0) for axis in axes)


def _values(key: Key, part: int, turned: tuple[tuple[int, ...], tuple[bool, ...]] | None = None) -> ndarray:
    """Return a slice (H, W), float32, in the units of the file."""
    image, axes, flips = _opened(key)
    axes, flips = turned or (axes, flips)
    count = image.shape[axes[2]]
    if not 0 <= part < count:
        raise ImageError(f"has no slice {part}: there are {count}")
    place = (axes[2], count - 1 - part if flips[2] else part)
    stored = _packed(key, *place) if key[0].endswith(".gz") else _plain(key, *place)
    slope, intercept = _scale(image, key)
    values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    if not np.isfinite(values).all():
        raise ImageError("holds NaN or infinite values")
    values = values if axes[0] < axes[1] else values.T  # now right, anterior
    values = values[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    return np.ascontiguousarray(values[::-1, ::-1].T)  # rows from front to back, columns from right to left


def _scale(image: Any, key: Key) -> tuple[float, float]:
    if key[0].endswith(".gz"):
        return float(image.dataobj.slope), float(image.dataobj.inter)
    return 1, 0  # reading a part of a file that is not compressed applies it


def _plain(key: Key, axis: int, place: int) -> ndarray:
    image = _opened(key)[0]
    return np.asarray(image.dataobj[_index(image, axis, place)])


@lru_cache(maxsize=1024)
def _packed(key: Key, axis: int, place: int) -> ndarray:
    with _LOCKS[hash(key) % len(_LOCKS)]:
        whole = _inflated(key)
    return whole[_index(_opened(key)[0], axis, place)].copy()  # not a view, which would keep the volume


@lru_cache(maxsize=2)
def _inflated(key: Key) -> ndarray:
    return np.asarray(_opened(key)[0].dataobj.get_unscaled())


def _index(image: Any, axis: int, place: int) -> tuple[Any, ...]:
    wanted: list[Any] = [slice(None)] * 3 + [0] * (len(image.shape) - 3)
    wanted[axis] = place
    return tuple(wanted)


@lru_cache(maxsize=1024)
def _check_units(key: Key) -> None:
    count = _opened(key)[0].shape[_opened(key)[1][2]]
    seen = [_values(key, count * quarter // 4) for quarter in (1, 2, 3)]
    low, high = min(float(s.min()) for s in seen), max(float(s.max()) for s in seen)
    if low >= 0 or high - low <= 255:
        raise ImageError(f"has lost its Hounsfield units: its values are {low:g} to {high:g}")
