"""Vectors that stay in the shards of a run: an embedding whose ``X`` is an HDF5 virtual data set.

Schema
------
All of the embedding artifact (see ``embeddings``), where ``X`` is the rows of the shards' one after the other, and

``uns/shards/name`` (S,) text
    Path of each shard from the folder of the artifact, with forward slashes: in that folder or below it.
``uns/shards/fingerprint`` (S,) text, ``uns/shards/bytes`` (S,) int64, ``uns/shards/rows`` (S,) int64
    Of each shard: its fingerprint, the size of its file, how many vectors it has.

The artifact's fingerprint covers the vectors through those of the shards. Other programs read ``X`` through HDF5. That
gives zeros where a shard is missing, and looks for it in more than one place; so here HDF5 is not asked for ``X``, not
even for its shape, before it is known to be the table and nothing else. The shards are then opened by their names and
checked, and their rows are read with plain reads.
"""

import os
import stat
from pathlib import PurePosixPath

import h5py
import numpy as np

from cbir_cli.artifacts import _anndata
from cbir_cli.artifacts._rows import Rows as Rows  # its callers ask virtual for it
from cbir_cli.artifacts._rows import Shard
from cbir_cli.artifacts._rows import shard_of as shard_of
from cbir_cli.errors import ArtifactError

KIND = "cbir-embedding"
PLACE = "/X"
_TABLE = "uns/shards"


def relative(path: str, output: str) -> str:
    """Return what an artifact calls one of its shards.

    Raises
    ------
    ArtifactError
        If the shard is not in the artifact's folder or below it.
    """
    folder, real = os.path.dirname(os.path.realpath(output)), os.path.realpath(path)
    if os.path.commonpath([folder, real]) != folder:
        raise ArtifactError(f"{path}: shards that stay where they are lie in the folder of {output} or below it")
    return os.path.relpath(real, folder).replace(os.sep, "/")


