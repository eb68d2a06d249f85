"""ACG, its positive readings and precision by sets of labels: one formula, so one file."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli import registry, shared_labels
from cbir_cli.errors import ShapeError
from cbir_cli.metric_names import parse_metrics

NAMES = ("acg", "acg-p-total", "acg-p-query", "acg-p-union", "average-gain", "precision-any", "precision-exact")
GRADED = NAMES[:5]


def metric(name):
    return registry.load("metrics/ranking", name)


def test_every_relevance_has_its_metric():
    assert {metric(name).RELEVANCE for name in NAMES} == set(shared_labels.WORDS)
    assert all(one.of_label_sets for one in parse_metrics([f"{name}@50" for name in NAMES]))
    assert not any(one.of_label_sets for one in parse_metrics(["p@5", "ndcg@4", "f1"]))


@pytest.mark.parametrize("name", NAMES)
@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 15))
def test_is_the_plain_sum_over_k(name, quarters, k):
    grades = [q / 4 if name in GRADED else float(q > 2) for q in quarters]
    value = metric(name).score([grades] if grades else np.empty((1, 0)), k)[0]
    assert value == pytest.approx(sum(grades[:k]) / k)


@pytest.mark.parametrize("name", NAMES)
def test_perfect_empty_and_short(name):
    score, expected = metric(name).score, metric(name).expected
    assert score([[1, 1, 0], [0, 0, 1]], 2).tolist() == [1.0, 0.0]
    assert score(np.empty((2, 0)), 3).tolist() == [0.0, 0.0]
    assert score([[1, 1]], 4)[0] == 0.5 and expected([2.0], [2], 4)[0] == 0.5
    assert expected([0.0, 1.5], [0, 5], 3).tolist() == pytest.approx([0.0, 0.3])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("ranked", "k"), [([1, 0], 1), ([[-0.1]], 1), ([[np.nan]], 1), ([[1]], 0), ([[1]], True), ([[1.5]], 1)]
)
def test_malformed_lists_are_refused(name, ranked, k):
    if name == "average-gain" and ranked == [[1.5]]:
        return  # a number of labels, which test_a_gain_is_a_number_of_labels has
    with pytest.raises(ShapeError, match="expected"):
        metric(name).score(ranked, k)
    if name not in GRADED:
        with pytest.raises(ShapeError, match="only 0 and 1"):
            metric(name).score([[0.5]], 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("total", "size"),
    [([-1.0], [2]), ([np.nan], [2]), ([1.0], [2, 3]), ([1.0], [2.5]), ([1.0], [-1]), ([1.0], [0]), ([3.0], [2])],
)
def test_malformed_catalogues_are_refused(name, total, size):
    if name == "average-gain" and total == [3.0]:
        return
    with pytest.raises(ShapeError, match=r"total|size"):
        metric(name).expected(total, size, 5)


def test_a_gain_is_a_number_of_labels():
    gain = metric("average-gain")
    assert gain.score([[2, 3, 0, 1]], 4)[0] == 1.5
    assert gain.expected([6.0], [4], 2)[0] == 1.5
    query, results = [1, 1, 1, 0], [[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]]
    shared = shared_labels.relevance("positives-in-common", [query], [results])
    assert shared.tolist() == [[2, 0, 3]] and gain.score(shared, 3)[0] == pytest.approx(5 / 3)
