import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from cbir_cli.errors import ShapeError
from cbir_cli.metric_names import parse_metrics
from cbir_cli.metrics.ranking import ndcg, ndcg_linear
from cbir_cli.relevance import from_ranks

PAPER = from_ranks(np.arange(1, 11), 10)
# The one order of the paper's relevances for which nDCG@10 is .7669, nDCG@4 .6423, and .8914 with linear gain.
EXAMPLE = [3.5, 5.5, 1.0, 5.0, 2.0, 4.5, 1.5, 4.0, 2.5, 3.0]

grades = st.lists(st.integers(0, 20).map(lambda half: half / 2), min_size=1, max_size=12)


def plainly(ranked, ideal, k):
    """The paper's equations 1 and 2, term by term."""
    dcg = sum((2**rel - 1) / math.log2(i + 1) for i, rel in enumerate(ranked[:k], start=1))
    best = sorted(ideal, reverse=True)
    return dcg / sum((2**rel - 1) / math.log2(i + 1) for i, rel in enumerate(best[:k], start=1))


def one(ranked, ideal, k):
    return ndcg.score([ranked], [ideal], k)[0]


def test_golden_example():
    assert one(EXAMPLE, PAPER, 10) == pytest.approx(0.7669, abs=5e-5)
    assert one(EXAMPLE, PAPER, 4) == pytest.approx(0.6423, abs=5e-5)


def test_worst_orders_of_ten():
    assert one(PAPER[::-1], PAPER, 10) == pytest.approx(0.506, abs=5e-4)
    assert one(PAPER[::-1], PAPER, 3) == pytest.approx(0.049, abs=5e-4)


@functools.cache
def every_order():
    """nDCG@10 of all 3,628,800 orders of the paper's relevances: each image first, then the others in all orders."""
    gains, discounts = 2**PAPER - 1, 1 / np.log2(np.arange(2, 12))
    orders = np.fromiter(itertools.chain.from_iterable(itertools.permutations(range(9))), np.int8).reshape(-1, 9)
    dcg = [gains[i] * discounts[0] + np.delete(gains, i)[orders] @ discounts[1:] for i in range(10)]
    values = np.concatenate(dcg) / (np.sort(gains)[::-1] @ discounts)
    some = np.arange(0, len(orders), 97)  # that this package has the same values
    for first in (0, 4, 9):
        ranked = np.column_stack([np.full(len(some), PAPER[first]), np.delete(PAPER, first)[orders[some]]])
        ours = ndcg.score(ranked, np.tile(PAPER, (len(some), 1)), 10)
        assert np.abs(ours - values[first * len(orders) + some]).max() < 1e-12
    return values


# Mean and standard deviation of what a random order of ten images gets, enumerated apart from this package. Means of
# .443 at 4, .571 at 7 and .398 at 3 that are reported come from a sample: within 1.3 standard errors of 20,000 orders.
EXACT = {10: (0.698116, 0.103521), 7: (0.570178, 0.152483), 4: (0.441262, 0.191933), 3: (0.398850, 0.210014)}


@pytest.mark.parametrize("k", [3, 4])
def test_random_baseline_of_ten_images_is_the_mean_over_all_first_k(k):
    first = np.array(list(itertools.permutations(PAPER, k)))
    values = ndcg.score(first, np.tile(PAPER, (len(first), 1)), k)
    assert (values.mean(), values.std()) == pytest.approx(EXACT[k], abs=1e-6)
    assert ndcg.expected([PAPER], k)[0] == pytest.approx(values.mean(), abs=1e-12)


def test_random_baseline_of_ten_images_is_the_mean_over_all_orders():
    values = every_order()
    assert len(values) == math.factorial(10)
    assert (values.mean(), values.std()) == pytest.approx(EXACT[10], abs=1e-6)
    assert ndcg.expected([PAPER], 10)[0] == pytest.approx(values.mean(), abs=1e-12)
    assert values.min() == pytest.approx(one(PAPER[::-1], PAPER, 10))


# A sample gave .175, .079 and .052.
@pytest.mark.parametrize(("least", "share"), [(0.8, 0.17696), (0.88, 0.08036), (0.9, 0.05285)])
def test_how_often_chance_gets_a_good_score(least, share):
    assert (every_order() >= least - 1e-12).mean() == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("k", EXACT)
def test_random_baseline_of_ten_images(k):
    mean, sd = EXACT[k]
    assert ndcg.expected([PAPER], k)[0] == pytest.approx(mean, abs=1e-6)
    orders = np.random.default_rng(7).permuted(np.tile(PAPER, (20_000, 1)), axis=1)
    found = ndcg.score(orders, np.tile(PAPER, (20_000, 1)), k)
    assert (found.mean(), found.std()) == (pytest.approx(mean, abs=0.004), pytest.approx(sd, abs=0.004))


def test_linear_gain_hardly_tells_chance_from_the_expert():
    found = [ndcg_linear.expected([PAPER], k)[0] for k in (10, 7, 4, 3)]
    assert found == pytest.approx([0.856, 0.744, 0.659, 0.635], abs=5e-4)
    assert ndcg_linear.score([EXAMPLE], [PAPER], 10)[0] == pytest.approx(0.8914, abs=5e-5)
    assert ndcg_linear.score([EXAMPLE], [PAPER], 10)[0] == pytest.approx(
        ndcg_score([EXAMPLE], -np.arange(10)[None], k=10), abs=1e-12
    )


