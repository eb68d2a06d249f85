import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import success

lists = st.lists(st.sampled_from([0, 1]), max_size=12)


@given(lists, st.integers(1, 15))
def test_equals_the_plain_question(ranked, k):
    assert success.score([ranked] if ranked else np.empty((1, 0)), k)[0] == float(any(ranked[:k]))


@given(st.permutations(range(6)), st.integers(0, 5), st.integers(1, 5))
def test_with_one_relevant_image_equals_scikit_learns_top_k_accuracy(order, wanted, k):
    ranked = [[int(one == wanted) for one in order]]
    scores = np.array([[-order.index(one) for one in range(6)]], dtype=float)
    assert success.score(ranked, k)[0] == top_k_accuracy_score([wanted], scores, k=k, labels=range(6))


def test_perfect_and_worst():
    assert success.score([[0, 1, 0, 0], [0, 0, 1, 1]], 2).tolist() == [1.0, 0.0]


def test_empty_is_zero():
    assert success.score(np.empty((2, 0)), 3).tolist() == [0.0, 0.0]
    assert success.score(np.zeros((1, 3)), 3).tolist() == success.expected([0], [3], 3).tolist() == [0.0]
    assert success.expected([0], [0], 3).tolist() == [0.0]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_chance_is_hypergeometric(relevant, other, k):
    size = relevant + other
    first = min(k, size)
    wanted = 1 - math.comb(other, first) / math.comb(size, first)
    assert success.expected([relevant], [size], k)[0] == pytest.approx(wanted, abs=1e-12)


def test_chance_in_a_large_catalogue():
    assert success.expected([100_000], [200_000], 5)[0] == pytest.approx(1 - 0.5**5, abs=1e-4)


@pytest.mark.parametrize(
    ("ranked", "k"), [([1, 0], 1), ([[0.5]], 1), ([[2]], 1), ([[np.nan]], 1), ([[1]], 0), ([[1]], True)]
)
def test_malformed_input_is_refused(ranked, k):
    with pytest.raises(ShapeError, match="expected"):
        success.score(ranked, k)


@pytest.mark.parametrize(("relevant", "size"), [([3], [2]), ([1.0], [2]), ([-1], [2]), ([1], [2, 3])])
def test_malformed_counts_are_refused(relevant, size):
    with pytest.raises(ShapeError, match=r"relevant|size"):
        success.expected(relevant, size, 5)
