"""Curves of one map: the verdict on it, and what the script of the page gets."""

import numpy as np
import pytest

from cbir_cli.errors import ShapeError
from cbir_cli.reports.curves import Axes, Curve, Curves


def of(insertion: dict[str, float], deletion: dict[str, float]) -> Curves:
    """Return curves of given areas, whose shape is of no matter."""
    x = np.linspace(0, 1, 5)
    return Curves(x, *({line: Curve(x, area) for line, area in kind.items()} for kind in (insertion, deletion)))


@pytest.mark.parametrize(
    ("insertion", "deletion", "verdict"),
    [
        ((0.8, 0.5), (0.3, 0.5), ""),
        ((0.4, 0.5), (0.6, 0.5), "no better than a random map"),
        ((0.5, 0.5), (0.5, 0.5), "no better than a random map"),  # as good is not better
        ((0.4, 0.5), (0.3, 0.5), "insertion no better than that of a random map"),
        ((0.8, 0.5), (0.6, 0.5), "deletion no better than that of a random map"),
        ((0.4, 0.5), None, "no better than a random map"),
        (None, (0.4, 0.5), ""),
    ],
)
def test_the_verdict_compares_areas_with_those_of_a_random_map(insertion, deletion, verdict) -> None:
    kinds = [{} if areas is None else dict(zip(("map", "random map"), areas, strict=True))
             for areas in (insertion, deletion)]  # fmt: skip
    assert of(*kinds).verdict == verdict


def test_without_a_baseline_nothing_is_judged() -> None:
    assert of({"map": 0.1}, {"map": 0.9}).verdict == ""
    assert of({"map": 0.1, "random network": 0.5}, {}).verdict == ""


def test_packed_curves_are_the_curves() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 225)
    own, random = rng.random(225), rng.random(225)
    axes = Axes()
    assert axes.place(np.array([0.0, 1.0])) == 0
    packed = Curves(x, {"map": Curve(own, 0.61234), "random map": Curve(random, 0.5)}, {}).packed(axes)
    assert packed["deletion"] is None and packed["insertion"][2] is None and packed["axis"] == 1
    rows = [round(224 * i / 32) for i in range(33)]
    np.testing.assert_allclose(axes.fractions[1], x[rows], atol=1e-4)
    for (_, text), values in zip(packed["insertion"][:2], (own, random), strict=True):
        decoded = [int(text[i : i + 2], 36) / 1295 for i in range(0, len(text), 2)]
        np.testing.assert_allclose(decoded, values[rows], atol=0.5 / 1295 + 1e-9)
    assert [line[0] for line in packed["insertion"][:2]] == [0.612, 0.5]
    again = Curves(x, {"map": Curve(own, 0.6)}).packed(axes)
    assert again["axis"] == 1 and len(axes.fractions) == 2  # shared


def test_few_points_are_all_kept_and_values_beyond_the_scale_drawn_at_its_edge() -> None:
    axes = Axes()
    packed = Curves(np.array([0, 0.5, 1]), {"map": Curve(np.array([-0.1, 0.5, 1.2]), 0.5)}).packed(axes)
    assert axes.fractions == [[0.0, 0.5, 1.0]]
    assert packed["insertion"][0][1] == "00i0zz"  # 648 = 18 * 36


@pytest.mark.parametrize(
    ("line", "values", "area"),
    [
        ("map", np.zeros(4), 0.5),
        ("map", np.array([0, np.nan, 1, 1, 1]), 0.5),
        ("map", np.zeros(5), np.inf),
        ("chance", np.zeros(5), 0.5),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(line: str, values: np.ndarray, area: float) -> None:
    with pytest.raises(ShapeError):
        Curves(np.linspace(0, 1, 5), {line: Curve(values, area)})
