"""Open, check and replace artifact files, on disk or through pipes.

HDF5 needs a seekable file. So what goes to a pipe is built in a temporary file first, and what comes from a pipe is
spooled to one. A file that is written replaces its predecessor in one step: the old one stays until the new one is
whole, checked and on disk. The attribute ``fingerprint`` is written last; a file without it is incomplete and is
refused. ``fingerprint`` is a hash of the content, however HDF5 lays it out; ``checksum`` is one of the file's bytes.
"""

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from cbir_cli import __version__
from cbir_cli.artifacts import _payload, virtual
from cbir_cli.artifacts._outputs import check_output
from cbir_cli.artifacts._replacing import STDIO as STDIO  # its callers ask files for it
from cbir_cli.artifacts._replacing import is_device as is_device
from cbir_cli.artifacts._replacing import replacing
from cbir_cli.artifacts._replacing import replacing_files as replacing_files
from cbir_cli.artifacts._rows import Rows
from cbir_cli.artifacts._unfailing import hdf5
from cbir_cli.errors import ArtifactError, UsageError

VERSION = 1
KINDS = ("cbir-model", "cbir-saliency", "cbir-embedding", "cbir-index", "cbir-explanation")
UNSEALED = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Artifact:
    """An open artifact.

    Attributes
    ----------
    file : h5py.File
        Checked, read-only.
    name : str
        As the user typed it, for messages.
    kind : str
        One of ``KINDS``.
    fingerprint : str
        sha256 of the payload as the writer stored it (``cbir verify`` recomputes it).
    history : list of dict
        One entry a stage, oldest first.
    rows : Rows or None
        Its vectors, where they are in shards.
    """

    file: h5py.File
    name: str
    kind: str
    fingerprint: str
    history: list[dict[str, Any]]
    rows: Rows | None = None

    def text(self, attribute: str, default: str = "") -> str:
        """Return a root attribute as text."""
        return str(self.file.attrs.get(attribute, default))

    def array(self, path: str) -> np.ndarray:
        """Return a dataset as an array: memory-mapped where it lies contiguous in the file, else read.

        Vectors that are in shards are read when the array is indexed.

        Raises
        ------
        ArtifactError
            If the artifact lacks the dataset.
        """
        dataset = self.file.get(path)
        if not isinstance(dataset, h5py.Dataset):
            raise ArtifactError(f"{self.name}: damaged: it has no dataset {path}")
        if dataset.is_virtual and self.rows is not None:
            return self.rows  # type: ignore[return-value]
        offset = dataset.id.get_offset()
        if offset is None or not dataset.size:
            return np.asarray(dataset[()])
        return np.memmap(dataset.file.filename, dataset.dtype, "r", offset, dataset.shape)


@contextmanager
def create(
    target: str,
    kind: str,
    history: Sequence[dict[str, Any]],
    *,
    shard: tuple[int, int] = (1, 1),
    changes: Artifact | None = None,
) -> Iterator[h5py.File]:
    """Write an artifact to a file or, as ``-``, to standard output; nothing appears there until it is whole.

    Parameters
    ----------
    target : str
        Path or ``-``. An existing file is replaced atomically and keeps its permissions.
    kind : str
        One of ``KINDS``.
    history : sequence of dict
        All stages up to and including this one.
    shard : tuple of int
        Part I of N, where the artifact is one of several to be merged; (1, 1) is the whole.
    changes : Artifact, optional
        What it was made from: if that is the target itself, and another command has replaced it since it was opened,
        this one is refused, or what the other has done would be lost.

    Yields
    ------
    h5py.File
        To be filled by the caller.
    """
    check_output(target)
    with replacing(target) as temporary:
        with hdf5(temporary) as file:
            file.attrs["checksum"] = UNSEALED
            file.attrs["format"] = kind
            file.attrs["format-version"] = VERSION
            file.attrs["generated-by"] = f"cbir {__version__}"
            file.attrs["history"] = json.dumps(list(history), sort_keys=True)
            if shard != (1, 1):
                file.attrs["shard"] = f"{shard[0]}/{shard[1]}"
            yield file
            file.flush()
            file.attrs["fingerprint"] = _payload.fingerprint(file, temporary)
        _payload.seal(temporary)
        with open_artifact(temporary, kind):
            pass
        if changes is not None and os.path.realpath(target) == os.path.realpath(changes.file.filename):
            opened = os.fstat(changes.file.id.get_vfd_handle())  # it is open, so no other file has its number
            if not (os.path.exists(target) and os.path.samestat(opened, os.stat(target))):
                raise ArtifactError(f"{spelt(target)}: another command has replaced it meanwhile; nothing was written")


def write_text(target: str, text: str) -> None:
    """Write text to a file, in one step as an artifact, or, as ``-``, to standard output.

    Raises
    ------
    CbirError
        If it cannot be written.
    """
    check_output(target, text=True)
    if target == STDIO:
        sys.stdout.write(text)
        return
    with replacing(target) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def write_bytes(target: str, data: bytes) -> None:
    """Write bytes to a file, in one step as an artifact.

    Raises
    ------
    CbirError
        If it cannot be written.
    """
    check_output(target)
    with replacing(target) as temporary:
        Path(temporary).write_bytes(data)


