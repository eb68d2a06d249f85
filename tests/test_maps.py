"""How a map is stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cbir_cli.errors import CbirError, ShapeError
from cbir_cli.maps import finish


def test_channels_are_summed_and_the_largest_magnitude_becomes_one():
    relevance = np.zeros((2, 3, 2, 2), np.float32)
    relevance[0, :, 0, 1] = [1, 2, 3]
    relevance[0, 1, 1, 1] = 1.5
    relevance[1, :, 1, 0] = [-4, 1, -1]
    relevance[1, 2, 0, 0] = 2
    maps, scale = finish(relevance)
    assert maps.dtype == np.float16 and scale.dtype == np.float32
    np.testing.assert_array_equal(maps, [[[0, 1], [0, 0.25]], [[0.5, 0], [-1, 0]]])
    np.testing.assert_array_equal(scale, [6, 4])


def test_a_zero_map_stays_zero():
    maps, scale = finish(np.zeros((2, 3, 4, 4), np.float32))
    assert not maps.any() and not scale.any()


def test_no_maps():
    maps, scale = finish(np.zeros((0, 3, 4, 4), np.float32))
    assert maps.shape == (0, 4, 4) and scale.shape == (0,)


@given(arrays(np.float32, (2, 3, 3, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_values_come_back_from_maps_and_scale(relevance):
    maps, scale = finish(relevance)
    summed = relevance.sum(axis=1)
    assert np.isfinite(maps).all()
    np.testing.assert_array_equal(np.abs(maps).max(axis=(1, 2)), (scale > 0).astype(np.float16))
    error = np.abs(maps.astype(np.float64) * scale[:, None, None] - summed)
    assert (error <= 2.0**-11 * scale[:, None, None] + 1e-45).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_is_refused(bad):
    relevance = np.zeros((1, 3, 2, 2), np.float32)
    relevance[0, :, 1, 1] = bad
    with pytest.raises(CbirError, match="not finite"):
        finish(relevance)


def test_wrong_shape_is_refused():
    with pytest.raises(ShapeError):
        finish(np.zeros((3, 2, 2)))
