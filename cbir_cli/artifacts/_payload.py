"""What an artifact may hold, and the hash over all of it.

Only plain data is allowed: groups and datasets under hard links, each under one name, numbers and text, stored inside
the file with the filters that every HDF5 library has. So a file cannot point outside itself, unfold into more memory
than it justifies, or carry code. One thing may lie elsewhere: the vectors of merged shards (see ``virtual``).
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from cbir_cli.artifacts import virtual
from cbir_cli.errors import ArtifactError

_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_INFLATION = 1100
"""Deflate cannot grow data by more than about 1032."""
_BLOCK = 1 << 24
_HEAD = 1 << 20
"""The checksum stands among the first attributes that are written, so near the beginning."""
_DEPTH = 16


def objects(file: h5py.File) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield every object below the root with its path, in sorted order, checking each on the way.

    Raises
    ------
    ArtifactError
        If an object is linked softly, externally or twice, stored outside the file, virtual, filtered by an unknown
        filter, of a type that is neither number nor text, or larger than its stored bytes can justify.
    """
    yield from _walk(file, "", 0)


def seal(path: str) -> None:
    """Set the checksum of a closed file: of all its bytes, with zeros where the checksum itself stands."""
    at, _, found = _checksum(path)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(found)


def check_seal(path: str) -> bool:
    """Say whether not one byte of a file has changed. HDF5 takes no part: it may hang on a damaged file."""
    _, stored, found = _checksum(path)
    return stored == found


def _checksum(path: str) -> tuple[int, bytes, bytes]:
    """Return where the checksum stands, the one stored, and the one computed."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        mark = re.search(rb"sha256:([0-9a-f]{64})", head)
        if mark is None:
            return 0, b"", b"none"
        start, stop = mark.span(1)
        digest.update(head[:start] + b"0" * 64 + head[stop:])
        while block := file.read(_BLOCK):
            digest.update(block)
    return start, mark[1], digest.hexdigest().encode()


def _walk(group: h5py.Group, prefix: str, depth: int) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    if depth > _DEPTH:
        raise ArtifactError(f"{prefix}: nested deeper than {_DEPTH} groups")
    for name in sorted(group):
        path = f"{prefix}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ArtifactError(f"{path}: is a soft or external link; only hard links are read")
        item = group[name]
        if h5py.h5o.get_info(item.id).rc != 1:
            raise ArtifactError(f"{path}: is stored under two names")
        if isinstance(item, h5py.Dataset):
            _check_dataset(item, path)
        elif not isinstance(item, h5py.Group):
            raise ArtifactError(f"{path}: is neither a group nor a dataset")
        yield path, item
        if isinstance(item, h5py.Group):
            yield from _walk(item, path, depth + 1)


def _check_dataset(dataset: h5py.Dataset, path: str) -> None:
    if dataset.is_virtual and path == virtual.PLACE:
        return  # what it may be is checked when the whole file is known to be plain
    if dataset.is_virtual or dataset.external:
        raise ArtifactError(f"{path}: its data lie outside the file")
    plist = dataset.id.get_create_plist()
    filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    if filters - _FILTERS:
        raise ArtifactError(f"{path}: unknown HDF5 filter {sorted(filters - _FILTERS)}")
    if dataset.dtype.kind not in "biufS" and h5py.check_string_dtype(dataset.dtype) is None:
        raise ArtifactError(f"{path}: of type {dataset.dtype}; only numbers and text are read")
    stored = dataset.id.get_storage_size()
    allowed = stored * _INFLATION if h5py.h5z.FILTER_DEFLATE in filters else stored
    compact = plist.get_layout() == h5py.h5d.COMPACT
    if dataset.shape is not None and dataset.size and not compact and dataset.size * dataset.dtype.itemsize > allowed:
        raise ArtifactError(f"{path}: claims {dataset.nbytes:,} bytes but holds {stored:,}")


def check(file: h5py.File) -> None:
    """Walk the whole file and raise ArtifactError at the first thing that is not allowed."""
    for _ in objects(file):
        pass
    virtual.check(file)


def fingerprint(file: h5py.File, location: str) -> str:
    """Hash everything in the file but the fingerprint itself.

    Paths, types, shapes, attributes and data enter; how HDF5 lays them out on disk does not.

    Parameters
    ----------
    file : h5py.File
        Flushed, if it is being written.
    location : str
        Path of the file on disk.

    Returns
    -------
    str
        sha256 in hexadecimal.
    """
    digest = hashlib.sha256()
    _hash_attributes(digest, file)
    for path, item in objects(file):
        digest.update(f"{path}\n".encode())
        _hash_attributes(digest, item)
        if isinstance(item, h5py.Dataset):
            digest.update(f"{_type(item.dtype)} {item.shape}\n".encode())
            _hash_data(digest, item, location)
    return digest.hexdigest()


def _hash_attributes(digest: Any, item: Any) -> None:
    for name in sorted(item.attrs):
        if name in ("fingerprint", "checksum") and item.name == "/":
            continue
        value = item.attrs[name]
        if isinstance(value, str):
            data = value.encode()
        elif isinstance(value, h5py.Empty):
            data = b"empty"
        else:
            array = np.asarray(value)
            data = str(array.tolist()).encode() if array.dtype.kind in "OU" else array.tobytes()
            data = f"{_type(array.dtype)} {array.shape} ".encode() + data
        digest.update(f"@{name} {len(data)}\n".encode() + data)


def _hash_data(digest: Any, dataset: h5py.Dataset, location: str) -> None:
    if dataset.shape is None or dataset.is_virtual:  # the table of shards has the fingerprints of its data
        return
    if dataset.dtype.kind == "O":
        for text in np.atleast_1d(dataset[()]).ravel():
            digest.update(f"{len(text)}\n".encode() + text)
        return
    offset = dataset.id.get_offset()
    if offset is not None:  # contiguous: read the bytes as they lie, several times faster than through HDF5
        with open(location, "rb", buffering=0) as raw:
            raw.seek(offset)
            left = dataset.nbytes
            while left:
                block = raw.read(min(_BLOCK, left))
                if not block:
                    raise ArtifactError(f"{dataset.name}: ends before its {dataset.nbytes:,} bytes")
                digest.update(block)
                left -= len(block)
        return
    if dataset.ndim == 0:
        digest.update(np.asarray(dataset[()]).tobytes())
        return
    rows = max(1, _BLOCK // max(1, dataset.nbytes // max(1, len(dataset))))
    for start in range(0, len(dataset), rows):
        digest.update(np.ascontiguousarray(dataset[start : start + rows]).tobytes())


def _type(dtype: np.dtype[Any]) -> str:
    return "text" if dtype.kind in "OU" else dtype.str
