"""Training curves over several trainings: means and bands read back from the figure."""

import math
import statistics

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from cbir_cli.errors import ShapeError
from cbir_cli.reports import training_figures

RUNS = [[0.1, 0.5, 0.7], [0.3, 0.4, math.nan], [0.2, 0.9]]


def test_mean_and_standard_deviation_are_those_of_the_trainings_that_have_the_epoch() -> None:
    mean, sd = training_figures.spread(RUNS)
    by_epoch = [[0.1, 0.3, 0.2], [0.5, 0.4, 0.9]]
    np.testing.assert_allclose(mean, [*map(statistics.fmean, by_epoch), 0.7])
    np.testing.assert_allclose(sd[:2], list(map(statistics.stdev, by_epoch)))
    assert math.isnan(sd[2])  # of one training there is none


def test_lines_are_means_and_bands_are_one_standard_deviation() -> None:
    drawing = training_figures.over_runs({"MAP@5": {"two windows": RUNS, "one": [[0.2, 0.3]]}, "RR": {"one": [[0.1]]}})
    axes, other = drawing.figure().axes
    mean, sd = training_figures.spread(RUNS)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), mean)
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [1, 2, 3])
    bands = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    heights = bands[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([heights.min(), heights.max()], [(mean - sd)[:2].min(), (mean + sd)[:2].max()])
    assert not bands[1].get_paths() or np.isnan(bands[1].get_paths()[0].vertices).any()
    # A method has one style in all panels.
    assert axes.lines[1].get_color() == other.lines[0].get_color() != axes.lines[0].get_color()
    assert axes.lines[1].get_linestyle() == other.lines[0].get_linestyle() != axes.lines[0].get_linestyle()
    assert "two windows (3 runs)" in drawing and "one (1 run)" in drawing


def test_an_epoch_that_no_training_has_a_value_for_is_a_gap() -> None:
    mean, sd = training_figures.spread([[0.1, math.nan, 0.3], [0.2, math.nan, 0.4]])
    assert math.isnan(mean[1]) and math.isnan(sd[1]) and math.isclose(mean[2], 0.35)


@pytest.mark.parametrize("curves", [{}, {"MAP@5": {}}, {"MAP@5": {"one": []}}])
def test_nothing_to_draw_is_refused(curves) -> None:
    with pytest.raises(ShapeError):
        training_figures.over_runs(curves)
