import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli.errors import UsageError
from cbir_cli.metrics.explanation import pointing_game, relevance_rank, top_k_intersection

pixels = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=6)


def as_row(pixels):
    values, lesion = zip(*pixels, strict=True)
    return np.array([[values]], dtype=np.float64), np.array([[lesion]])


def plainly(values, lesion, k):
    """The share by the definition, averaged over every order that has the larger values first."""
    found, ways = 0, 0
    for order in itertools.permutations(range(len(values))):
        if all(values[a] >= values[b] for a, b in itertools.pairwise(order)):
            found += sum(lesion[i] for i in order[:k])
            ways += 1
    return Fraction(found, ways * k)


@given(pixels, st.integers(1, 6))
def test_is_the_mean_over_all_ways_to_break_ties(pixels, k):
    value = top_k_intersection.score(*as_row(pixels), k=k)[0]
    values, lesion = zip(*pixels, strict=True)
    if not any(lesion):
        assert value is np.ma.masked
    else:
        assert value == float(plainly(values, lesion, min(k, len(values))))


@given(pixels)
def test_of_one_pixel_it_is_the_pointing_game_and_of_the_lesions_number_relevance_rank(pixels):
    maps, masks = as_row(pixels)
    assert top_k_intersection.score(maps, masks, k=1).tolist() == pointing_game.score(maps, masks).tolist()
    if masks.any():
        found = top_k_intersection.score(maps, masks, k=int(masks.sum()))
        assert found.tolist() == relevance_rank.score(maps, masks).tolist()


def test_a_small_lesion_gets_no_more_than_its_share_of_k():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, 2:4, 2:4] = True
    assert top_k_intersection.score(masks.astype(float), masks, k=10)[0] == 0.4
    assert top_k_intersection.score(masks.astype(float), masks, k=4)[0] == 1
    assert top_k_intersection.score(masks.astype(float), masks, k=1000)[0] == 4 / 64


def test_no_pixels_are_no_k():
    with pytest.raises(UsageError, match="k of at least 1, found 0"):
        top_k_intersection.score(np.zeros((1, 2, 2)), np.ones((1, 2, 2), bool), k=0)
