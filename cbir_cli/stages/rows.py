"""Rows of an array that may not fit into memory: written as they come, to a temporary file without a name."""

import errno
import math
import tempfile

import numpy as np
from numpy.typing import DTypeLike

from cbir_cli.errors import CbirError, ShapeError


class Rows:
    """Rows of one shape, in a file of the folder for temporary files, which the system removes with its last user.

    Memory holds what was lately used of it, and gives that back where it is short.

    Parameters
    ----------
    shape : tuple of int
        Of a row.
    dtype : dtype
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._shape, self._dtype, self._count = shape, np.dtype(dtype), 0
        self._file = tempfile.TemporaryFile()  # written before it is mapped: a full disk is an error, no crash

    def add(self, rows: np.ndarray) -> None:
        """Write some rows (N, ...).

        Raises
        ------
        ShapeError
            If they have another shape.
        CbirError
            If there is no space for them.
        """
        if rows.shape[1:] != self._shape:
            raise ShapeError(f"expected rows of {self._shape}, found {rows.shape}")
        try:
            self._file.write(np.ascontiguousarray(rows, self._dtype).data)
            self._file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            where = tempfile.gettempdir()
            raise CbirError(f"{where}: no space left for the images and maps; name another folder by TMPDIR") from error
        self._count += len(rows)

    def array(self) -> np.ndarray:
        """Return all rows, (N, ...), read-only; nothing can be added after it."""
        with self._file:
            shape = (self._count, *self._shape)
            if not math.prod(shape):
                return np.empty(shape, self._dtype)
            return np.asarray(np.memmap(self._file, self._dtype, "r", shape=shape))  # outlives the file's name
