"""The map of an embedding: points, stars and pictures read back from the figure."""

import numpy as np
import pytest
from conftest import picture

from cbir_cli.errors import ShapeError
from cbir_cli.reports import embedding_map
from cbir_cli.reports.embedding_map import Group

POINTS = np.random.default_rng(0).normal(size=(12, 2))


def test_classes_are_where_their_points_are_and_told_apart_without_colour() -> None:
    groups = [Group("covid", np.array([0, 2, 4]), [2, 0]), Group("normal", np.array([1, 3, 5, 7]), [3])]
    axes = embedding_map.embedding_map(POINTS, groups).figure().axes[0]
    rest, covid, normal, *stars = axes.collections
    np.testing.assert_allclose(covid.get_offsets(), POINTS[[0, 2, 4]])
    np.testing.assert_allclose(normal.get_offsets(), POINTS[[1, 3, 5, 7]])
    np.testing.assert_allclose(rest.get_offsets(), POINTS[[6, 8, 9, 10, 11]])
    np.testing.assert_allclose([star.get_offsets()[0] for star in stars], POINTS[[2, 3]])
    assert covid.get_paths()[0] != normal.get_paths()[0]
    assert [one.get_label() for one in (rest, covid, normal)] == [
        "other or not known (5)", "covid (3)", "normal (4)"]  # fmt: skip


def test_pictures_stand_in_the_row_of_their_class_in_its_colour() -> None:
    images = [picture(i) for i in range(3)]
    groups = [Group("a", np.arange(6), [0, 1], images[:2]), Group("b", np.arange(6, 12), [6], images[2:])]
    *panels, _ = embedding_map.embedding_map(POINTS, groups).figure().axes
    shown = [axes.images[0].get_array() for axes in panels if axes.images]
    assert [np.array_equal(x, y) for x, y in zip(shown, images, strict=True)] == [True] * 3
    assert panels[0].get_title(loc="left") == "a" and panels[2].get_title(loc="left") == "b"
    colours = [axes.spines["left"].get_edgecolor() for axes in panels if axes.images]
    assert colours[0] == colours[1] != colours[2]


@pytest.mark.parametrize(
    ("points", "groups"),
    [
        (np.full((3, 2), np.nan), []),
        (np.zeros((3, 3)), []),
        (np.zeros((0, 2)), []),
        (POINTS, [Group("a", np.array([12]))]),
        (POINTS, [Group("a", np.array([0]), [-1])]),
        (POINTS, [Group(str(i), np.array([i])) for i in range(9)]),
    ],
)
def test_what_cannot_be_drawn_is_refused(points, groups) -> None:
    with pytest.raises(ShapeError):
        embedding_map.embedding_map(points, groups)
