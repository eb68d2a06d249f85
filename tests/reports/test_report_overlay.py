"""Maps and pixels as image files: decoded again with Pillow and compared with the numbers they came from."""

import io

import numpy as np
import pytest
from PIL import Image

from cbir_cli.reports import overlay
from cbir_cli.reports.overlay import Scale


def decode(data: bytes, mode: str = "RGBA") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode), dtype=np.float64)


def test_opacity_and_lightness_rise_with_a_positive_map() -> None:
    values = np.linspace(0, 2, 64, dtype=np.float32)[None].repeat(2, axis=0)
    drawn = decode(overlay.heat(values, Scale(2.0, False, False), (2, 64)))
    assert drawn.shape == (2, 64, 4)
    alpha, lightness = drawn[0, :, 3], drawn[0, :, :3] @ [0.299, 0.587, 0.114]
    assert alpha[0] == 0 and alpha[-1] == 255
    assert (np.diff(alpha) >= 0).all() and (np.diff(lightness) >= 0).all()
    np.testing.assert_allclose(alpha / 255, (values[0] / 2) ** 0.7, atol=0.05)  # half a step of 32


def test_sign_shows_as_hue_and_as_lightness() -> None:
    drawn = decode(overlay.heat(np.array([[-1.0, 0.0, 1.0]]), Scale(1.0, True, False), (1, 3)))[0]
    negative, zero, positive = drawn
    assert negative[2] > 2 * negative[0] and positive[0] > 2 * positive[2]
    assert zero[3] == 0 and negative[3] == positive[3] == 255
    assert positive[:3] @ [0.299, 0.587, 0.114] > 1.5 * (negative[:3] @ [0.299, 0.587, 0.114])


def test_values_beyond_the_scale_get_the_colour_of_its_end() -> None:
    drawn = decode(overlay.heat(np.array([[1.0, 5.0]]), Scale(1.0, False, True), (1, 2)))[0]
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_a_map_of_another_size_is_stretched_smoothly() -> None:
    drawn = decode(overlay.heat(np.array([[0.0, 1.0]]), Scale(1.0, False, False), (4, 32)))
    share = np.interp((np.arange(32) + 0.5) / 32, [0.25, 0.75], [0, 1])  # bilinear between the two pixel centres
    np.testing.assert_allclose(drawn[0, :, 3] / 255, share**0.7, atol=0.06)
    np.testing.assert_array_equal(drawn[0], drawn[3])


def test_a_zero_map_is_clear() -> None:
    for signed in (False, True):
        assert not decode(overlay.heat(np.zeros((3, 3)), Scale(0.0, signed, False), (6, 6)))[..., 3].any()


def test_the_scale_ignores_a_single_hot_pixel_and_says_so() -> None:
    values = np.full((100, 100), 0.5)
    values[0, 0] = 9.0
    assert overlay.scale([values]) == Scale(0.5, False, True)
    assert overlay.scale([values]).ends == ("0", "≥ 0.5")
    assert overlay.scale([values, -2 * values]) == Scale(1.0, True, True)
    assert overlay.scale([values, -2 * values]).ends == ("≤ −1", "≥ 1")


def test_the_scale_of_nearly_empty_maps() -> None:
    values = np.zeros((100, 100))
    assert overlay.scale([values]) == Scale(0.0, False, False)
    values[3, 4] = 0.25
    assert overlay.scale([values]) == Scale(0.25, False, False)
    assert overlay.scale([]) is None


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_lossless_pixels_come_back(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    back = decode(overlay.lossless(pixels), "L" if len(shape) == 2 else "RGB")
    np.testing.assert_array_equal(back, pixels)


def test_compact_pixels_stay_close() -> None:
    y, x = np.mgrid[:64, :64]
    pixels = (120 + 60 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint8)
    assert np.abs(decode(overlay.compact(pixels), "L") - pixels).max() < 8


def test_colour_pixels_that_are_grey_take_no_more_room_than_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    assert overlay.lossless(np.stack([pixels] * 3, axis=2)) == overlay.lossless(pixels)


def test_shrink_keeps_proportions_and_never_enlarges() -> None:
    pixels = np.full((100, 400, 3), 7, dtype=np.uint8)
    assert overlay.shrink(pixels, 200).shape == (50, 200, 3) and (overlay.shrink(pixels, 200) == 7).all()
    assert overlay.shrink(pixels, 400) is pixels
    assert overlay.shrink(np.zeros((1, 4000), np.uint8), 10).shape == (1, 10)


def test_the_colour_bar_runs_from_the_lowest_value_to_the_highest() -> None:
    for signed in (False, True):
        values, span = overlay.ramp(Scale(0.37, signed, True))
        drawn = decode(overlay.heat(values, span, (1, values.shape[1])))[0]
        assert drawn[-1, 3] == 255 and drawn[0, 3] == (255 if signed else 0)


def test_data_uri_names_the_kind_of_file() -> None:
    pixels = np.zeros((4, 4), np.uint8)
    assert overlay.data_uri(overlay.lossless(pixels)).startswith("data:image/png;base64,iVBOR")
    assert overlay.data_uri(overlay.compact(pixels)).startswith("data:image/jpeg;base64,/9j/")
