"""How relevance becomes a map, and a map what a network is fed and a person is shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.maps import INPUTS, as_pixels, finish, shape, shown


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


def test_positive_leaves_out_what_speaks_against():
    relevance = np.zeros((2, 3, 2, 2), np.float32)
    relevance[0, :, 0, 1] = [1, 2, 3]
    relevance[0, :, 1, 0] = [-9, 1, 0]
    relevance[0, :, 1, 1] = [-1, 1, 1.5]
    relevance[1, 2] = -5
    maps, scale = finish(relevance, "positive")
    np.testing.assert_array_equal(maps, [[[0, 1], [0, 0.25]], [[0, 0], [0, 0]]])
    np.testing.assert_array_equal(scale, [6, 0])


def test_rgb_keeps_the_channels_and_scales_them_together():
    relevance = np.zeros((2, 3, 2, 2), np.float32)
    relevance[0, :, 0, 1] = [1, -8, 2]
    relevance[1, 2, 1, 0] = 0.5
    maps, scale = finish(relevance, "rgb")
    assert maps.dtype == np.float16 and maps.shape == (2, 3, 2, 2)
    np.testing.assert_array_equal(maps[0, :, 0, 1], [0.125, -1, 0.25])
    np.testing.assert_array_equal(maps[1, :, 1, 0], [0, 0, 1])
    assert np.count_nonzero(maps) == 4
    np.testing.assert_array_equal(scale, [8, 0.5])


@pytest.mark.parametrize("form", INPUTS)
def test_a_zero_map_stays_zero(form):
    maps, scale = finish(np.zeros((2, 3, 4, 4), np.float32), form)
    assert maps.shape == (2, *shape(form, 4, 4)) and not maps.any() and not scale.any()


@pytest.mark.parametrize("form", INPUTS)
def test_no_maps(form):
    maps, scale = finish(np.zeros((0, 3, 4, 5), np.float32), form)
    assert maps.shape == (0, *((3,) if form == "rgb" else ()), 4, 5) and scale.shape == (0,)


def test_forms_that_cannot_be():
    with pytest.raises(UsageError, match="input=rgb: the method gives 1 channel, not three"):
        finish(np.zeros((2, 1, 4, 4), np.float32), "rgb")
    with pytest.raises(UsageError, match="unknown input 'rbg': did you mean rgb"):
        finish(np.zeros((2, 3, 4, 4), np.float32), "rbg")


@pytest.mark.parametrize("form", INPUTS)
def test_a_network_is_fed_three_copies_or_each_channel_its_own(form):
    """Written out pixel by pixel: (map - mean) / std of the channel."""
    spec = InputSpec(size=4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    maps, _ = finish(np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32), form)
    fed = spec.prepare(as_pixels(maps))
    assert fed.shape == (2, 3, 4, 4) and fed.dtype == np.float32
    for n, c, y, x in np.ndindex(fed.shape):
        value = float(maps[n, c, y, x] if form == "rgb" else maps[n, y, x])
        assert fed[n, c, y, x] == pytest.approx((value - spec.mean[c]) / spec.std[c], rel=1e-6, abs=1e-6)


def test_channels_are_shown_as_their_sum():
    maps = np.zeros((2, 3, 2, 2), np.float16)
    maps[0, :, 0, 0] = [1, -0.5, 0.25]
    maps[0, :, 1, 1] = [-1, -0.5, 0]
    maps[1, :, 0, 1] = [1, -0.5, -0.5]
    np.testing.assert_array_equal(shown(maps), [[[0.5, 0], [0, -1]], [[0, 0], [0, 0]]])
    np.testing.assert_array_equal(shown(maps[:, 0]), maps[:, 0].astype(np.float32))
    assert shown(maps).dtype == shown(maps[:, 0]).dtype == np.float32 and shown(maps[:0]).shape == (0, 2, 2)


@given(arrays(np.float32, (2, 3, 3, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)), st.sampled_from(INPUTS))
def test_values_come_back_from_maps_and_scale(relevance, form):
    maps, scale = finish(relevance, form)
    summed = relevance.sum(axis=1)
    kept = {"rgb": relevance, "positive": np.where(summed > 0, summed, 0)}.get(form, summed).reshape(2, -1)
    maps = maps.reshape(2, -1)
    assert np.isfinite(maps).all()
    np.testing.assert_array_equal(np.abs(maps).max(axis=1), (scale > 0).astype(np.float16))
    error = np.abs(maps.astype(np.float64) * scale[:, None] - kept)
    assert (error <= 2.0**-11 * scale[:, None] + 1e-45).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_is_refused(bad):
    relevance = np.zeros((1, 3, 2, 2), np.float32)
    relevance[0, :, 1, 1] = bad
    with pytest.raises(CbirError, match="not finite"):
        finish(relevance)


def test_wrong_shape_is_refused():
    with pytest.raises(ShapeError):
        finish(np.zeros((3, 2, 2)))
