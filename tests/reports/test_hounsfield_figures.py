"""Windows and histograms of Hounsfield units, read back from the figures."""

import numpy as np
import pytest

from cbir_cli.errors import ShapeError
from cbir_cli.reports import hounsfield

WINDOWS = {"liver-narrow": (50.0, 150.0), "liver-wide": (-200.0, 300.0)}


def test_every_panel_shows_the_slice_within_its_window() -> None:
    values = np.random.default_rng(0).normal(0, 300, (12, 16)).round()
    figure = hounsfield.panels(values, WINDOWS).figure()
    assert [axes.images[0].get_clim() for axes in figure.axes] == [
        (values.min(), values.max()), (50, 150), (-200, 300)]  # fmt: skip
    assert all(np.array_equal(axes.images[0].get_array(), values) for axes in figure.axes)
    assert figure.axes[2].get_title() == "liver-wide\n\N{MINUS SIGN}200 to 300 HU"


def test_a_histogram_holds_all_voxels_and_says_how_many_a_window_holds() -> None:
    values = np.random.default_rng(0).normal(100, 25, 4000).round()
    counts, edges = np.histogram(values, np.arange(-1024.5, 3072))
    drawing = hounsfield.histogram(counts, edges, WINDOWS)
    heights, places, _ = drawing.figure().axes[0].patches[0].get_data()
    np.testing.assert_allclose((heights * np.diff(places)).sum(), 100, rtol=1e-9)  # %, all of them
    inside = 100 * np.mean((values >= 50) & (values <= 150))
    assert f"liver-narrow: 50 to 150 HU, {inside:.0f} % of the voxels" in drawing
    np.testing.assert_allclose(hounsfield.within(counts, edges, (50, 150)), inside / 100)
    low, high = drawing.figure().axes[0].get_xlim()
    assert low < -200 and high > 300
    ends = [segment[0][0] for c in drawing.figure().axes[0].collections[::2] for segment in c.get_segments()]
    assert ends == [50, 150, -200, 300]


def test_bins_are_joined_without_losing_any() -> None:
    counts = np.arange(1000)
    heights, edges = hounsfield._coarser(counts, np.arange(1001.0), 0, 1000)
    assert len(heights) < 200 and heights.sum() + counts[int(edges[-1]) :].sum() == counts.sum()


@pytest.mark.parametrize("counts", [np.zeros(4, int), np.zeros(0, int), np.ones(5, int)])
def test_no_voxel_and_edges_that_do_not_fit_are_refused(counts) -> None:
    with pytest.raises(ShapeError):
        hounsfield.histogram(counts, np.arange(5.0), WINDOWS)


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.full((2, 2), np.nan), np.zeros(4)])
def test_what_is_no_slice_is_refused(values) -> None:
    with pytest.raises(ShapeError):
        hounsfield.panels(values, WINDOWS)


def test_a_slice_of_one_value_can_be_drawn() -> None:
    assert hounsfield.panels(np.zeros((4, 4)), {}).png()
