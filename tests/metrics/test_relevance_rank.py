import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli.metrics.explanation import relevance_rank

# A pixel's relevance, of few values so that there are ties, and whether it is lesion.
pixels = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=7)


def as_row(pixels):
    values, lesion = zip(*pixels, strict=True)
    return np.array([[values]], dtype=np.float64), np.array([[lesion]])


def plainly(values, lesion):
    """The share by the definition, averaged over every order that has the larger values first."""
    size = sum(lesion)
    found, ways = 0, 0
    for order in itertools.permutations(range(len(values))):
        if all(values[a] >= values[b] for a, b in itertools.pairwise(order)):
            found += sum(lesion[i] for i in order[:size])
            ways += 1
    return Fraction(found, ways * size)


@given(pixels)
def test_is_the_mean_over_all_ways_to_break_ties(pixels):
    value = relevance_rank.score(*as_row(pixels))[0]
    if not any(lesion for _, lesion in pixels):
        assert value is np.ma.masked
    else:
        assert value == float(plainly(*zip(*pixels, strict=True)))


@given(pixels)
def test_magnitudes_and_nothing_else_count_if_absolute(pixels):
    maps, masks = as_row(pixels)
    value = relevance_rank.score(maps, masks, sign="absolute")
    assert value.tolist() == relevance_rank.score(np.abs(maps), masks).tolist()
    assert value.tolist() == relevance_rank.score(-maps, masks, sign="absolute").tolist()


@given(pixels, st.floats(0.1, 50), st.floats(-5, 5))
def test_only_the_order_counts(pixels, scale, shift):
    maps, masks = as_row(pixels)
    assert relevance_rank.score(maps, masks).tolist() == relevance_rank.score(scale * maps + shift, masks).tolist()
    assert relevance_rank.score(maps, masks).tolist() == relevance_rank.score(np.exp(maps), masks).tolist()


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 20))
def test_a_square_beside_a_lesion_of_its_size_is_found_as_far_as_they_overlap(height, width, shift):
    """Closed form: the overlap of two rectangles of the same size."""
    mask = np.zeros((1, 10, 30), bool)
    mask[0, 1 : 1 + height, :width] = True
    maps = np.roll(mask, shift, axis=2).astype(np.float32)
    assert relevance_rank.score(maps, mask)[0] == pytest.approx(max(0, width - shift) / width)


def test_by_hand():
    maps = np.array([[[0.9, 0.8, 0.1], [0.7, -1.0, 0.2]]])
    masks = np.array([[[True, False, True], [True, False, False]]])
    assert relevance_rank.score(maps, masks).tolist() == [2 / 3]
    masks = np.array([[[True, False, True], [False, True, False]]])  # the most negative pixel is in the lesion
    assert relevance_rank.score(maps, masks).tolist() == [1 / 3]
    assert relevance_rank.score(maps, masks, sign="absolute").tolist() == [2 / 3]


def test_tied_pixels_share_the_places_that_are_left():
    maps = np.array([[[5.0, 1.0, 1.0, 1.0, 0.0]]])
    masks = np.array([[[False, True, True, False, False]]])
    # One place is taken by the first pixel, and one is left for three, of which two are lesion.
    assert relevance_rank.score(maps, masks).tolist() == [float(Fraction(2, 3) / 2)]


def test_zeros_of_either_sign_are_equal():
    masks = np.array([[[True, False, False, False]]])
    assert relevance_rank.score(np.array([[[-0.0, 0.0, 0.0, 0.0]]]), masks).tolist() == [0.25]


def test_magnitudes_of_integers_do_not_overflow():
    maps = np.array([[[-128, 127, 1]]], dtype=np.int8)
    assert relevance_rank.score(maps, np.array([[[True, False, False]]]), sign="absolute").tolist() == [1.0]


def test_chance_is_the_share_of_the_lesion():
    masks = np.zeros((3, 4, 5), bool)
    masks[0, 0, :3], masks[1] = True, True
    assert relevance_rank.expected(masks).tolist() == [0.15, 1.0, None]