def link(file: h5py.File, rows: Rows) -> None:
    """Make ``X`` of an unfinished embedding, virtual, and its table; names of shards are those of the table."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_obj_track_times(False)  # which h5py's own virtual data sets keep: equal merges would have other bytes
    start = 0
    for shard in rows.shards:
        if shard.rows:
            place = h5py.h5s.create_simple(rows.shape)
            place.select_hyperslab((start, 0), (shard.rows, shard.width))
            source = h5py.h5s.create_simple((shard.rows, shard.width))
            plist.set_virtual(place, _escaped(shard.name).encode(), b"X", source)
        start += shard.rows
    created = h5py.h5d.create(file.id, b"X", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(rows.shape), plist)
    _anndata.encode(h5py.Dataset(created), "array", "0.2.0")


def write_table(uns: h5py.Group, rows: Rows) -> None:
    """Write the table of shards."""
    table = _anndata.dictionary(uns, "shards")
    _anndata.texts(table, "name", [shard.name for shard in rows.shards])
    _anndata.texts(table, "fingerprint", [shard.fingerprint for shard in rows.shards])
    _anndata.array(table, "bytes", np.array([shard.size for shard in rows.shards], np.int64))
    _anndata.array(table, "rows", np.array([shard.rows for shard in rows.shards], np.int64))


def check(file: h5py.File) -> None:
    """Check that a virtual ``X``, if there is one, is what the table of shards says, and that the table is sane.

    Everything else in the file was checked before.

    Raises
    ------
    ArtifactError
    """
    vectors = file.get("X")
    if not isinstance(vectors, h5py.Dataset) or not vectors.is_virtual:
        return
    if file.attrs.get("format") != KIND or _TABLE not in file:
        raise ArtifactError(f"{PLACE}: its data lie outside the file")
    names, _, _, counts = _table(file)
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name != "/".join(parts) or ".." in parts:  # of an absolute name they join to another
            raise ArtifactError(f"{PLACE}: a shard named {name!r} is not in the folder of the file or below it")
    if len(set(names)) < len(names):
        raise ArtifactError(f"{PLACE}: the table of its shards is not one")
    plist = vectors.id.get_create_plist()
    ends = np.cumsum(counts)
    used = np.flatnonzero(counts)
    if plist.get_virtual_count() != len(used):
        raise ArtifactError(f"{PLACE}: is not made of the shards in its table")
    for number, shard in enumerate(used.tolist()):
        place, source = plist.get_virtual_vspace(number), plist.get_virtual_srcspace(number)
        extent, rows, end = place.get_simple_extent_dims(), int(counts[shard]), int(ends[shard])
        fits = (
            plist.get_virtual_filename(number) == _escaped(names[shard])
            and plist.get_virtual_dsetname(number) == "X"
            and source.get_select_type() == h5py.h5s.SEL_ALL
            and extent == place.get_simple_extent_dims(maxdims=True) == (int(ends[-1]), *extent[1:])
            and len(extent) == 2
            and place.get_select_npoints() == rows * extent[1] > 0
            and place.get_select_bounds() == ((end - rows, 0), (end - 1, extent[1] - 1))
        )
        if not fits:
            raise ArtifactError(f"{PLACE}: is not made of the shards in its table")


def _table(file: h5py.File) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    table = file[_TABLE]
    names, marks = (_anndata.column(table, name).tolist() for name in ("name", "fingerprint"))
    sizes, counts = table["bytes"][()], table["rows"][()]
    if (
        not len(names) == len(marks) == len(sizes) == len(counts)
        or not names
        or sizes.dtype.kind + counts.dtype.kind != "ii"
    ):
        raise ArtifactError(f"{PLACE}: the table of its shards is not one")
    return names, marks, sizes, counts


def _escaped(name: str) -> str:
    """Return a name as virtual data sets have it: a percent sign alone would stand for a number."""
    return name.replace("%", "%%")


def open_rows(file: h5py.File, name: str, path: str | None) -> Rows | None:
    """Return the vectors of a checked file whose ``X`` is virtual, None of any other.

    Parameters
    ----------
    file : h5py.File
    name : str
        For messages.
    path : str or None
        The file on disk; None if it came through a pipe.

    Raises
    ------
    ArtifactError
        If a shard is missing, or not the one that was merged.
    """
    if not (isinstance(file.get("X"), h5py.Dataset) and file["X"].is_virtual):
        return None
    if path is None:
        raise ArtifactError(f"{name}: its vectors are in shards, which do not come through a pipe: name the file")
    folder = os.path.dirname(os.path.realpath(path))
    shards = []
    for shard, mark, size, rows in zip(*_table(file), strict=True):
        try:
            found = _shard(folder, shard, mark, int(size), int(rows))
        except (ArtifactError, OSError, RuntimeError, TypeError, ValueError, LookupError) as error:
            reason = str(error) if isinstance(error, ArtifactError) else f"{shard} is damaged: {error}"
            raise ArtifactError(f"{name}: its shard {' '.join(reason.split())}") from error
        shards.append(found)
    if {shard.width for shard in shards} != {file["X"].shape[1]}:
        raise ArtifactError(f"{name}: its shards have vectors of different widths")
    return Rows(shards)


def _shard(folder: str, name: str, fingerprint: str, size: int, rows: int) -> Shard:
    path = os.path.realpath(os.path.join(folder, name))
    if os.path.commonpath([folder, path]) != folder:
        raise ArtifactError(f"{name} is a link that leads out of the folder")
    if not os.path.lexists(path):
        raise ArtifactError(f"{name} is missing")
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        raise ArtifactError(
            f"{name} is not the file that was merged: expected {size:,} bytes, found {status.st_size:,}"
        )
    with h5py.File(path, "r", locking=False) as file:
        if file.attrs.get("fingerprint") != fingerprint:
            raise ArtifactError(f"{name} is not the file that was merged: its fingerprint differs")
        found = shard_of(file, path, name)
    if found.rows != rows:
        raise ArtifactError(f"{name} has {found.rows} vectors, expected {rows}")
    return found