@contextmanager
def open_artifact(source: str, *kinds: str, name: str = "", whole: bool = False) -> Iterator[Artifact]:
    """Open an artifact from a path or, as ``-``, from standard input.

    Parameters
    ----------
    source : str
        Path or ``-``. A pipe is spooled to a temporary file, which is gone when the block ends.
    *kinds : str
        Kinds that are accepted; all when none is named.
    name : str
        For messages, as typed; the source by default.
    whole : bool
        Read every byte to prove that none has changed, which `verify` does at leisure; for what is small and decides
        everything, as a model does.

    Yields
    ------
    Artifact

    Raises
    ------
    ArtifactError
        If the file is not HDF5, not one of the kinds, of another version, incomplete, or holds what is not allowed.
    """
    name = spelt(name or source)
    with _readable(source) as path:
        if whole:
            _check_seal(path, name)
        try:
            file = h5py.File(path, "r", locking=False)
        except OSError as error:
            raise ArtifactError(_open_message(name, path, error)) from error
        with file:
            with reading(name):
                artifact = _checked(file, name, kinds)
                rows = virtual.open_rows(file, name, path if path == source else None)
            yield replace(artifact, rows=rows)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever fails while the parts of an artifact are read into one error that names the file.

    An artifact is opened without proof that it is what was written; what it claims may be wrong in any way.
    """
    try:
        yield
    except ArtifactError as error:
        if str(error).startswith(name):
            raise
        raise ArtifactError(f"{name}: damaged: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ArtifactError(f"{name}: damaged: {' '.join(str(error).split())}") from error


def verify(source: str) -> str:
    """Recompute an artifact's fingerprint.

    Returns
    -------
    str
        The fingerprint.

    Raises
    ------
    ArtifactError
        If it is not the stored one, or that of a shard which has its vectors.
    """
    with _readable(source) as path:
        name = spelt(source)
        _check_seal(path, name)
        return _verify_payload(path, name)


def _check_seal(path: str, name: str) -> None:
    if is_artifact(Path(path)) and not _payload.check_seal(path):
        raise ArtifactError(f"{name}: damaged: its bytes are not those that were written")


def _verify_payload(path: str, name: str) -> str:
    with open_artifact(path, name=name) as artifact:
        with reading(name):
            found = _payload.fingerprint(artifact.file, path)
        if found != artifact.fingerprint:
            raise ArtifactError(
                f"{artifact.name}: damaged: its payload gives {found[:12]}, its fingerprint is "
                f"{artifact.fingerprint[:12]}"
            )
        for shard in artifact.rows.shards if artifact.rows else ():
            _check_seal(shard.path, f"{name}: its shard {shard.name}")
            _verify_payload(shard.path, f"{name}: its shard {shard.name}")
        return found


def spelt(name: str) -> str:
    """Return what messages call a file that was named on the command line."""
    return "standard input" if name == STDIO else name


@contextmanager
def spooled(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Copy what comes through pipes to temporary files, for commands that look at what a file is before they read it.

    Parameters
    ----------
    names : sequence of str
        Paths, or ``-`` for standard input.

    Yields
    ------
    dict of str to str
        By name where the file is, for those names that are pipes; until the block ends.

    Raises
    ------
    UsageError
        If standard input is a terminal.
    ArtifactError
        If a pipe is empty.
    """
    with ExitStack() as stack:
        pipes = [name for name in dict.fromkeys(names) if name == STDIO or is_device(Path(name))]
        yield {name: stack.enter_context(_readable(name)) for name in pipes}


def is_artifact(path: Path) -> bool:
    """Say whether a path is a regular file that begins as HDF5 does."""
    try:
        if not path.is_file():
            return False  # opening a named pipe would take it from its writer
        with open(path, "rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except (OSError, ValueError):
        return False


@contextmanager
def _readable(source: str) -> Iterator[str]:
    """Yield a path that HDF5 can open and map."""
    if source != STDIO:
        if not os.path.exists(source):
            raise ArtifactError(f"{source}: no such file")
        if os.path.isdir(source):
            raise ArtifactError(f"{source}: is a directory, not an artifact")
        if os.path.isfile(source):
            yield source
            return
    elif sys.stdin.isatty():
        raise UsageError("standard input is a terminal; give a file, or pipe an artifact in")
    stream: IO[bytes] = sys.stdin.buffer if source == STDIO else open(source, "rb")
    with tempfile.NamedTemporaryFile(prefix="cbir-", suffix=".h5") as spool:
        shutil.copyfileobj(stream, spool, 1 << 20)
        spool.flush()
        if not os.path.getsize(spool.name):
            raise ArtifactError(f"{spelt(source)}: empty; did the command before it fail?")
        yield spool.name


def _checked(file: h5py.File, name: str, kinds: Sequence[str]) -> Artifact:
    kind = file.attrs.get("format")
    wanted = " or ".join(kinds) or "cbir"
    if kind not in KINDS:
        raise ArtifactError(f"{name}: expected a {wanted} artifact, found another HDF5 file")
    if kinds and kind not in kinds:
        raise ArtifactError(f"{name}: expected a {wanted} artifact, found {kind}")
    version = file.attrs.get("format-version")
    if version != VERSION:
        raise ArtifactError(f"{name}: {kind} version {version}; this cbir reads version {VERSION}")
    if "fingerprint" not in file.attrs:
        raise ArtifactError(f"{name}: incomplete: its writer did not finish")
    try:
        _payload.check(file)
    except ArtifactError as error:
        raise ArtifactError(f"{name}: refused: {error}") from error
    history = json.loads(file.attrs["history"])
    if not all(isinstance(entry["command"], str) and isinstance(entry["inputs"], dict) for entry in history):
        raise ValueError("its history is not one")
    return Artifact(file, name, str(kind), str(file.attrs["fingerprint"]), list(history))


def _open_message(name: str, path: str, error: OSError) -> str:
    if isinstance(error, PermissionError) or error.errno == errno.EACCES:
        return f"{name}: cannot be read: permission denied"
    if not os.path.getsize(path):
        return f"{name}: is empty"
    if "truncated" in str(error):
        return f"{name}: is truncated"
    if "signature not found" in str(error):
        return f"{name}: is not an HDF5 file"
    return f"{name}: damaged: {' '.join(str(error).split())}"
