import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli.errors import UsageError
from cbir_cli.metrics.explanation import pointing_game

SHAPE = (4, 6)
grids = st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=24, max_size=24)


def as_maps(grid):
    values, lesion = zip(*grid, strict=True)
    return np.array(values, dtype=np.float64).reshape(1, *SHAPE), np.array(lesion).reshape(1, *SHAPE)


def plainly(map_, mask, tolerance):
    """Look from each of the largest pixels at each pixel of the lesion."""
    places = [(r, c) for r in range(SHAPE[0]) for c in range(SHAPE[1])]
    lesion = [place for place in places if mask[place]]
    points = [place for place in places if map_[place] == map_.max()]
    return sum(any(math.dist(p, q) <= tolerance for q in lesion) for p in points) / len(points)


@given(grids, st.sampled_from([0, 0.5, 1, 1.5, 2, 3, 9]))
def test_is_the_share_of_the_largest_pixels_near_the_lesion(grid, tolerance):
    maps, masks = as_maps(grid)
    value = pointing_game.score(maps, masks, tolerance=tolerance)[0]
    if not masks.any():
        assert value is np.ma.masked
    else:
        assert value == pytest.approx(plainly(maps[0], masks[0], tolerance), abs=1e-15)


@given(grids, st.sampled_from([0, 1, 2]))
def test_absolute_looks_at_magnitudes(grid, tolerance):
    maps, masks = as_maps(grid)
    value = pointing_game.score(maps, masks, sign="absolute", tolerance=tolerance)
    assert value.tolist() == pointing_game.score(np.abs(maps), masks, tolerance=tolerance).tolist()


@given(grids)
def test_more_tolerance_never_hits_less(grid):
    maps, masks = as_maps(grid)
    values = [pointing_game.score(maps, masks, tolerance=t).filled(0)[0] for t in (0, 1, 2, 5, 10)]
    chances = [pointing_game.expected(masks, tolerance=t).filled(0)[0] for t in (0, 1, 2, 5, 10)]
    assert values == sorted(values) and chances == sorted(chances)
    assert values[-1] == chances[-1] == masks.any()


def test_hit_and_miss():
    maps = np.zeros((2, 3, 3))
    maps[0, 1, 1], maps[1, 2, 2] = 1, 1
    masks = np.zeros((2, 3, 3), bool)
    masks[:, 1, 1] = True
    assert pointing_game.score(maps, masks).tolist() == [1.0, 0.0]
    # The corner is the square root of 2 away.
    assert pointing_game.score(maps, masks, tolerance=1.4).tolist() == [1.0, 0.0]
    assert pointing_game.score(maps, masks, tolerance=1.5).tolist() == [1.0, 1.0]


def test_a_pixel_at_exactly_the_tolerance_is_a_hit():
    maps, masks = np.array([[[0, 0, 0, 1.0]]]), np.array([[[True, False, False, False]]])
    assert pointing_game.score(maps, masks, tolerance=3).tolist() == [1.0]
    assert pointing_game.score(maps, masks, tolerance=2.999).tolist() == [0.0]


def test_what_speaks_against_the_answer_is_no_hit_unless_absolute():
    maps, masks = np.array([[[0.1, -5.0]]]), np.array([[[False, True]]])
    assert pointing_game.score(maps, masks).tolist() == [0.0]
    assert pointing_game.score(maps, masks, sign="absolute").tolist() == [1.0]


def test_the_largest_of_a_negative_map_counts():
    maps, masks = np.array([[[-1.0, -5.0]]]), np.array([[[True, False]]])
    assert pointing_game.score(maps, masks).tolist() == [1.0]


@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_chance_is_the_mean_over_all_pixels_that_can_be_the_largest(tolerance):
    masks = np.zeros((35, 5, 7), bool)
    masks[:, 1, 2:4] = True
    maps = np.eye(35).reshape(35, 5, 7)
    mean = pointing_game.score(maps, masks, tolerance=tolerance).mean()
    assert pointing_game.expected(masks[:1], tolerance=tolerance)[0] == pytest.approx(mean, abs=1e-15)


def test_a_flat_map_scores_chance_with_tolerance_too():
    masks = np.zeros((2, 5, 7), bool)
    masks[0, 1, 2:4] = True
    value, chance = (
        pointing_game.score(np.zeros((2, 5, 7)), masks, tolerance=1),
        pointing_game.expected(masks, tolerance=1),
    )
    assert value.tolist() == chance.tolist() == [8 / 35, None]


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf])
def test_malformed_tolerance_is_refused(tolerance):
    masks = np.ones((1, 2, 2), bool)
    with pytest.raises(UsageError, match="tolerance: expected"):
        pointing_game.score(np.zeros((1, 2, 2)), masks, tolerance=tolerance)
    with pytest.raises(UsageError, match="tolerance: expected"):
        pointing_game.expected(masks, tolerance=tolerance)
