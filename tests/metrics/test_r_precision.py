import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import precision, r_precision

lists = st.lists(st.sampled_from([0, 1]), min_size=1, max_size=12)


@given(lists)
def test_is_precision_and_recall_at_the_number_of_relevant_images(ranked):
    total = sum(ranked)
    value = r_precision.score([ranked], [total])
    if not total:
        assert value.mask[0]
        return
    assert value[0] == pytest.approx(sum(ranked[:total]) / total)
    assert value[0] == pytest.approx(precision.score([ranked], total)[0])
    assert value[0] == pytest.approx(recall_score(ranked, np.arange(len(ranked)) < total))


def test_the_papers_settings():
    # Top 4 of 10 with 4 relevant images, 3 of them found: .75 of table 1.
    assert r_precision.score([[1, 0, 1, 1, 0, 0, 1, 0, 0, 0]], [4])[0] == 0.75
    assert r_precision.expected([4, 7, 11], [10, 20, 30]).tolist() == pytest.approx([0.40, 0.35, 11 / 30])


def test_perfect_and_worst():
    assert r_precision.score([[1, 1, 0, 0], [0, 0, 1, 1]], [2, 2]).tolist() == [1.0, 0.0]


def test_each_query_has_its_own_depth():
    assert r_precision.score([[1, 0, 1], [1, 0, 0]], [2, 1]).tolist() == [0.5, 1.0]


def test_nothing_relevant_is_masked_and_not_nan():
    value, chance = r_precision.score([[0, 0], [1, 0]], [0, 1]), r_precision.expected([0, 1, 0], [2, 2, 0])
    assert value.mask.tolist() == [True, False]
    assert chance.mask.tolist() == [True, False, True]
    assert np.isfinite(value.data).all() and np.isfinite(chance.data).all()


def test_relevant_images_beyond_the_list_still_count():
    assert r_precision.score([[1, 0, 0]], [2])[0] == 0.5


def test_a_list_cut_off_too_early_is_refused():
    with pytest.raises(ShapeError, match="needs the first 3 results, found 2"):
        r_precision.score([[1, 1]], [3])


@pytest.mark.parametrize(
    ("ranked", "relevant"),
    [([1], [1]), ([[0.5]], [1]), ([[1, 1]], [1]), ([[1]], [1, 1]), ([[1]], [-1]), ([[1]], [1.0])],
)
def test_malformed_input_is_refused(ranked, relevant):
    with pytest.raises(ShapeError, match=r"expected|more relevant"):
        r_precision.score(ranked, relevant)
