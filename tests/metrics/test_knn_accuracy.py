import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import knn_accuracy, precision

classes = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@given(classes, st.integers(0, 3), st.data())
def test_equals_scikit_learns_classifier(ranked, mine, data):
    """Images at the places 0, 1, 2, ... of a line, the query at -1: the list is their order."""
    k = data.draw(st.integers(1, len(ranked)))
    fitted = KNeighborsClassifier(k).fit(np.arange(len(ranked))[:, None], ranked)
    assert knn_accuracy.score([ranked], [mine], k)[0] == float(fitted.predict([[-1]])[0] == mine)


@given(st.lists(st.sampled_from([0, 1]), min_size=5, max_size=9), st.sampled_from([1, 3, 5]), st.sampled_from([0, 1]))
def test_with_two_classes_and_odd_k_it_is_most_of_precision(ranked, k, mine):
    right = [[int(one == mine) for one in ranked]]
    assert knn_accuracy.score([ranked], [mine], k)[0] == float(precision.score(right, k)[0] > 0.5)


def test_perfect_worst_and_several_queries():
    assert knn_accuracy.score([[1, 1, 0], [1, 1, 0], [2, 2, 5]], [1, 0, 2], 3).tolist() == [1.0, 0.0, 1.0]


def test_ties_of_votes_go_to_the_lowest_class():
    assert knn_accuracy.score([[0, 1], [1, 0], [1, 0]], [0, 0, 1], 2).tolist() == [1.0, 1.0, 0.0]


def test_results_without_a_class_vote_for_none():
    assert knn_accuracy.score([[-1, -1, 1], [-1, -1, -1]], [1, 1], 3).tolist() == [1.0, 0.0]
    assert knn_accuracy.score([[-1, 0]], [0], 1).tolist() == [0.0]


def test_empty_lists_and_short_ones():
    assert knn_accuracy.score(np.empty((2, 0), int), [0, 1], 3).tolist() == [0.0, 0.0]
    assert knn_accuracy.score(np.empty((0, 3), int), np.empty(0, int), 3).shape == (0,)
    assert knn_accuracy.score([[2]], [2], 5)[0] == 1.0


@pytest.mark.parametrize("catalogue", [[0, 0, 1, 1, 2, -1], [0, 1, 1, 1, 2, 2], [-1, -1, 0], [1], [2, 2, 2, 2, 0]])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("mine", [0, 1, 2])
def test_chance_is_the_mean_over_all_draws(catalogue, k, mine):
    draws = np.array(list(itertools.combinations(catalogue, min(k, len(catalogue)))))
    mean = knn_accuracy.score(draws, np.full(len(draws), mine), k).mean()
    sizes = [[catalogue.count(number) for number in range(3)]]
    assert knn_accuracy.expected(sizes, [mine], [len(catalogue)], k)[0] == pytest.approx(mean, abs=1e-12)


def test_chance_of_many_voters_is_that_of_counting_with_whole_numbers():
    """One class against another: the votes of the query's have a hypergeometric distribution."""
    for mine, other, k in ((450, 550, 501), (300, 200, 499), (60_000, 70_000, 500), (20, 5_000, 9)):
        ways = sum(math.comb(mine, v) * math.comb(other, k - v) for v in range(k // 2 + 1, k + 1))
        wanted = ways / math.comb(mine + other, k)
        found = knn_accuracy.expected([[other, mine]], [1], [mine + other], k)
        if k > knn_accuracy.MOST_VOTES:
            assert found.mask.tolist() == [True]
        else:
            assert found[0] == pytest.approx(wanted, rel=1e-9)
    assert knn_accuracy.expected([[100, 400]], [1], [500], 900)[0] == 1.0  # all vote
    assert knn_accuracy.expected([[250, 250]], [1], [500], 900)[0] == 0.0


def test_chance_of_a_large_catalogue():
    half = knn_accuracy.expected([[50_000, 50_000]], [1], [100_000], 5)[0]
    assert half == pytest.approx(0.5, abs=1e-12)
    assert knn_accuracy.expected([[0, 0]], [1], [0], 5)[0] == 0.0


@pytest.mark.parametrize(
    ("ranked", "mine", "k"),
    [([1], [1], 1), ([[1.0]], [1], 1), ([[-2]], [1], 1), ([[1]], [-1], 1), ([[1]], [1, 1], 1), ([[1]], [1], 0)],
)
def test_malformed_lists_are_refused(ranked, mine, k):
    with pytest.raises(ShapeError, match="expected"):
        knn_accuracy.score(ranked, mine, k)


@pytest.mark.parametrize(
    ("sizes", "mine", "size"),
    [
        ([1], [0], [1]),
        ([[1.5]], [0], [2]),
        ([[-1]], [0], [2]),
        ([[1]], [1], [1]),
        ([[2]], [0], [1]),
        ([[1]], [0], [1, 1]),
    ],
)
def test_malformed_catalogues_are_refused(sizes, mine, size):
    with pytest.raises(ShapeError, match="expected"):
        knn_accuracy.expected(sizes, mine, size, 3)
