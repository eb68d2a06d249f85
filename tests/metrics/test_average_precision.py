import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from cbir_cli.artifacts.run import RunRow
from cbir_cli.errors import ShapeError
from cbir_cli.evaluation import evaluate_run
from cbir_cli.metrics.ranking import average_precision
from cbir_cli.truth import Catalogue

lists = st.lists(st.sampled_from([0, 1]), min_size=1, max_size=12)


def plainly(ranked):
    """Precision at the rank of each relevant image, in fractions."""
    ranks = [rank for rank, relevant in enumerate(ranked, start=1) if relevant]
    return sum(Fraction(count, rank) for count, rank in enumerate(ranks, start=1)) / len(ranks)


def one(ranked, relevant=None):
    return average_precision.score([ranked], [sum(ranked) if relevant is None else relevant])[0]


@given(lists)
def test_equals_the_definition_and_scikit_learn(ranked):
    if not any(ranked):
        return
    assert one(ranked) == pytest.approx(float(plainly(ranked)), abs=1e-12)
    assert one(ranked) == pytest.approx(average_precision_score(ranked, -np.arange(len(ranked))), abs=1e-12)


def test_the_example_of_the_docstring_and_its_namesakes():
    ranked = [0, 1, 1, 0, 1]
    at = [sum(ranked[:k]) / k for k in range(1, 6)]
    assert one(ranked) == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3) == pytest.approx(0.589, abs=5e-4)
    assert np.mean(at) == pytest.approx(0.453, abs=5e-4)
    assert sum(p for p, relevant in zip(at, ranked, strict=True) if relevant) / 5 == pytest.approx(0.353, abs=5e-4)


def test_perfect_and_worst():
    assert average_precision.score([[1, 1, 0, 0], [0, 0, 1, 1]], [2, 2]).tolist() == [1.0, (1 / 3 + 2 / 4) / 2]


@pytest.mark.parametrize(("relevant", "size"), [(1, 1), (1, 5), (2, 5), (4, 5), (5, 5), (3, 6)])
def test_chance_is_the_mean_over_all_orders(relevant, size):
    orders = [[int(rank in chosen) for rank in range(size)] for chosen in itertools.combinations(range(size), relevant)]
    mean = sum(map(plainly, orders)) / len(orders)
    assert average_precision.expected([relevant], [size])[0] == pytest.approx(float(mean), abs=1e-12)


def test_chance_of_catalogues_of_different_sizes():
    together = average_precision.expected([3, 1, 40], [6, 5, 80]).tolist()
    alone = [average_precision.expected([r], [n])[0] for r, n in ((3, 6), (1, 5), (40, 80))]
    assert together == alone
    assert average_precision.expected([40, 5], [80, 10]).tolist() == pytest.approx([0.5251, 0.6072], abs=5e-5)


def test_nothing_relevant_is_masked_and_not_nan():
    value = average_precision.score([[0, 0], [1, 0]], [0, 1])
    chance = average_precision.expected([0, 1, 0], [2, 2, 0])
    assert value.mask.tolist() == [True, False] and chance.mask.tolist() == [True, False, True]
    assert np.isfinite(value.data).all() and np.isfinite(chance.data).all()
    assert average_precision.score(np.zeros((2, 0)), [0, 0]).mask.all()
    assert average_precision.score(np.zeros((0, 3)), np.zeros(0, int)).shape == (0,)


def test_what_follows_the_last_relevant_image_changes_nothing():
    assert one([1, 0, 1]) == one([1, 0, 1, 0, 0, 0])


def test_a_list_without_all_relevant_images_is_refused():
    with pytest.raises(ShapeError, match=r"list of 4 has 2 of the 3 relevant images .* needs them all"):
        average_precision.score([[1, 1, 1, 0], [1, 0, 1, 0]], [3, 3])


@pytest.mark.parametrize(
    ("ranked", "relevant"),
    [([1], [1]), ([[0.5]], [1]), ([[1, 1]], [1]), ([[1]], [1, 1]), ([[1]], [-1]), ([[1]], [1.0])],
)
def test_malformed_input_is_refused(ranked, relevant):
    with pytest.raises(ShapeError, match=r"expected|more relevant"):
        average_precision.score(ranked, relevant)


def test_a_catalogue_smaller_than_its_relevant_images_is_refused():
    with pytest.raises(ShapeError, match="fewer images"):
        average_precision.expected([3], [2])


def test_a_run_is_scored_under_the_short_name():
    codes = {"a": 0, "b": 1, "c": 1, "d": 0, "e": 1}
    rows = [
        RunRow("q", rank, name, rank, {"PE": 1}, {"PE": code}) for rank, (name, code) in enumerate(codes.items(), 1)
    ]
    known = {(None, None, "q"): Catalogue(3, 5)}
    (score,) = evaluate_run(rows, metrics=["ap"], catalogues=known)
    assert (score.metric, score.mean) == ("average-precision", pytest.approx(float(plainly(codes.values()))))
    assert score.random == average_precision.expected([3], [5])[0]
    with pytest.raises(ShapeError, match="has 2 of the 3 relevant images"):
        evaluate_run(rows[:4], metrics=["ap"], catalogues=known)
