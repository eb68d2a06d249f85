"""Figures of explanations: numbers and pictures read back from the SVG."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from test_report_figures import texts

from cbir_cli.errors import ShapeError
from cbir_cli.reports import explanation_figures as figures
from cbir_cli.reports import overlay

PATH = re.compile(
    r'<path d="(M [^"z]*)"[^>]*style="fill: none; '
    r"stroke(?:-dasharray: [^;]*; stroke-dashoffset: [^;]*; stroke)?: (#\w+)"
)


def lines(svg: str, colour: str) -> list[np.ndarray]:
    """Return the points (T, 2) of each curve of a colour."""
    found = [d for d, c in PATH.findall(svg) if c == colour]
    return [np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", d), float) for d in found]


def test_a_mean_curve_is_the_mean_of_its_maps() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 9)
    values = rng.random((5, 9))
    svg = figures.mean_curves(
        {"occlusion": {"insertion": {"map": values}, "deletion": {"map": values[:1]}}}, {"occlusion": x}
    )
    insertion, deletion = lines(svg, "#0b4f8a")[:2]
    for drawn, expected in ((insertion, values.mean(axis=0)), (deletion, values[0])):
        assert len(drawn) == 9
        # The height in the figure is a straight function of the value.
        np.testing.assert_allclose(np.corrcoef(drawn[:, 1], expected)[0, 1], -1, atol=1e-6)
        np.testing.assert_allclose(np.corrcoef(drawn[:, 0], x)[0, 1], 1, atol=1e-6)
    said = texts(svg)
    assert {"occlusion", "map", "insertion: similarity", "deletion: similarity"} <= set(said)
    assert "random map" not in said


def test_correlations_leave_out_maps_without_ranks() -> None:
    values = np.array([[0.9, 0.5, np.nan], [0.7, np.nan, np.nan], [0.2, 0.1, np.nan]])
    svg = figures.randomisation({"ig": {"cascade": values}}, {"ig": ["out", "block2", "conv"]}, ylabel="rank")
    (drawn,) = [line for line in lines(svg, "#0b4f8a") if len(line) == 2]
    zero = next(line for line in lines(svg, "#57606a") if len(line) == 2 and line[0, 1] == line[1, 1])[0, 1]
    height = zero - drawn[:, 1]
    np.testing.assert_allclose(height[0] / height[1], 0.6 / 0.3, rtol=1e-3)
    assert {"out", "block2", "conv", "ig", "cascade", "rank"} <= set(texts(svg))


def pictures(svg: str) -> list[np.ndarray]:
    """Return the images (8, 8, 3) of a figure as they are seen."""
    found = []
    for attributes in re.findall(r"<image ([^>]*)/>", svg):
        data = re.search(r'xlink:href="data:image/png;base64,\s*([^"]+)"', attributes)[1]
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float)
        upside_down = re.search(r"(?:matrix\(\S+ \S+ \S+ |scale\(\S+ )-", attributes)
        found.append(picture[::-1] if upside_down else picture)
    return [one for one in found if one.shape[:2] == (8, 8)]  # not the colour bars


def test_classes_show_averages_and_signed_differences_from_the_reference() -> None:
    images = np.stack([np.full((8, 8), grey, np.uint8) for grey in (10, 100, 200)])
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0, :4], maps[1, 4:], maps[2, :, :4] = 0.5, 1.0, 0.25
    svg = figures.classes(["covid", "pneumonia", "normal"], images, maps, [5, 1, 9], reference=2)
    said = texts(svg)
    assert {"5 images", "1 image", "covid −", "pneumonia −", "normal", "average map", "difference"} <= set(said)
    shown = pictures(svg)
    assert len(shown) == 9
    for drawn, grey in zip(shown[:3], (10, 100, 200), strict=True):
        assert np.abs(drawn - grey).max() <= 1
    pairs = {0: (0, 2), 1: (1, 2), 2: (1, 0)}
    differences = {place: maps[i] - maps[j] for place, (i, j) in pairs.items()}
    limit = max(np.percentile(np.abs(d), 99.5) for d in differences.values())
    colours = overlay.colours(True)
    for difference, seen in zip(differences.values(), shown[6:], strict=True):
        expected = 255 * colours(0.5 + 0.5 * np.clip(difference / limit, -1, 1))[..., :3]
        np.testing.assert_allclose(seen, expected, atol=3)


@pytest.mark.parametrize(("count", "expected"), [(1, 2), (2, 5), (4, 11)])
def test_other_numbers_of_classes(count: int, expected: int) -> None:
    images = np.zeros((count, 8, 8), np.uint8)
    svg = figures.classes(
        [f"c{i}" for i in range(count)], images, np.random.default_rng(0).random((count, 8, 8)), [1] * count
    )
    assert len(pictures(svg)) == expected


def test_same_input_same_bytes_and_no_address() -> None:
    rng = np.random.default_rng(0)
    images, maps = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8), rng.random((2, 8, 8))
    first, second = (figures.classes(["a", "b"], images, maps, [1, 2]) for _ in range(2))
    assert first == second
    assert set(re.findall(r"https?://[^\"]+", first)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_names_never_become_markup(hostile) -> None:
    x = np.linspace(0, 1, 3)
    for evil in hostile:
        svg = figures.mean_curves({evil: {"insertion": {"map": x[None]}}}, {evil: x})
        svg += figures.randomisation({evil: {"cascade": x[None]}}, {evil: [evil, "b", "c"]}, ylabel=evil)
        svg += figures.classes([evil], np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4)), [1])
        assert "<script" not in svg and "<img" not in svg and "<svg onload" not in svg


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ShapeError):
        figures.mean_curves({}, {})
    with pytest.raises(ShapeError):
        figures.randomisation({"a": {}}, {"a": []}, ylabel="")
    with pytest.raises(ShapeError):
        figures.classes([], np.zeros((0, 4, 4), np.uint8), np.zeros((0, 4, 4)), [])
    with pytest.raises(ShapeError):
        figures.classes(["a"], np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4), np.nan), [1])
    with pytest.raises(ShapeError):
        figures.classes(["a"], np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4)), [1], reference=1)
