import io

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cbir_cli import images, phash
from cbir_cli.errors import ShapeError, UsageError


def picture(seed=0, size=96):
    """A smooth random image with some structure at every scale."""
    generator = np.random.default_rng(seed)
    waves = np.zeros((size, size))
    y, x = np.mgrid[:size, :size] / size
    for _ in range(40):
        u, v, phase = generator.uniform(0, 6, 3)
        waves += generator.normal() * np.cos(2 * np.pi * (u * y + v * x) + phase)
    return ((waves - waves.min()) / np.ptp(waves)).astype(np.float32)


def distance(a, b):
    return (int(a, 16) ^ int(b, 16)).bit_count()


def slow_hash(pixels):
    """The definition, with the cosines written out."""
    small = images.resize(pixels, 32).astype(np.float64)
    k, n = np.mgrid[:32, :32]
    cosines = np.sqrt(np.where(k == 0, 1, 2) / 32) * np.cos(np.pi * k * (2 * n + 1) / 64)
    coefficients = cosines @ small @ cosines.T
    bits = coefficients[1:9, 1:9].ravel() > np.median(coefficients[1:9, 1:9])
    return "".join(map(str, bits.astype(int)))


@pytest.mark.parametrize("seed", range(5))
def test_the_definition(seed):
    pixels = picture(seed)
    text = phash.of(pixels)
    assert f"{int(text, 16):064b}" == slow_hash(pixels) and len(text) == 16
    assert int(text, 16).bit_count() == 32


def test_colour_counts_as_luma():
    colour = np.stack([picture(1), picture(2), picture(3)], axis=-1)
    luma = 0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]
    assert phash.of(colour) == phash.of(luma.astype(np.float32))


def jpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(255 * pixels))).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "change",
    [
        lambda p: jpeg(p, 60),
        lambda p: images.resize(p, 60),
        lambda p: images.resize(p, 200),
        lambda p: 0.5 + 0.7 * (p - 0.5),
        lambda p: p * np.float32(0.8),
        lambda p: np.clip(p + np.random.default_rng(1).normal(0, 0.01, p.shape).astype(np.float32), 0, 1),
    ],
    ids=["jpeg", "smaller", "larger", "contrast", "darker", "noise"],
)
def test_a_copy_is_near(change, seed):
    assert distance(phash.of(picture(seed)), phash.of(change(picture(seed)))) <= phash.NEAR


def test_others_are_far():
    hashes = [phash.of(picture(seed)) for seed in range(12)]
    assert min(distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 3 * phash.NEAR


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_flat_image_has_none(level):
    flat = np.full((50, 40), level, np.float32)
    flat[3, 5] += 1e-4  # a speck is no picture
    assert phash.of(flat) == ""
    assert phash.parse(["", phash.of(picture())]).tolist()[0] == 0


def test_wrong_shapes_and_texts():
    with pytest.raises(ShapeError, match="found"):
        phash.of(np.zeros((4, 4, 2), np.float32))
    for text in ("xyz", "1" * 17):
        with pytest.raises(ShapeError, match="no perceptual hash"):
            phash.parse([text])


def slow_nearest(first, second, most):
    """Every pair, in plain integers."""
    rows, distances = [], []
    for b in second:
        pairs = [((a ^ b).bit_count(), row) for row, a in enumerate(first) if a and b]
        bits, row = min(pairs, default=(99, -1))
        rows.append(row if bits <= most else -1)
        distances.append(bits if bits <= most else -1)
    return rows, distances


def turned(base, bits):
    for bit in bits:
        base ^= 1 << bit
    return base


# Few bases with a few bits turned, so that pairs lie on either side of every distance.
HASHES = st.lists(
    st.one_of(
        st.sampled_from([0, 1, 0b110, 1 << 63]),  # as near to no hash as a number can be
        st.builds(
            turned,
            st.sampled_from([0x0123456789ABCDEF, 0xFFFF0000FFFF0000, 0x5555AAAA5555AAAA]),
            st.sets(st.integers(0, 63), max_size=9),
        ),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(HASHES, HASHES, st.integers(0, 9))
def test_the_search_is_exact(first, second, most):
    rows, distances = phash.nearest(np.array(first, np.uint64), np.array(second, np.uint64), most)
    assert (rows.tolist(), distances.tolist()) == slow_nearest(first, second, most)


@pytest.mark.parametrize("bits", [(0, 1, 2, 3), (0, 4, 8, 12), (1, 2, 3, 63), (60, 61, 62, 63), (0, 16, 32, 48)])
def test_bits_in_every_band(bits):
    base = 0x0123456789ABCDEF
    first, second = np.array([base], np.uint64), np.array([turned(base, bits)], np.uint64)
    assert phash.nearest(first, second, 4)[1].tolist() == [4]
    assert phash.nearest(first, second, 3)[1].tolist() == [-1]


def test_many_at_a_time(monkeypatch):
    """The same answer where pairs do not fit into memory at once."""
    generator = np.random.default_rng(0)
    base = generator.integers(1, 2**63, 3, dtype=np.uint64)
    flips = np.uint64(1) << generator.integers(0, 64, (2, 300), dtype=np.uint64)
    first, second = (base[np.arange(300) % 3] ^ some for some in flips)
    whole = phash.nearest(first, second)
    monkeypatch.setattr(phash, "_AT_ONCE", 7)
    parts = phash.nearest(first, second)
    assert (whole[0] == parts[0]).all() and (whole[1] == parts[1]).all() and (whole[1] <= 2).all()


def test_a_distance_out_of_range():
    with pytest.raises(UsageError, match="0 to 15"):
        phash.nearest(np.zeros(1, np.uint64), np.zeros(1, np.uint64), 16)


def test_the_transform_is_the_orthonormal_one():
    # The slow hash writes out the cosines; this is what they are.
    block = np.random.default_rng(0).random((32, 32))
    k, n = np.mgrid[:32, :32]
    cosines = np.sqrt(np.where(k == 0, 1, 2) / 32) * np.cos(np.pi * k * (2 * n + 1) / 64)
    assert np.allclose(cosines @ block @ cosines.T, scipy.fft.dctn(block, norm="ortho"))
