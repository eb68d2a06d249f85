import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli import relevance
from cbir_cli.errors import ShapeError
from cbir_cli.records import MISSING, NEGATIVE, POSITIVE, UNCERTAIN


def test_ten_images_get_the_papers_relevances():
    grades = relevance.from_ranks(np.arange(1, 11), 10)
    assert grades.tolist() == [5.5, 5.0, 4.5, 4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0]
    assert grades.dtype == np.float64


@given(st.integers(1, 200))
def test_relevance_falls_by_one_half_down_to_one(size):
    grades = relevance.from_ranks(np.arange(1, size + 1), size)
    assert grades[-1] == 1
    assert grades[0] == (size + 1) / 2
    assert (np.diff(grades) == -0.5).all()


def test_relevance_is_that_of_the_full_ranking_not_of_the_retrieved_part():
    assert relevance.from_ranks([2], 10).tolist() == [5.0]


def test_nothing_ranked_is_nothing():
    assert relevance.from_ranks([], 10).shape == (0,)


@pytest.mark.parametrize("ranks", [[0], [11], [-1], [0.5], [10.5], [np.nan], ["1"], [True]])
def test_ranks_outside_the_ranking_are_refused(ranks):
    with pytest.raises(ShapeError, match="ranks: expected"):
        relevance.from_ranks(ranks, 10)


def test_tied_images_share_the_relevance_of_their_places():
    places = relevance.from_ranks([2, 3], 10)
    assert relevance.from_ranks([2.5, 2.5], 10).tolist() == [places.mean()] * 2


def test_agreement_is_the_same_stated_label():
    results = [[POSITIVE, NEGATIVE, UNCERTAIN, MISSING]]
    assert relevance.from_labels([POSITIVE], results).tolist() == [[1, 0, 0, 0]]
    assert relevance.from_labels([NEGATIVE], results).tolist() == [[0, 1, 0, 0]]


def test_no_results_agree_with_nothing():
    assert relevance.from_labels([1, 0], np.empty((2, 0), dtype=int)).shape == (2, 0)


@pytest.mark.parametrize("code", [UNCERTAIN, MISSING])
def test_query_without_a_stated_label_is_refused(code):
    with pytest.raises(ShapeError, match="uncertain or missing"):
        relevance.from_labels([code], [[code]])


@pytest.mark.parametrize(("query", "results"), [([1], [1]), ([1, 0], [[1]]), ([[1]], [[1]])])
def test_shapes_that_do_not_fit_are_refused(query, results):
    with pytest.raises(ShapeError, match="expected"):
        relevance.from_labels(query, results)


def test_stated_means_positive_or_negative():
    assert relevance.stated([POSITIVE, NEGATIVE, UNCERTAIN, MISSING]).tolist() == [True, True, False, False]
