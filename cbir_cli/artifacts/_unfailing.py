"""HDF5 files whose failed writes are kept from HDF5 until it has closed them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py

# Arrays are memory-mapped: where one does not lie on its numbers' boundaries, a matrix product copies it first.
_LONG = 4096
_ALIGNED = 64


class _Unfailing(io.FileIO):
    """A file that takes every write and remembers the first that failed.

    HDF5 cannot close a file after a failed write, and crashes the interpreter at its end. So the error is kept from it
    until it has closed.
    """

    error: OSError | None = None

    def check(self) -> None:
        """Raise the write that failed, if one did."""
        if self.error:
            raise self.error

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while self.error is None and done < len(view):
            try:
                done += super().write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


@contextmanager
def hdf5(path: str) -> Iterator[h5py.File]:
    """Open a new HDF5 file; raise a failed write after it is closed.

    Its attribute ``path`` tells where it is, and ``check()`` raises a failed write before: whoever maps what was
    written into memory has to ask first, since what is not there is no error then but a signal.
    """
    with _Unfailing(path, "r+") as raw:
        try:
            with h5py.File(raw, "w", alignment_threshold=_LONG, alignment_interval=_ALIGNED) as file:
                file.path, file.check = path, raw.check
                yield file
        except Exception:
            if raw.error:
                raise raw.error from None
            raise
        raw.check()
