"""Files that replace others in one step: the old one stays until the new one is whole and on disk."""

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cbir_cli.errors import CbirError

STDIO = "-"


@contextmanager
def replacing(target: str) -> Iterator[str]:
    """Yield a temporary file that takes the place of a target when the block has ended without an error.

    What cannot be replaced, standard output or a device, is given its content instead.

    Raises
    ------
    CbirError
        If it cannot be written, in the block either.
    BrokenPipeError
        If nobody reads the pipe that it is copied to.
    """
    final = None if target == STDIO or is_device(Path(target)) else Path(os.path.realpath(target))
    folder = tempfile.gettempdir() if final is None else final.parent
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".cbir-", suffix=".tmp", dir=folder)
        os.close(handle)
        yield temporary
        if final is None:
            _copy_out(temporary, target)
        else:
            _replace(temporary, final)
    except (OSError, RuntimeError) as error:
        raise _write_error(target, error) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def replacing_files(folder: str, *, last: str = "") -> Iterator[Path]:
    """Yield an empty folder whose files go to a target, over those of the same names, when the block has ended.

    If the target is not there, it appears in one step, whole. Else what it holds besides stays, and each file is
    replaced in one step once all new ones are on disk.

    Parameters
    ----------
    folder : str
    last : str
        A file that names the others: it goes first and comes last, so that it never names what does not belong to it.

    Raises
    ------
    CbirError
        If the target is a file or cannot be written, in the block either.
    """
    final = Path(os.path.realpath(folder))
    if final.exists() and not final.is_dir():
        raise CbirError(f"{folder}: is a file, not a folder")
    temporary = ""
    try:
        temporary = tempfile.mkdtemp(prefix=".cbir-", suffix=".tmp", dir=final.parent)
        yield Path(temporary)
        made = sorted(Path(temporary).iterdir(), key=lambda path: (path.name == last, path.name))
        for path in made:
            path.chmod(0o666 & ~_umask())
            _sync(path)
        if final.exists():
            if last:
                (final / last).unlink(missing_ok=True)
            for path in made:
                os.replace(path, final / path.name)
            _sync(final)
        else:
            os.chmod(temporary, 0o777 & ~_umask())
            os.rename(temporary, final)
            _sync(final.parent)
    except (OSError, RuntimeError) as error:
        raise _write_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def identity(path: str | Path | None) -> tuple[int, int] | None:
    """Return what tells a regular file from others, whatever name it goes by."""
    try:
        status = os.stat(path or "")
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def is_device(path: Path) -> bool:
    """Say whether a path is something that is there but cannot be replaced: a pipe, ``/dev/null``, ``/dev/stdout``."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _copy_out(path: str, target: str) -> None:
    with open(path, "rb") as whole:
        if target == STDIO:
            shutil.copyfileobj(whole, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
        else:
            with open(target, "wb") as out:
                shutil.copyfileobj(whole, out, 1 << 20)


def _replace(temporary: str, final: Path) -> None:
    """Put a file that is whole in the place of another, with its permissions."""
    os.chmod(temporary, stat.S_IMODE(final.stat().st_mode) if final.exists() else 0o666 & ~_umask())
    _sync(temporary)
    os.replace(temporary, final)
    _sync(final.parent)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_error(target: str, error: OSError | RuntimeError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    name = "standard output" if target == STDIO else target
    text = str(error)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "errno = 28" in text:
        return CbirError(f"{name}: no space left on the device; nothing was written")
    if getattr(error, "errno", None) == errno.EFBIG or "errno = 27" in text:
        return CbirError(f"{name}: file too large for this system's limit; nothing was written")
    return CbirError(f"{name}: cannot be written: {' '.join(text.split())}")
