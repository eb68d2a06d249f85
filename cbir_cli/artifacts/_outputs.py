"""Whether an output can be written: asked before any work is done."""

import os
import stat
import sys
from pathlib import Path

from cbir_cli.artifacts._replacing import STDIO, identity, is_device
from cbir_cli.errors import CbirError, UsageError


def check_output(target: str, *inputs: str | Path | None, text: bool = False) -> None:
    """Refuse an output that cannot be written before any work is done.

    Parameters
    ----------
    target : str
        Path or ``-``.
    *inputs : str, path or None
        What the command reads, as it was named; what is no file is passed over.
    text : bool
        What is written is text, which may go to a terminal and be appended.

    Raises
    ------
    UsageError
        If HDF5 would go to a terminal, be appended to a file that already holds something, or replace an input.
    CbirError
        If the folder does not exist or cannot be written.
    """
    if target != STDIO and (there := identity(target)) and there in map(identity, inputs):
        raise UsageError(f"-o {target}: is one of the inputs; name another file")
    if target == STDIO:
        if text:
            return
        status = os.fstat(sys.stdout.fileno())
        if sys.stdout.isatty():
            raise UsageError("refusing to write HDF5 to a terminal; use -o FILE or > FILE")
        import fcntl

        appends = fcntl.fcntl(sys.stdout.fileno(), fcntl.F_GETFL) & os.O_APPEND
        if appends and stat.S_ISREG(status.st_mode) and status.st_size:
            raise UsageError("refusing to append HDF5 to a file; use -o FILE or > FILE")
        return
    path = Path(target)
    if not target:
        raise UsageError("-o: expected the name of a file, found nothing")
    if path.is_dir():
        raise CbirError(f"{target}: is a directory")
    if is_device(path):
        return
    if not path.parent.is_dir():
        raise CbirError(f"{target}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise CbirError(f"{target}: the folder {path.parent} cannot be written")
