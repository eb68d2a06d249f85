"""Reliability diagrams, read back from the figure."""

import numpy as np
import pytest

from cbir_cli.errors import ShapeError
from cbir_cli.reports.reliability import Reliability, reliability

EDGES = np.linspace(0, 1, 5)
NAN = np.nan


def bins(**changes) -> Reliability:
    given = {"lower": EDGES[:-1], "upper": EDGES[1:], "count": np.array([4, 0, 2, 6]),
             "predicted": np.array([0.1, NAN, 0.7, 0.9]), "observed": np.array([0.25, NAN, 0.5, 1.0])}  # fmt: skip
    return Reliability(**(given | changes), said="ECE 0.12")


def test_bars_points_and_counts_are_those_of_the_bins_with_images() -> None:
    upper, lower = reliability({"cnn": bins()}).figure().axes
    assert [(round(b.get_x(), 9), b.get_height()) for b in upper.patches] == [(0, 0.25), (0.5, 0.5), (0.75, 1.0)]
    assert [b.get_height() for b in lower.patches] == [4, 2, 6]
    ideal, line = upper.lines
    np.testing.assert_allclose(line.get_xydata(), [(0.1, 0.25), (0.7, 0.5), (0.9, 1.0)])
    np.testing.assert_allclose(ideal.get_xydata(), [(0, 0), (1, 1)])
    assert upper.get_title() == "cnn\nECE 0.12"


def test_panels_stand_beside_one_another_with_one_key() -> None:
    figure = reliability({"cnn": bins(), "ig": bins()}).figure()
    assert len(figure.axes) == 4 and len(figure.legends) == 1


def test_without_images_or_with_other_lengths_it_is_refused() -> None:
    for changes in ({"count": np.zeros(4, int)}, {"count": np.ones(3, int)}):
        with pytest.raises(ShapeError):
            bins(**changes)
    with pytest.raises(ShapeError):
        reliability({})