@given(grades, st.integers(1, 15), st.randoms())
def test_equals_the_formula_and_scikit_learn(ideal, k, random):
    if not any(ideal):
        return
    ranked = random.sample(ideal, len(ideal))
    value = one(ranked, ideal, k)
    assert value == pytest.approx(plainly(ranked, ideal, k), abs=1e-9)
    if len(ideal) > 1:  # scikit-learn refuses a single image
        gains = 2 ** np.array([ranked]) - 1
        assert value == pytest.approx(ndcg_score(gains, -np.arange(len(ideal))[None], k=k), abs=1e-9)
        linear = ndcg_linear.score([ranked], [ideal], k)[0]
        assert linear == pytest.approx(ndcg_score([ranked], -np.arange(len(ideal))[None], k=k), abs=1e-9)


@given(grades, st.integers(1, 15), st.randoms())
def test_is_between_nothing_and_one_and_rewards_a_good_swap(ideal, k, random):
    if not any(ideal):
        return
    ranked = random.sample(ideal, len(ideal))
    before = one(ranked, ideal, k)
    assert 0 <= before <= 1
    for i, j in itertools.combinations(range(len(ranked)), 2):
        if ranked[i] < ranked[j]:
            ranked[i], ranked[j] = ranked[j], ranked[i]
            assert one(ranked, ideal, k) >= before - 1e-12
            break


@pytest.mark.parametrize("k", [1, 4, 10, 50])
def test_the_experts_own_order_is_perfect(k):
    assert one(PAPER, PAPER[::-1], k) == 1.0


def test_ideal_is_the_whole_ranking_not_what_was_retrieved():
    assert one([1.0, 1.5], PAPER, 2) == pytest.approx(plainly([1.0, 1.5], PAPER, 2))
    assert one([1.0, 1.5], PAPER, 2) < 0.1


def test_k_beyond_the_catalogue_is_the_whole_catalogue():
    assert one(EXAMPLE, PAPER, 99) == one(EXAMPLE, PAPER, 10)
    assert ndcg.expected([PAPER], 99)[0] == ndcg.expected([PAPER], 10)[0]


def test_missing_results_gain_nothing():
    assert one(PAPER[:2], PAPER, 4) == pytest.approx(plainly([*PAPER[:2], 0, 0], PAPER, 4))
    assert one([], PAPER, 4) == 0


def test_ties_across_the_cut_do_not_spoil_a_perfect_list():
    ideal = [3.0, 2.0, 2.0, 2.0, 1.0]
    assert one([3.0, 2.0], ideal, 2) == 1.0
    assert one([2.0, 3.0], ideal, 2) == pytest.approx(plainly([2.0, 3.0], ideal, 2))


def test_nothing_relevant_is_masked_and_not_nan():
    value = ndcg.score([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]], 2)
    chance = ndcg.expected([[0.0, 0.0], [1.0, 0.0]], 2)
    assert value.mask.tolist() == chance.mask.tolist() == [True, False]
    assert np.isfinite(value.data).all()
    assert ndcg.score(np.empty((1, 0)), np.empty((1, 0)), 2).mask.all()
    assert ndcg.score(np.empty((0, 3)), np.empty((0, 3)), 2).shape == (0,)


def test_thousands_of_ranked_images_do_not_overflow():
    ideal = from_ranks(np.arange(1, 5001), 5000)
    assert one(ideal, ideal, 10) == 1.0
    # One place late: each gain is 2**-.5 of the ideal one.
    assert one(ideal[1:], ideal, 10) == pytest.approx(2**-0.5)
    assert 0 < ndcg.expected([ideal], 10)[0] < 0.01


@pytest.mark.parametrize(
    ("ranked", "ideal", "k", "words"),
    [
        ([1.0], [[1.0]], 1, "expected"),
        ([[1.0]], [[1.0], [1.0]], 1, "catalogues"),
        ([[-1.0]], [[1.0]], 1, "at least 0"),
        ([[math.nan]], [[1.0]], 1, "finite"),
        ([[1.0]], [[math.inf]], 1, "finite"),
        ([[2.0]], [[1.0]], 1, "more relevant than anything"),
        ([[5.0, 5.0]], [[5.0, 1.0]], 2, "better than the ideal"),
        ([[1.0]], [[1.0]], 0, "k: expected"),
        ([[1.0]], [[1.0]], 1.5, "k: expected"),
    ],
)
def test_malformed_input_is_refused(ranked, ideal, k, words):
    for metric in (ndcg, ndcg_linear):
        with pytest.raises(ShapeError, match=words):
            metric.score(ranked, ideal, k)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=9), st.integers(1, 12))
def test_of_zeros_and_ones_both_gains_are_the_same(ranked, k):
    if any(ranked):
        assert one(ranked, ranked, k) == pytest.approx(ndcg_linear.score([ranked], [ranked], k)[0], abs=1e-12)


def test_linear_gain_of_nothing_and_of_the_experts_own_order():
    assert ndcg_linear.score([[0.0, 0.0]], [[0.0, 0.0]], 2).mask.all()
    assert ndcg_linear.score([PAPER], [PAPER], 4)[0] == 1.0
    assert ndcg_linear.score(np.empty((1, 0)), [PAPER], 4)[0] == 0.0


def test_burges_gain_is_the_exponential_one():
    names = [str(metric) for metric in parse_metrics(["ndcg-burges@4", "ndcg-exponential@3", "ndcg-linear@4"])]
    assert names == ["ndcg@4", "ndcg@3", "ndcg-linear@4"]
    ranknet = [(2**rel - 1) / math.log(1 + i) for i, rel in enumerate(EXAMPLE, start=1)]  # as RankNet writes it
    ideal = [(2**rel - 1) / math.log(1 + i) for i, rel in enumerate(PAPER, start=1)]
    assert one(EXAMPLE, PAPER, 10) == pytest.approx(sum(ranknet) / sum(ideal), abs=1e-12)
