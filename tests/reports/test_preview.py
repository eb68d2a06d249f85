"""Pictures of maps: decoded again, and compared with the colours worked out in float64; and the folder of them."""

import io
import logging
import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image

from cbir_cli.errors import CbirError, ImageError, ShapeError, UsageError
from cbir_cli.records import Record
from cbir_cli.reports import preview as module
from cbir_cli.reports.preview import preview
from cbir_cli.stages import preview as stage

EDGE, HEAD, FOOT = 12, 34, 40  # px around the panels


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.float64)


def parts(data: bytes, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left panel, right panel, and what is below the right one."""
    drawn = decode(data)
    assert drawn.shape == (HEAD + height + FOOT, 3 * EDGE + 2 * max(width, 240), 3)
    right = 2 * EDGE + max(width, 240)
    rows = slice(HEAD, HEAD + height)
    return drawn[rows, EDGE : EDGE + width], drawn[rows, right : right + width], drawn[HEAD + height :, right:-EDGE]


def centres(panel: np.ndarray, across: int) -> np.ndarray:
    """Colours at the centres of a board of fields."""
    step = panel.shape[0] // across
    return panel[step // 2 :: step, step // 2 :: step]


def fields(values: np.ndarray, side: int = 56) -> np.ndarray:
    return np.kron(values, np.ones((side, side), values.dtype))


GREY = np.array([[0, 80, 160, 255], [255, 10, 90, 30], [5, 5, 200, 200], [60, 120, 180, 240]], np.uint8)
SHARES = np.linspace(0, 1, 16).reshape(4, 4).astype(np.float32)


def test_the_image_is_left_as_it_is_and_twice_as_large():
    left, _, _ = parts(preview(fields(GREY), fields(SHARES), caption="x"), 448, 448)
    np.testing.assert_array_equal(centres(left, 4), GREY[..., None].repeat(3, axis=2))


def test_a_positive_map_is_inferno_over_the_image():
    _, right, _ = parts(preview(fields(GREY), 0.02 * fields(SHARES), caption="x"), 448, 448)
    alpha = 0.85 * SHARES.astype(float)[..., None] ** 0.7
    expected = (1 - alpha) * GREY[..., None] + alpha * 255 * colormaps["inferno"](0.25 + 0.75 * SHARES)[..., :3]
    np.testing.assert_allclose(centres(right, 4), expected, atol=4)  # half a colour of 127


def test_a_map_with_both_signs_is_seismic_over_the_faded_image():
    shares = 2 * SHARES - 1
    _, right, _ = parts(preview(fields(GREY), 30 * fields(shares), caption="x"), 448, 448)
    alpha = 0.85 * np.abs(shares.astype(float))[..., None] ** 0.7
    faded = 127.5 + GREY[..., None] / 2
    expected = (1 - alpha) * faded + alpha * 255 * colormaps["seismic"](0.5 + 0.5 * shares)[..., :3]
    np.testing.assert_allclose(centres(right, 4), expected, atol=5)
    assert centres(right, 4)[0, 0] @ [-1, 0, 1] > 40 and centres(right, 4)[3, 3] @ [1, 0, -1] > 40  # blue below, red


def test_where_a_map_is_zero_the_image_shows():
    values = fields(np.where(SHARES > 0.5, SHARES, 0))
    left, right, _ = parts(preview(fields(GREY), values, caption="x"), 448, 448)
    np.testing.assert_array_equal(centres(right, 4)[:2], centres(left, 4)[:2])
    assert (centres(right, 4)[2:] != centres(left, 4)[2:]).any(axis=2).all()


def test_the_scale_stands_beside_the_colour_bar_and_the_colours_are_relative_to_it():
    once, tenfold = (preview(fields(GREY), f * fields(SHARES), caption="x") for f in (1, 10))
    (_, one, bar), (_, ten, other) = parts(once, 448, 448), parts(tenfold, 448, 448)
    np.testing.assert_array_equal(one, ten)
    assert (bar != other).any()
    middle = bar[FOOT // 2]
    assert middle[-1].max() < 60  # room for the value at the end
    colourful = np.flatnonzero(np.ptp(middle, axis=1) > 60)
    assert len(colourful) > 200 and np.diff(middle[colourful] @ [0.299, 0.587, 0.114]).min() > -2  # lighter and lighter


def test_a_bar_of_both_signs_runs_from_blue_to_red():
    _, _, bar = parts(preview(fields(GREY), fields(2 * SHARES - 1), caption="x"), 448, 448)
    middle = bar[FOOT // 2]
    blue, red = (np.flatnonzero(middle @ way > 60) for way in ([-1, 0, 1], [1, 0, -1]))
    assert len(blue) > 50 and len(red) > 50 and blue.max() < red.min()


def test_a_few_hot_pixels_do_not_hide_the_rest():
    values = fields(SHARES)
    hot = values.copy()
    hot[100, 100:110] = 1000.0
    left, right, _ = parts(preview(fields(GREY), hot, caption="x"), 448, 448)
    _, plain, _ = parts(preview(fields(GREY), values, caption="x"), 448, 448)
    np.testing.assert_allclose(centres(right, 4), centres(plain, 4), atol=1)
    assert (centres(right, 4) != centres(left, 4)).any()


@pytest.mark.parametrize("signed", [False, True])
def test_a_map_that_is_all_zero_is_said_to_be(signed):
    data = preview(fields(GREY), np.zeros((8, 8), np.float16), caption="x", signed=signed)
    left, right, below = parts(data, 448, 448)
    np.testing.assert_allclose(centres(right, 4), 127.5 + centres(left, 4) / 2 if signed else centres(left, 4), atol=1)
    assert np.ptp(below, axis=2).max() < 10  # no colours
    assert below[:, :60].max() > 200 and below[:, 100:].max() < 30  # words, and nothing right of them


def test_channels_are_summed():
    rng = np.random.default_rng(0)
    channels = rng.normal(size=(3, 32, 32))
    image = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    assert preview(image, channels, caption="x") == preview(image, channels.sum(axis=0), caption="x")


def test_colours_of_both_signs_can_be_asked_for():
    values = fields(SHARES)
    assert preview(fields(GREY), values, caption="x", signed=False) == preview(fields(GREY), values, caption="x")
    _, right, _ = parts(preview(fields(GREY), values, caption="x", signed=True), 448, 448)
    np.testing.assert_allclose(centres(right, 4)[0, 0], 127.5, atol=1)  # black, faded
    negative = preview(fields(GREY), -values, caption="x")  # never drawn as if they were nothing
    assert preview(fields(GREY), -values, caption="x", signed=False) == negative


@pytest.mark.parametrize(
    ("shape", "panel"),
    [((96, 96), (480, 480)), ((224, 224), (448, 448)), ((448, 300), (448, 300)), ((600, 500), (600, 500)),
     ((60, 20), (480, 160)), ((1, 1), (448, 448)), ((20, 600), (20, 600))],
)  # fmt: skip
def test_small_images_are_enlarged_by_a_whole_factor(shape, panel):
    left, right, _ = parts(preview(np.full(shape, 77, np.uint8), np.zeros((4, 4)), caption="x"), *panel)
    assert (left == 77).all() and (right == 77).all()


def test_the_caption_is_at_the_top_and_the_warning_at_the_bottom():
    image, values = fields(GREY), fields(SHARES)
    one, other = (decode(preview(image, values, caption=c)) for c in ("deep-taylor   a", "deep-taylor   b"))
    differs = np.argwhere((one != other).any(axis=2))
    assert len(differs) and differs[:, 0].max() < HEAD
    assert one[HEAD + 448 :, : EDGE + 448].max() > 120


@pytest.mark.parametrize(
    "caption", ["x" * 3000, "two\nlines\t\x00", "scan\udce9.png", "\ud800", "Größe 図 \u202e", "", "<b>&amp;"]
)
def test_any_caption_is_drawn_within_the_picture(caption):
    drawn = decode(preview(np.zeros((60, 60), np.uint8), np.zeros((4, 4)), caption=caption))
    assert (drawn[:HEAD, -EDGE:] == drawn[0, 0]).all() and (drawn[:6] == drawn[0, 0]).all()


def test_a_long_caption_keeps_its_ends():
    font = module._font(15)
    text = "deep-taylor   " + "folder/" * 40 + "00000001_000.png"
    cut = module._fit(text, font, 400)
    assert font.getlength(cut) <= 400 < font.getlength(text)
    start, end = cut.split("…")
    assert text.startswith(start) and text.endswith(end) and start.startswith("deep-taylor") and "001_000.png" in end
    assert module._fit("a\nb\udce9", font, 400) == "a\\nb\\udce9"


def test_the_same_picture_again():
    assert preview(fields(GREY), fields(SHARES), caption="x") == preview(fields(GREY), fields(SHARES), caption="x")


@pytest.mark.parametrize(
    ("image", "values"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4))),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4))),
        (np.zeros((0, 4), np.uint8), np.zeros((4, 4))),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.int64)),
        (np.zeros((4, 4), np.uint8), np.zeros((2, 4, 4))),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 0))),
        (np.zeros((4, 4), np.uint8), np.full((4, 4), np.nan)),
        (np.zeros((4, 4), np.uint8), np.full((3, 4, 4), np.inf)),
    ],
)
def test_arrays_that_cannot_be_drawn_are_refused(image, values):
    with pytest.raises(ShapeError):
        preview(image, values, caption="x")


# --- the folder -------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=300), unique=True, max_size=20))
def test_no_two_ids_share_a_file_on_any_file_system(ids):
    names = stage.file_names(ids)
    assert len({name.casefold() for name in names}) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_~][A-Za-z0-9._~-]*\.png", name) and len(name) < 200 for name in names)


def test_plain_ids_are_kept_and_others_are_still_to_be_recognised():
    assert stage.file_names(["00000001_000", "a.png", "a"]) == ["00000001_000.png", "a.png.png", "a.png"]
    (one,), (other,) = stage.file_names(["CXR/1.png"]), stage.file_names(["CXR_1.png"])
    assert re.fullmatch(r"CXR_1\.png~[0-9a-f]{16}\.png", one) and other == "CXR_1.png.png"
    assert stage.file_names(["b", "B", "CXR/1.png"])[2] == one  # does not depend on the others
    assert {n.casefold()[:2] for n in stage.file_names(["b", "B"])} == {"b~"}
    assert stage.file_names(["../../etc/passwd"])[0].startswith("_.._etc_passwd~")


PIXELS = {"p/a": 0.25, "p/b": 0.5, "c": 1.0}


@pytest.fixture
def some():
    records = [Record(id=key, path=key, relative=key, patient="a name") for key in PIXELS]
    maps = np.random.default_rng(5).random((3, 16, 16)).astype(np.float16)
    scale = np.array([1e-3, 0, 20], np.float32)
    maps[1] = 0
    return records, maps, scale


def load(record):
    return np.full((16, 16), PIXELS[record.id], np.float32)


def test_each_image_has_its_picture_in_the_method_s_own_units(tmp_path, some, caplog):
    records, maps, scale = some
    folder = tmp_path / "new" / "previews"
    with caplog.at_level(logging.INFO, "cbir"):
        assert stage.write_previews(str(folder), records, load, maps, scale, method="deep-taylor") == 3
    assert caplog.messages == ["3 previews are in previews"]
    assert sorted(os.listdir(folder)) == sorted(stage.file_names(list(PIXELS)))
    for record, name, one, size in zip(records, stage.file_names(list(PIXELS)), maps, scale, strict=True):
        image = np.full((16, 16), round(255 * PIXELS[record.id]), np.uint8)
        own = one.astype(np.float64) * size
        expected = preview(image, own, caption=f"deep-taylor   {record.id}")
        np.testing.assert_allclose(decode((folder / name).read_bytes()), decode(expected), atol=3)
        assert b"a name" not in (folder / name).read_bytes()


def test_all_pictures_of_a_run_have_the_same_kind_of_colours(tmp_path, some):
    records, maps, scale = some
    maps[2] = -maps[2]
    stage.write_previews(str(tmp_path), records, load, maps, scale, method="x")
    first = decode((tmp_path / stage.file_names(["p/a"])[0]).read_bytes())
    expected = preview(np.full((16, 16), 64, np.uint8), maps[0] * scale[0], caption="x   p/a", signed=True)
    np.testing.assert_allclose(first, decode(expected), atol=3)


def test_colour_images_and_channels(tmp_path, some):
    records, _, scale = some
    maps = np.random.default_rng(5).normal(size=(3, 3, 16, 16)).astype(np.float16)
    stage.write_previews(
        str(tmp_path), records, lambda record: np.full((16, 16, 3), [0, 1, 0], np.float32), maps, scale, method="x"
    )
    left, *_ = parts((tmp_path / "c.png").read_bytes(), 448, 448)
    assert (left == round(255 * 0.587)).all()


def test_pictures_of_an_earlier_run_are_replaced_and_other_files_are_not(tmp_path, some):
    records, maps, scale = some
    for method in ("a", "b"):
        stage.write_previews(str(tmp_path), records, load, maps, scale, method=method)
    (tmp_path / "note.txt").write_text("kept")
    original = tmp_path / "c.png"
    Image.new("L", (16, 16)).save(original)
    before = original.read_bytes()
    with pytest.raises(CbirError, match=r"c\.png: is there already and no preview"):
        stage.check(str(tmp_path), list(PIXELS))
    with pytest.raises(CbirError, match="no preview"):
        stage.write_previews(str(tmp_path), records, load, maps, scale, method="c")
    assert original.read_bytes() == before and (tmp_path / "note.txt").read_text() == "kept"


def test_a_folder_that_cannot_be_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        with pytest.raises(CbirError, match="is a file, not a folder"):
            stage.check(str(tmp_path / name), [])
    with pytest.raises(UsageError, match="--preview"):
        stage.check("", [])
    stage.check(str(tmp_path / "new" / "er"), ["a"])
    assert os.listdir(tmp_path) == ["file"]  # nothing is made yet


def test_an_image_that_is_gone_is_named_and_left_out(tmp_path, some, caplog):
    records, maps, scale = some

    def fail(record):
        if record.id == "p/b":
            raise ImageError("b: No such file or directory")
        return load(record)

    with caplog.at_level(logging.INFO, "cbir"):
        assert stage.write_previews(str(tmp_path), records, fail, maps, scale, method="x") == 2
    assert caplog.messages[0] == "no preview of p/b: b: No such file or directory"
    assert len(os.listdir(tmp_path)) == 2


def test_a_failed_write_is_one_error_and_leaves_the_old_picture(tmp_path, some, monkeypatch):
    records, maps, scale = some
    stage.write_previews(str(tmp_path), records, load, maps, scale, method="x")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CbirError, match=r"\.png: No space left on device"):
        stage.write_previews(str(tmp_path), records, load, maps, scale, method="y")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
