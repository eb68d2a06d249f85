import io
import os
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cbir_cli import npz
from cbir_cli.errors import ImageError


@pytest.fixture
def pixels():
    rng = np.random.default_rng(5)
    return {s: rng.integers(0, 256, (n, 6, 5, 3), np.uint8) for s, n in (("train", 4), ("val", 2), ("test", 3))}


@pytest.fixture
def path(tmp_path, pixels):
    path = tmp_path / "a.npz"
    # In another order than parts count.
    np.savez_compressed(path, **{f"{split}_images": pixels[split] for split in ("test", "train", "val")}, other=[1])
    return path


@pytest.mark.parametrize("in_memory", [2**28, 0], ids=["in memory", "mapped"])
def test_every_part_is_its_image(path, pixels, monkeypatch, in_memory):
    monkeypatch.setattr(npz, "_IN_MEMORY", in_memory)
    os.utime(path, ns=(1, 1 + in_memory))  # what another case unpacked is another file's
    whole = np.concatenate([pixels["train"], pixels["val"], pixels["test"]])
    for part in np.random.default_rng(1).permutation(9):
        found = npz.decode(path, int(part))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, (whole[part] / 255).astype(np.float32))
        np.testing.assert_array_equal(npz.stored(path, int(part)), whole[part])
    with ThreadPoolExecutor(4) as pool:
        for part, found in enumerate(pool.map(lambda part: npz.stored(path, part), range(9))):
            np.testing.assert_array_equal(found, whole[part])
    assert [(a.split, a.shape) for a in npz.arrays(path)] == [
        ("train", (4, 6, 5, 3)),
        ("val", (2, 6, 5, 3)),
        ("test", (3, 6, 5, 3)),
    ]


def test_an_array_is_unpacked_once(path, monkeypatch):
    unpacked = []
    real = npz._unpack

    def slow(path, member):
        unpacked.append(member)
        time.sleep(0.05)  # long enough for the other threads to come
        return real(path, member)

    monkeypatch.setattr(npz, "_unpack", slow)
    os.utime(path, ns=(7, 7))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: npz.decode(path, part), [0, 1, 2, 3] * 5))
    assert unpacked == ["train_images.npy"]


def test_pixels_cannot_be_changed(path):
    with pytest.raises(ValueError, match="read-only"):
        npz.stored(path, 0)[0] = 1


def test_another_archive_under_the_same_name(path):
    before = npz.stored(path, 0).copy()
    np.savez(path, train_images=255 - before[None])
    os.utime(path, ns=(9, 9))
    np.testing.assert_array_equal(npz.stored(path, None), 255 - before)


@pytest.mark.parametrize(
    ("part", "expected"),
    [(9, "has no image 9; it holds 9, counted from 0"), (-1, "has no image -1"), (None, "holds 9 images, expected")],
)
def test_part_that_is_not_there(path, part, expected):
    with pytest.raises(ImageError, match=expected):
        npz.decode(path, part)


def claim(path, shape, data=b""):
    """Write an archive whose array claims a shape."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", head.getvalue() + data)
    return path


def test_shape_that_the_file_does_not_hold(tmp_path):
    for shape in ((10**9, 10**4, 10**4), (1, 2, 2), (3, 1, 1)):
        with pytest.raises(ImageError, match="its size is not that of"):
            npz.decode(claim(tmp_path / f"{shape[0]}.npz", shape, b"ab"), 0)
    assert npz.stored(claim(tmp_path / "good.npz", (2, 1, 1), b"ab"), 1) == ord("b")
    with pytest.raises(ImageError, match=r"expected 8-bit images .* \(2, 0, 1\)"):
        npz.decode(claim(tmp_path / "empty.npz", (2, 0, 1)), 0)


def test_files_that_are_no_archive(path, tmp_path):
    data = path.read_bytes()
    for name, content in (("text", b"hello"), ("empty", b""), ("short", data[: len(data) // 2])):
        bad = tmp_path / f"{name}.npz"
        bad.write_bytes(content)
        with pytest.raises(ImageError, match="damaged archive") as caught:
            npz.decode(bad, 0)
        assert "\n" not in str(caught.value)
    flipped = bytearray(data)
    flipped[len(data) // 8] ^= 0xFF
    bad.write_bytes(flipped)
    with pytest.raises(ImageError):
        for part in range(9):
            npz.decode(bad, part)
    with pytest.raises(ImageError, match="No such file"):
        npz.decode(tmp_path / "gone.npz", 0)


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", train_images=np.array([{"a": 1}], object), train_labels=np.array([{}], object))
    with pytest.raises(ImageError, match="found object"):
        npz.arrays(tmp_path / "a.npz")
    with pytest.raises(ImageError, match="found object"):
        npz.labels(tmp_path / "a.npz", "train")
