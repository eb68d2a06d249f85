"""Rows that are written to a temporary file and come back as an array."""

import errno
import tempfile

import numpy as np
import pytest

from cbir_cli.errors import CbirError, ShapeError
from cbir_cli.stages.rows import Rows


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_rows_come_back_in_order(dtype):
    parts = [np.arange(n * 6).reshape(n, 2, 3) + n for n in (1, 0, 3)]
    rows = Rows((2, 3), dtype)
    for part in parts:
        rows.add(part[..., ::-1])
    found = rows.array()
    assert type(found) is np.ndarray and found.dtype == dtype and not found.flags.writeable
    np.testing.assert_array_equal(found, np.concatenate(parts)[..., ::-1])


@pytest.mark.parametrize("shape", [(2, 3), (0, 3)])
def test_no_rows(shape):
    assert Rows(shape, np.float16).array().shape == (0, *shape)


def test_rows_of_another_shape():
    with pytest.raises(ShapeError):
        Rows((2, 3), np.float32).add(np.zeros((1, 3, 2)))


def test_nothing_is_left_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = Rows((1000,), np.float32)
    rows.add(np.ones((1000, 1000)))
    found = rows.array()
    assert found.sum() == 1e6 and not list(tmp_path.iterdir())


def test_a_full_disk_is_said_with_what_helps(monkeypatch):
    rows = Rows((2,), np.float32)

    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(rows, "_file", Full())
    with pytest.raises(CbirError, match=r"no space left for the images and maps; name another folder by TMPDIR$"):
        rows.add(np.zeros((1, 2)))
