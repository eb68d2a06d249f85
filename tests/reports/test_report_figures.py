"""Figures: positions read back from the SVG, safety of names, same bytes for same input."""

import re
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cbir_cli.errors import ShapeError
from cbir_cli.reports import figures, training_figures

POINT = re.compile(r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: #b3541e')
TICK = re.compile(
    r'<g id="ytick_\d+">.*?<use xlink:href="#\w+" x="[\d.]+" y="([\d.]+)".*?<text[^>]*>([\d.−-]+)</text>', re.S
)


def texts(svg: str) -> list[str]:
    return [t.text or "" for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_score_is_a_point_at_its_height() -> None:
    scores = {"SSIM": [0.2, 0.8, 0.5], "IG": [1.0, 0.9, float("nan")]}
    svg = figures.box_plot({"Top-4": scores})
    ticks = np.array([(float(y), float(v)) for y, v in TICK.findall(svg)])
    slope, offset = np.polyfit(ticks[:, 0], ticks[:, 1], 1)
    found = sorted(slope * float(y) + offset for _, y in POINT.findall(svg))
    np.testing.assert_allclose(found, [0.2, 0.5, 0.8, 0.9, 1.0], atol=1e-3)


def test_equal_scores_do_not_hide_each_other() -> None:
    points = POINT.findall(figures.box_plot({"Top-4": {"IG": [0.5] * 5}}))
    assert len(points) == len(set(points)) == 5


def test_the_random_baseline_is_drawn_and_said() -> None:
    values = {"Top-4": {"IG": [0.9]}, "Top-7": {"IG": [0.8]}}
    said = texts(figures.box_plot(values, {"Top-4": 0.443}))
    assert sum("random (dashed) 0.44" in t for t in said) == 1
    assert "random" not in " ".join(texts(figures.box_plot(values)))
    assert "stroke-dasharray" in figures.box_plot(values, {"Top-4": 0.443})
    assert "stroke-dasharray" not in figures.box_plot(values)


def test_history_names_its_curves_once_and_the_epoch_kept() -> None:
    curves = {"loss": {"train": [0.7, 0.5], "validation": [0.8, float("nan")]}, "F1": {"validation": [0.3, 0.4]}}
    said = texts(training_figures.history(curves, best=2))
    for name in ("loss", "F1", "train", "validation", "epoch 2, kept"):
        assert said.count(name) == 1


def test_same_input_same_bytes_whatever_the_settings() -> None:
    import matplotlib

    def draw() -> tuple[str, ...]:
        return (
            figures.box_plot({"a": {"m": [0.1, 0.2]}}, {"a": 0.1}),
            training_figures.history({"loss": {"train": [1.0, 0.5]}}, best=1),
        )

    first = draw()
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert draw() == first
        assert matplotlib.rcParams["font.size"] == 30  # and the reader's settings are left alone
    for svg in first:
        assert svg.startswith("<svg") and "<metadata" not in svg and "DOCTYPE" not in svg
        assert set(re.findall(r"https?://[^\"]+", svg)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }


def test_names_are_text_and_never_markup_nor_mathematics(hostile: tuple[str, ...]) -> None:
    names = (*hostile, r"$\frac{1}$", "a\x00b", "\ud800")
    svg = figures.box_plot({name: {name: [0.5]} for name in names}, dict.fromkeys(names, 0.4), ylabel=names[0])
    svg += training_figures.history({name: {name: [0.5]} for name in names})
    assert "<script" not in svg and "<img" not in svg and "<svg onload" not in svg
    said = " ".join(texts(svg[: svg.index("</svg>") + 6]))
    assert hostile[0] in said and "{{ 7*7 }}$x$" in said and r"$\frac{1}$" in said


def test_long_names_leave_room_for_the_figure() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = figures.box_plot({"p" * 99: {"m" * 99: [0.5]}})
    assert "m" * 31 + "…" in texts(svg) and "m" * 32 not in svg


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ShapeError):
        figures.box_plot({})
    with pytest.raises(ShapeError):
        training_figures.history({})


def boxes_of(drawing: figures.Drawing) -> list[dict[str, np.ndarray]]:
    """Return for each panel the points, and the heights of all horizontal lines of its boxes."""
    found = []
    for axes in drawing.figure().axes:
        points = [line for line in axes.lines if line.get_marker() == "o"]
        lines = [line.get_ydata() for line in axes.lines if line.get_marker() in ("", "None", None)]
        found.append({"points": [np.asarray(p.get_xydata()) for p in points], "lines": lines})
    return found


def test_a_box_is_that_of_numpy_with_whiskers_of_one_and_a_half_quartile_distances() -> None:
    scores = [0.0, 0.4, 0.45, 0.5, 0.55, 0.6, 1.0]
    (panel,) = boxes_of(figures.box_plot({"Top-4": {"IG": scores}}))
    low, middle, high = np.percentile(scores, (25, 50, 75))
    reach = [s for s in scores if low - 1.5 * (high - low) <= s <= high + 1.5 * (high - low)]
    drawn = {round(float(y), 9) for line in panel["lines"] for y in line}
    assert {round(y, 9) for y in (middle, min(reach), max(reach))} <= drawn
    assert 0.0 not in drawn and 1.0 not in drawn  # beyond the whiskers there are points only
    np.testing.assert_allclose(np.sort(panel["points"][0][:, 1]), scores)


def test_twenty_equal_scores_are_twenty_points_within_their_box() -> None:
    (panel,) = boxes_of(figures.box_plot({"Top-4": {"A": [1.0] * 20, "B": [0.2, 0.9]}}))
    places = panel["points"][0][:, 0]
    assert len(set(np.round(places, 6))) == 20 and np.abs(places - 1).max() < 0.3
    np.testing.assert_allclose(panel["points"][1][:, 0], 2)  # nothing beside them


def test_of_many_scores_only_those_beyond_the_whiskers_are_points() -> None:
    scores = [*np.linspace(0.4, 0.6, figures.POINTS), 0.0, 1.0]
    (panel,) = boxes_of(figures.box_plot({"Top-4": {"IG": scores}}))
    np.testing.assert_allclose(panel["points"][0][:, 1], [0.0, 1.0])
    (few,) = boxes_of(figures.box_plot({"Top-4": {"IG": scores[: figures.POINTS]}}))
    assert len(few["points"][0]) == figures.POINTS


def test_boxes_of_raters_are_hatched() -> None:
    from matplotlib.patches import PathPatch

    drawing = figures.box_plot({"Top-4": {"IG": [0.5, 0.6], "rater R2": [0.7, 0.8]}}, raters={"rater R2"})
    hatches = [patch.get_hatch() for patch in drawing.figure().axes[0].findobj(PathPatch)]
    assert hatches == [None, "////"]


def test_the_random_line_is_at_its_height_in_its_own_panel() -> None:
    drawing = figures.box_plot({"Top-4": {"IG": [0.9]}, "Top-7": {"IG": [0.8]}}, {"Top-7": 0.57})
    dashed = [[line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]
              for axes in drawing.figure().axes]  # fmt: skip
    assert dashed == [[], [0.57]]
