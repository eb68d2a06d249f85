import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import average_precision, reciprocal_rank, success

lists = st.lists(st.sampled_from([0, 1]), max_size=12)


def plainly(ranked, k):
    return next((Fraction(1, rank) for rank, relevant in enumerate(ranked[:k], start=1) if relevant), Fraction(0))


@given(lists, st.integers(1, 15))
def test_equals_the_definition(ranked, k):
    value = reciprocal_rank.score([ranked] if ranked else np.empty((1, 0)), k)[0]
    assert value == pytest.approx(float(plainly(ranked, k)), abs=1e-15)
    if ranked:
        assert value <= success.score([ranked], k)[0]


@given(st.integers(1, 12), st.data())
def test_equals_average_precision_where_one_image_is_relevant(size, data):
    place = data.draw(st.integers(0, size - 1))
    ranked = [[int(i == place) for i in range(size)]]
    assert reciprocal_rank.score(ranked, size)[0] == average_precision.score(ranked, [1])[0]


def test_perfect_late_and_cut_off():
    assert reciprocal_rank.score([[1, 0, 0], [0, 0, 1]], 3).tolist() == pytest.approx([1.0, 1 / 3])
    assert reciprocal_rank.score([[1, 0, 0], [0, 0, 1]], 2).tolist() == [1.0, 0.0]


def test_empty_is_zero():
    assert reciprocal_rank.score(np.empty((2, 0)), 3).tolist() == [0.0, 0.0]
    assert reciprocal_rank.score(np.zeros((1, 3)), 3).tolist() == [0.0]
    assert reciprocal_rank.expected([0, 0], [0, 3], 3).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("relevant", "size", "k"), [(1, 1, 5), (1, 5, 3), (2, 5, 5), (4, 5, 2), (5, 5, 1), (3, 7, 9)])
def test_chance_is_the_mean_over_all_orders(relevant, size, k):
    orders = [[int(rank in chosen) for rank in range(size)] for chosen in itertools.combinations(range(size), relevant)]
    mean = sum(plainly(order, k) for order in orders) / len(orders)
    assert reciprocal_rank.expected([relevant], [size], k)[0] == pytest.approx(float(mean), abs=1e-12)


def test_chance_of_one_relevant_image_is_the_harmonic_mean():
    assert reciprocal_rank.expected([1], [100], 100)[0] == pytest.approx(sum(1 / i for i in range(1, 101)) / 100)
    assert reciprocal_rank.expected([50_000], [100_000], 100_000)[0] == pytest.approx(np.log(2), abs=1e-4)


@pytest.mark.parametrize(
    ("ranked", "k"), [([1, 0], 1), ([[0.5]], 1), ([[2]], 1), ([[np.nan]], 1), ([[1]], 0), ([[1]], True)]
)
def test_malformed_input_is_refused(ranked, k):
    with pytest.raises(ShapeError, match="expected"):
        reciprocal_rank.score(ranked, k)


@pytest.mark.parametrize(("relevant", "size"), [([3], [2]), ([1.0], [2]), ([-1], [2]), ([1], [2, 3])])
def test_malformed_counts_are_refused(relevant, size):
    with pytest.raises(ShapeError, match=r"relevant|size"):
        reciprocal_rank.expected(relevant, size, 5)
