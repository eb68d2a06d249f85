import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import precision, r_precision, recall, success

lists = st.lists(st.sampled_from([0, 1]), min_size=1, max_size=12)


@given(lists, st.integers(1, 15), st.integers(0, 5))
def test_equals_the_plain_count(ranked, k, missed):
    relevant = sum(ranked) + missed
    value = recall.score([ranked], [relevant], k)
    assert value.mask[0] == (relevant == 0)
    if relevant:
        assert value[0] == pytest.approx(sum(ranked[:k]) / relevant)


@given(lists, st.data())
def test_equals_scikit_learn_when_the_first_k_are_called_positive(ranked, data):
    k = data.draw(st.integers(1, len(ranked)))
    if any(ranked):
        assert recall.score([ranked], [sum(ranked)], k)[0] == pytest.approx(
            recall_score(ranked, np.arange(len(ranked)) < k)
        )


@given(lists, st.integers(1, 12), st.integers(0, 3))
def test_its_kin(ranked, k, missed):
    relevant = sum(ranked) + missed
    if relevant == 0:
        return
    value = recall.score([ranked], [relevant], k)[0]
    assert value * relevant == pytest.approx(precision.score([ranked], k)[0] * k)
    assert value <= success.score([ranked], k)[0] <= value * relevant + 1e-12
    if relevant <= len(ranked):
        assert recall.score([ranked], [relevant], relevant)[0] == r_precision.score([ranked], [relevant])[0]
    assert recall.score([ranked], [relevant], k + 1)[0] >= value


def test_perfect_worst_and_too_few_places():
    assert recall.score([[1, 1, 0, 0], [0, 0, 1, 1]], [2, 2], 2).tolist() == [1.0, 0.0]
    assert recall.score([[1, 1]], [4], 2)[0] == 0.5


def test_nothing_relevant_is_masked_and_an_empty_list_is_zero():
    assert recall.score([[0, 0], [0, 1]], [0, 1], 2).mask.tolist() == [True, False]
    assert recall.expected([0, 1], [2, 2], 1).mask.tolist() == [True, False]
    assert recall.score(np.empty((1, 0)), [2], 3).tolist() == [0.0]


def test_chance_is_the_share_of_the_catalogue_that_is_looked_at():
    assert recall.expected([4, 1, 2], [10, 20, 3], 5).tolist() == pytest.approx([0.5, 0.25, 1.0])


@pytest.mark.parametrize(
    ("ranked", "relevant", "k"),
    [([1], [1], 1), ([[0.5]], [1], 1), ([[1, 1]], [1], 1), ([[1]], [1, 1], 1), ([[1]], [1.0], 1), ([[1]], [1], 0)],
)
def test_malformed_input_is_refused(ranked, relevant, k):
    with pytest.raises(ShapeError, match=r"expected|more relevant"):
        recall.score(ranked, relevant, k)


def test_a_catalogue_smaller_than_its_relevant_images_is_refused():
    with pytest.raises(ShapeError, match="fewer images"):
        recall.expected([3], [2], 1)
