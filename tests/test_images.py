import io
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cbir_cli.errors import ArtifactError, ImageError, ShapeError, UsageError
from cbir_cli.images import InputSpec, decode, grey, resize
from cbir_cli.reading import content_hash, stream
from cbir_cli.records import Record

SIDES = (5, 7)  # height, width: a swapped axis cannot pass


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def png(path, rows, bits, colour_type):
    """Write a PNG by hand: rows of packed big-endian bytes, no outside encoder."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = SIDES
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def tiff(path, data, bits, *, photometric=1, sample_format=1, shape=SIDES):
    """Write a grey little-endian TIFF by hand: one strip, no compression."""
    height, width = shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 3, height), (279, 4, len(data)), (339, 3, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = 8 + len(data) + len(data) % 2
    strip = data + b"\0" * (len(data) % 2)
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + strip + struct.pack("<H", len(tags)) + entries + b"\0" * 4)
    return path


def packed(values, bits):
    """Rows of small integers as PNG packs them: high bits first, each row filled to a byte."""
    for row in values:
        text = "".join(f"{v:0{bits}b}" for v in row)
        text += "0" * (-len(text) % 8)
        yield int(text, 2).to_bytes(len(text) // 8, "big")


# Pixel formats: the arrays are made here, the files from them, and the expected values never pass through a decoder.


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_grey_of_8_bits(tmp_path, rng, ending):
    values = rng.integers(0, 256, SIDES, dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    pixels = decode(tmp_path / f"a.{ending}")
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, values.astype(np.float32) / 255)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_grey_keeps_all_its_bits(tmp_path, rng, bits):
    values = rng.integers(0, 2**bits, SIDES)
    values.flat[:2] = 0, 2**bits - 1
    pixels = decode(png(tmp_path / "a.png", packed(values, bits), bits, 0))
    np.testing.assert_array_equal(pixels, values.astype(np.float32) / np.float32(2**bits - 1))


def test_neighbouring_16_bit_values_stay_apart(tmp_path):
    values = np.arange(35, dtype=np.uint16).reshape(SIDES) + 40_000
    Image.fromarray(values).save(tmp_path / "a.png")
    assert len(np.unique(decode(tmp_path / "a.png"))) == 35


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_colour_of_8_bits_drops_alpha(tmp_path, rng, mode, ending):
    values = rng.integers(0, 256, (*SIDES, len(mode)), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(decode(tmp_path / f"a.{ending}"), values[..., :3].astype(np.float32) / 255)


def test_grey_with_alpha_is_grey(tmp_path, rng):
    values = rng.integers(0, 256, (*SIDES, 2), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png"), values[..., 0].astype(np.float32) / 255)


@pytest.mark.parametrize(("channels", "colour_type"), [(3, 2), (4, 6), (2, 4)])
def test_colour_of_16_bits_is_right_to_8(tmp_path, rng, channels, colour_type):
    values = rng.integers(0, 65536, (*SIDES, channels))
    rows = (row.astype(">u2").tobytes() for row in values)
    pixels = decode(png(tmp_path / "a.png", rows, 16, colour_type))
    expected = values[..., :3] if channels > 2 else np.repeat(values[..., :1], 3, axis=2)
    np.testing.assert_allclose(pixels, expected / 65535, atol=1 / 255)


def test_palette_with_transparency_warns_of_nothing(tmp_path, rng):
    palette = rng.integers(0, 256, (4, 3), dtype=np.uint8)
    indices = rng.integers(0, 4, SIDES, dtype=np.uint8)
    image = Image.frombytes("P", SIDES[::-1], indices.tobytes())
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png", transparency=b"\x00\x80\xff\x10")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = decode(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels, palette[indices].astype(np.float32) / 255)


def test_one_bit(tmp_path, rng):
    values = rng.integers(0, 2, SIDES).astype(bool)
    for ending in ("png", "tif", "bmp"):
        Image.fromarray(values).save(tmp_path / f"a.{ending}")
        np.testing.assert_array_equal(decode(tmp_path / f"a.{ending}"), values.astype(np.float32))


def test_grey_jpeg(tmp_path):
    values = np.linspace(0, 255, 64 * 48).reshape(64, 48).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(decode(tmp_path / "a.jpg"), values / 255, atol=2 / 255)


def test_colour_jpeg(tmp_path):
    values = np.zeros((16, 16, 3), np.uint8)
    values[:] = 200, 100, 40
    Image.fromarray(values).save(tmp_path / "a.jpg", quality=100, subsampling=0)
    np.testing.assert_allclose(decode(tmp_path / "a.jpg"), values / 255, atol=2 / 255)


INKS = np.array([40, 90, 160, 30])


def test_cmyk_jpeg_as_adobe_writes_it(tmp_path):
    image = Image.new("CMYK", (16, 16), tuple(INKS.tolist()))
    image.save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    expected = (1 - INKS[:3] / 255) * (1 - INKS[3] / 255)
    np.testing.assert_allclose(decode(tmp_path / "a.jpg"), np.broadcast_to(expected, (16, 16, 3)), atol=2 / 255)


def test_cmyk_jpeg_without_the_mark_is_not_inverted(tmp_path):
    stored = io.BytesIO()
    Image.new("CMYK", (16, 16), tuple((255 - INKS).tolist())).save(stored, "JPEG", quality=100, subsampling=0)
    data = stored.getvalue()
    start = data.index(b"\xff\xee")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    (tmp_path / "a.jpg").write_bytes(data[:start] + data[end:])  # as stored, the inks are now INKS themselves
    expected = (1 - INKS[:3] / 255) * (1 - INKS[3] / 255)
    np.testing.assert_allclose(decode(tmp_path / "a.jpg"), np.broadcast_to(expected, (16, 16, 3)), atol=2 / 255)


def test_cmyk_tiff(tmp_path):
    Image.new("CMYK", (7, 5), tuple(INKS.tolist())).save(tmp_path / "a.tif")
    expected = (1 - INKS[:3] / 255) * (1 - INKS[3] / 255)
    np.testing.assert_allclose(decode(tmp_path / "a.tif"), np.broadcast_to(expected, (5, 7, 3)), atol=1 / 255)


def test_tiff_of_16_bits_both_ways_round(tmp_path, rng):
    values = rng.integers(0, 65536, SIDES).astype("<u2")
    expected = values.astype(np.float32) / np.float32(65535)
    np.testing.assert_array_equal(decode(tiff(tmp_path / "a.tif", values.tobytes(), 16)), expected)
    white_is_zero = decode(tiff(tmp_path / "b.tif", values.tobytes(), 16, photometric=0))
    np.testing.assert_allclose(white_is_zero, 1 - expected, atol=1e-7)
    Image.fromarray(values.astype(">u2")).save(tmp_path / "c.tif")
    np.testing.assert_array_equal(decode(tmp_path / "c.tif"), expected)


def test_tiff_of_8_bits_where_white_is_zero(tmp_path, rng):
    values = rng.integers(0, 256, SIDES, dtype=np.uint8)
    pixels = decode(tiff(tmp_path / "a.tif", values.tobytes(), 8, photometric=0))
    np.testing.assert_allclose(pixels, 1 - values / 255, atol=1e-7)


def test_tiff_of_12_bits_is_scaled_by_12(tmp_path, rng):
    values = rng.integers(0, 4096, (4, 8))
    data = b"".join(packed(values, 12))
    np.testing.assert_allclose(decode(tiff(tmp_path / "a.tif", data, 12, shape=(4, 8))), values / 4095, atol=1e-7)


def test_float_tiff_between_0_and_1(tmp_path, rng):
    values = rng.random(SIDES, dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(decode(tmp_path / "a.tif"), values)


ORIENTED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a[::-1].T,
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: a[:, ::-1].T,
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("bits", [8, 16])
def test_orientation_is_applied(tmp_path, rng, orientation, bits):
    values = rng.integers(0, 2**bits, SIDES).astype(f"u{bits // 8}")
    exif = Image.Exif()
    exif[274] = orientation
    expected = ORIENTED[orientation](values).astype(np.float32) / np.float32(2**bits - 1)
    for ending in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{ending}", exif=exif)
        np.testing.assert_array_equal(decode(tmp_path / f"a.{ending}"), expected)


def test_orientation_of_a_jpeg_decoded_at_reduced_scale(tmp_path):
    values = np.zeros((640, 320), np.uint8)
    values[:320] = 255  # bright above; turned clockwise, bright on the right
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(values).save(tmp_path / "a.jpg", exif=exif)
    pixels = decode(tmp_path / "a.jpg", minimum=40)
    assert pixels.shape == (80, 160)
    assert pixels[:, :70].max() < 0.1
    assert pixels[:, 90:].min() > 0.9


# What is refused


def message(path, **options):
    with pytest.raises(ImageError) as caught:
        decode(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(path.name)
    return text


def test_text_named_png(tmp_path):
    (tmp_path / "notes.png").write_text("patient comes back on Monday\n" * 9)
    assert message(tmp_path / "notes.png") == "notes.png: not a DICOM, NIfTI, PNG, JPEG, TIFF or BMP image"


def test_empty_missing_and_folder(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").mkdir()
    assert message(tmp_path / "a.png") == "a.png: empty file"
    assert message(tmp_path / "b.png") == "b.png: not a regular file"
    assert message(tmp_path / "c.png") == "c.png: No such file or directory"


def test_name_with_a_line_break_stays_on_one_line(tmp_path):
    (tmp_path / "a\nb.png").touch()
    with pytest.raises(ImageError, match=r"^'a\\nb.png': empty file$"):
        decode(tmp_path / "a\nb.png")


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "bmp"])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.98])
def test_truncated(tmp_path, rng, ending, keep):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    message(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_ends_in_an_image_or_an_image_error(tmp_path_factory, data):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.getbasetemp() / "damaged"
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP"]))
    stored = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8)).save(stored, kind)
    raw = bytearray(stored.getvalue())
    for position in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        try:
            pixels = decode(path)
        except ImageError:
            return
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [40, 60])  # beyond Pillow's limit it warns, beyond twice the limit it raises
def test_decompression_bomb(tmp_path, monkeypatch, side):
    Image.new("L", (side, side)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "too large" in message(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", side * side)
    assert decode(tmp_path / "a.png").shape == (side, side)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5, -0.1])
def test_float_pixels_without_a_scale(tmp_path, value):
    values = np.full(SIDES, 0.5, np.float32)
    values[1, 1] = value
    Image.fromarray(values).save(tmp_path / "a.tif")
    message(tmp_path / "a.tif")


def test_integers_without_a_scale(tmp_path):
    Image.fromarray(np.full(SIDES, -1000, np.int32)).save(tmp_path / "hu.tif")
    assert "signed" in message(tmp_path / "hu.tif")
    # Pillow reads signed bytes as unsigned ones.
    assert "signed" in message(tiff(tmp_path / "bytes.tif", b"\xff" * 35, 8, sample_format=2))
    assert "mode I" in message(tiff(tmp_path / "wide.tif", b"\xff" * 140, 32))


def test_several_pages(tmp_path):
    page = Image.new("L", (4, 4))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    assert "several pages" in message(tmp_path / "a.tif")


# Luma and size


def test_grey_is_bt601(rng):
    colour = rng.random((*SIDES, 3), dtype=np.float32)
    np.testing.assert_allclose(grey(colour), colour.astype(np.float64) @ [0.299, 0.587, 0.114], atol=1e-6)


def test_grey_of_equal_channels_is_that_channel_exactly(rng):
    plane = rng.random(SIDES, dtype=np.float32)
    np.testing.assert_array_equal(grey(np.stack([plane] * 3, axis=-1)), plane)
    np.testing.assert_array_equal(grey(np.stack([plane] * 3 + [np.zeros_like(plane)], axis=-1)), plane)
    np.testing.assert_array_equal(grey(plane), plane)


def test_grey_refuses_other_shapes():
    for shape in ((4,), (4, 4, 2), (1, 4, 4, 3)):
        with pytest.raises(ShapeError):
            grey(np.zeros(shape, np.float32))


def triangle_resize(pixels, size):
    """Slow twin: each output pixel is the mean of the input under a triangle as wide as the reduction, in float64."""

    def weights(length):
        scale = length / size
        wide = max(scale, 1.0)
        result = np.zeros((size, length))
        for out in range(size):
            centre = (out + 0.5) * scale
            for source in range(length):
                result[out, source] = max(0.0, 1 - abs((source + 0.5 - centre) / wide))
        return result / result.sum(axis=1, keepdims=True)

    return weights(pixels.shape[0]) @ pixels @ weights(pixels.shape[1]).T


SHAPES = [((90, 61), 32), ((20, 33), 48), ((64, 64), 64), ((300, 5), 16)]


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_resize_is_bilinear_with_antialias(rng, shape, size):
    pixels = rng.random(shape, dtype=np.float32)
    result = resize(pixels, size)
    assert result.shape == (size, size)
    assert result.dtype == np.float32
    assert result.flags.writeable
    np.testing.assert_allclose(result, triangle_resize(pixels.astype(np.float64), size), atol=1e-5)
    expected = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
    assert expected.mode == "F"
    np.testing.assert_allclose(result, np.asarray(expected), atol=1e-7)


def test_resize_agrees_with_torchvision(rng):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.functional")
    torch.set_num_threads(1)
    for shape, size in SHAPES:
        pixels = rng.random((*shape, 3), dtype=np.float32)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)
        expected = functional.resize(tensor, [size, size], antialias=True).permute(1, 2, 0)
        np.testing.assert_allclose(resize(pixels, size), expected.numpy(), atol=1e-5)


def test_resize_of_one_value_keeps_it():
    np.testing.assert_array_equal(resize(np.ones((37, 91), np.float32), 24), np.ones((24, 24), np.float32))
    with pytest.raises(ShapeError):
        resize(np.ones((0, 4), np.float32), 8)


@pytest.mark.parametrize("shape", [(1000, 900), (900, 1000, 3)])
def test_reduced_jpeg_stays_within_a_grey_level(tmp_path, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    values = 127 + 100 * np.sin(x / 60) * np.cos(y / 45)
    values = values[..., None].repeat(3, axis=2) if len(shape) == 3 else values
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    reduced = decode(tmp_path / "a.jpg", minimum=112)
    assert 224 <= min(reduced.shape[:2]) < min(shape[:2])
    whole = resize(decode(tmp_path / "a.jpg"), 112)
    np.testing.assert_allclose(resize(reduced, 112), whole, atol=1.5 / 255)


# Input specification


def at(path):
    return Record(id=path.stem, path=path, relative=path.name)


def test_load_and_prepare_grey(tmp_path, rng):
    values = rng.integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    spec = InputSpec(size=16, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    pixels = spec.load(at(tmp_path / "a.png"))
    np.testing.assert_array_equal(pixels, values.astype(np.float32) / 255)
    batch = spec.prepare(np.stack([pixels, pixels * 0]))
    assert batch.shape == (2, 3, 16, 16)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        np.testing.assert_allclose(batch[0, channel], (values / 255 - mean) / std, atol=1e-6)
        np.testing.assert_allclose(batch[1, channel], -mean / std, atol=1e-6)


def test_load_and_prepare_colour(tmp_path, rng):
    values = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values[..., 0]).save(tmp_path / "b.png")
    spec = InputSpec(size=16, colour="rgb")
    colour, plain = spec.load(at(tmp_path / "a.png")), spec.load(at(tmp_path / "b.png"))
    np.testing.assert_array_equal(colour, values.astype(np.float32) / 255)
    np.testing.assert_array_equal(plain, values[..., :1].repeat(3, axis=2).astype(np.float32) / 255)
    batch = spec.prepare(np.stack([colour, plain]))
    for channel in range(3):
        expected = (values[..., channel] / 255 - spec.mean[channel]) / spec.std[channel]
        np.testing.assert_allclose(batch[0, channel], expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_load_takes_the_luma_of_colour_files(tmp_path, rng, mode):
    values = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(values).convert(mode).save(tmp_path / "a.tif")
    expected = grey(decode(tmp_path / "a.tif"))
    np.testing.assert_allclose(InputSpec(size=16).load(at(tmp_path / "a.tif")), expected, atol=1e-6)


def test_grey_image_saved_as_colour_loads_the_same(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(np.stack([values] * 3 + [values * 0], axis=-1)).save(tmp_path / "b.png")
    spec = InputSpec(size=16)
    np.testing.assert_array_equal(spec.load(at(tmp_path / "a.png")), spec.load(at(tmp_path / "b.png")))


def test_prepare_leaves_its_input_and_refuses_other_shapes():
    pixels = np.full((1, 4, 4), 0.5, np.float32)
    InputSpec(size=4).prepare(pixels)
    assert (pixels == 0.5).all()
    for shape in ((4, 4), (1, 4, 4, 2), (1, 3, 4, 4)):
        with pytest.raises(ShapeError):
            InputSpec(size=4).prepare(np.zeros(shape, np.float32))


def test_specification_survives_json():
    import json

    spec = InputSpec(size=112, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), colour="rgb")
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_specification_refuses_nonsense():
    for options in ({"size": 0}, {"size": 1.5}, {"colour": "blue"}, {"std": (0.0, 1.0, 1.0)}, {"mean": (0.5,)}):
        with pytest.raises(UsageError):
            InputSpec(**options)
    stored = InputSpec().to_dict()
    for broken in ({}, {**stored, "gamma": 2}, {**stored, "mean": "grey"}, {**stored, "std": [1, 1, float("nan")]}):
        with pytest.raises(ArtifactError):
            InputSpec.from_dict(broken)


# Stream


def records(count):
    return [Record(id=f"{i:03}", path=Path(str(i)), relative=str(i)) for i in range(count)]


def slow_load(record):
    """Finish out of order; every seventh fails."""
    number = int(record.path.name)
    time.sleep(0.001 * (number * 7 % 5))
    if number % 7 == 3:
        raise ImageError(f"{number}: damaged")
    return np.full((2, 2), number, np.float32)


@pytest.mark.parametrize("workers", [0, 1, 3, 8])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_stream_is_the_same_for_any_number_of_workers(workers, batch):
    batches = list(stream(records(30), slow_load, workers=workers, batch=batch))
    assert [len(kept) for kept, _ in batches] == [min(batch, 30 - i) for i in range(0, 30, batch)]
    seen = [(record, pixels) for kept, outcomes in batches for record, pixels in zip(kept, outcomes, strict=True)]
    assert [record.id for record, _ in seen] == [f"{i:03}" for i in range(30)]
    for record, pixels in seen:
        if int(record.id) % 7 == 3:
            assert isinstance(pixels, ImageError)
            assert str(pixels) == f"{int(record.id)}: damaged"
        else:
            np.testing.assert_array_equal(pixels, np.full((2, 2), int(record.id), np.float32))


@pytest.mark.parametrize(("workers", "batch"), [(2, 2), (8, 1)])
def test_stream_reads_only_so_far_ahead(workers, batch):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Record(id=str(taken), path=Path(str(taken)), relative=str(taken))

    consumed = 0
    running = stream(endless(), lambda record: np.zeros(1), workers=workers, batch=batch)
    for kept, _ in running:
        consumed += len(kept)
        time.sleep(0.005)  # the workers have time to run away
        assert taken - consumed <= max(3 * batch, 2 * workers)
        if consumed >= 30:
            break
    running.close()


def test_stream_stops_its_threads_when_the_consumer_stops():
    running = stream(records(1000), slow_load, workers=3, batch=2)
    next(running)
    running.close()
    del running
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_stream_does_not_hide_other_errors():
    def broken(record):
        raise ZeroDivisionError

    for workers in (0, 2):
        with pytest.raises(ZeroDivisionError):
            list(stream(records(3), broken, workers=workers, batch=2))


def test_stream_of_nothing_and_bad_numbers():
    assert list(stream([], slow_load, workers=2, batch=2)) == []
    for workers, batch in ((-1, 1), (1, 0)):
        with pytest.raises(UsageError):
            stream([], slow_load, workers=workers, batch=batch)


def test_content_hash_knows_the_bytes_not_the_name(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abc")
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b") == "ba7816bf8f01cfea"  # FIPS 180, "abc"
    with pytest.raises(ImageError, match=r"^c: No such file"):
        content_hash(tmp_path / "c")


def test_import_is_light_and_leaves_the_warnings_alone():
    code = (
        "import sys, warnings, numpy; before = list(warnings.filters); import cbir_cli.images, cbir_cli.data;"
        "assert warnings.filters == before; print([m for m in ('PIL', 'torch', 'h5py', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
