import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import precision

lists = st.lists(st.sampled_from([0.0, 1.0]), max_size=12)


@given(lists, st.integers(1, 15))
def test_equals_the_plain_count(ranked, k):
    value = precision.score([ranked] if ranked else np.empty((1, 0)), k)[0]
    assert value == pytest.approx(sum(ranked[:k]) / k)
    assert 0 <= value <= 1


@given(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=12), st.data())
def test_equals_scikit_learn_when_the_first_k_are_called_positive(ranked, data):
    k = data.draw(st.integers(1, len(ranked)))
    called = np.arange(len(ranked)) < k
    assert precision.score([ranked], k)[0] == pytest.approx(precision_score(ranked, called, zero_division=0))


def test_perfect_and_worst():
    assert precision.score([[1, 1, 0, 0], [0, 0, 1, 1]], 2).tolist() == [1.0, 0.0]


def test_k_beyond_the_list_counts_as_not_relevant():
    assert precision.score([[1, 1]], 4)[0] == 0.5
    assert precision.expected([2], [2], 4)[0] == 0.5


def test_empty_is_zero():
    assert precision.score(np.empty((2, 0)), 3).tolist() == [0.0, 0.0]
    assert precision.expected([0, 0], [0, 5], 3).tolist() == [0.0, 0.0]


def test_chance_is_the_share_of_relevant_images():
    assert precision.expected([4, 7], [10, 20], 5).tolist() == pytest.approx([0.40, 0.35])


@pytest.mark.parametrize(
    ("ranked", "k"), [([1, 0], 1), ([[0.5]], 1), ([[2]], 1), ([[np.nan]], 1), ([[1]], 0), ([[1]], True)]
)
def test_malformed_input_is_refused(ranked, k):
    with pytest.raises(ShapeError, match="expected"):
        precision.score(ranked, k)


@pytest.mark.parametrize(("relevant", "size"), [([3], [2]), ([1.0], [2]), ([-1], [2]), ([1], [2, 3]), ([[1]], [[2]])])
def test_malformed_counts_are_refused(relevant, size):
    with pytest.raises(ShapeError, match=r"relevant|size"):
        precision.expected(relevant, size, 5)
