"""Means over tied results: against all orders, against closed forms, and what cannot be known."""

import functools
import inspect
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli import registry, ties
from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import average_precision, ndcg, precision, r_precision, reciprocal_rank, success

RANKING = "metrics/ranking"
EVERY = pytest.mark.parametrize("name", registry.names(RANKING))


def values(kind, rng, length):
    if kind == "graded":
        return rng.integers(0, 6, length) / 2
    if kind == "classes":
        return rng.integers(-1, 3, length)
    return rng.integers(0, 2, length).astype(float)


def given_for(score, results, k):
    """What a metric asks for besides the list, for one query whose list is its catalogue."""
    known = {"relevant": [int((results > 0).sum())], "ideal": results[None], "size": [len(results)], "k": k}
    known["query_class"] = [1]
    return {name: known[name] for name in list(inspect.signature(score).parameters)[1:]}


def plainly(score, results, far, given):
    """Mean over all orders of all groups at once."""
    groups = [np.flatnonzero(far == distance) for distance in np.unique(far)]
    found = []
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        found.append(score(results[None, list(itertools.chain(*orders))], **given).filled(-1)[0])
    return np.mean(found)


@EVERY
@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_averaged_over_all_orders_of_all_groups(name, seed):
    rng = np.random.default_rng(seed)
    module = registry.load(RANKING, name)
    results, far = values(module.RELEVANCE, rng, 7), np.sort(rng.integers(0, 4, 7)).astype(float)
    for k in (2, 3, 7, 9):
        given = given_for(module.score, results, k)
        wanted = plainly(module.score, results, far, given)
        found = ties.average(module.score, [results], [far], **{"size": [7], **given})
        assert found.filled(-1)[0] == pytest.approx(wanted, abs=1e-12)


@EVERY
def test_a_catalogue_that_is_tied_as_a_whole_gets_what_chance_gets(name):
    module = registry.load(RANKING, name)
    results = values(module.RELEVANCE, np.random.default_rng(1), 6)
    given = given_for(module.score, results, 3)
    known = {"relevant": [(results > 0).sum()], "ideal": [results], "size": [6], "k": 3, "query_class": [1]}
    known |= {"total": [results.sum()], "class_sizes": [[(results == number).sum() for number in range(3)]]}
    chance = module.expected(**{one: known[one] for one in inspect.signature(module.expected).parameters})
    found = ties.average(module.score, [results], [[0.5] * 6], **{"size": [6], **given})
    assert found.filled(-1)[0] == pytest.approx(chance.filled(-1)[0], abs=1e-12)


def test_one_pair_by_hand():
    found = ties.average(average_precision.score, [[1, 0, 1]], [[1, 2, 2]], relevant=[2], size=[3])
    assert found[0] == pytest.approx(((1 + 2 / 2) / 2 + (1 + 2 / 3) / 2) / 2)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1])), min_size=1, max_size=30).filter(
        lambda pairs: any(one for _, one in pairs)
    )
)
def test_additive_metrics_have_the_closed_form_whatever_the_size_of_the_group(pairs):
    """McSherry and Najork: every tied result has the mean gain of its group."""
    far = np.array(sorted(distance for distance, _ in pairs), dtype=float)
    results = np.array([one for _, one in pairs], dtype=float)
    means = np.array([results[far == distance].mean() for distance in far])
    size = [len(far)]
    for k in (1, 5, 30):
        found = ties.average(precision.score, [results], [far], size=size, k=k)[0]
        assert found == pytest.approx(means[:k].sum() / k, abs=1e-12)
        discounts = 1 / np.log2(np.arange(2, len(far) + 2))
        best = np.sort(results)[::-1][:k] @ discounts[:k]
        found = ties.average(ndcg.score, [results], [far], size=size, ideal=[results], k=k)[0]
        assert found == pytest.approx(means[:k] @ discounts[:k] / best, abs=1e-9)


def closed_form(results, far):
    """McSherry and Najork's average precision."""
    total = 0.0
    for distance in np.unique(far):
        group = np.flatnonzero(far == distance)
        n, r, before = len(group), results[group].sum(), results[: group[0]].sum()
        for j in range(1, n + 1):
            others = (j - 1) * (r - 1) / (n - 1) if n > 1 else 0.0
            total += r / n * (before + 1 + others) / (group[0] + j)
    return total / results.sum()


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1])), min_size=1, max_size=12))
def test_average_precision_has_its_closed_form(pairs):
    far = np.array(sorted(distance for distance, _ in pairs), dtype=float)
    results = np.array([one for _, one in pairs], dtype=float)
    found = ties.average(average_precision.score, [results], [far], size=[len(far)], relevant=[int(results.sum())])
    if results.any():
        assert found[0] == pytest.approx(closed_form(results, far), abs=1e-12)
    else:
        assert found.mask.all()


def test_a_large_group_is_estimated_and_says_the_same_twice():
    rng = np.random.default_rng(3)
    results, far = rng.integers(0, 2, 60).astype(float), np.repeat([1.0, 2.0], 30)
    call = functools.partial(ties.average, size=[60], relevant=[int(results.sum())])
    found = call(average_precision.score, [results], [far])
    assert found[0] == pytest.approx(closed_form(results, far), abs=0.01)
    assert found[0] != closed_form(results, far)
    assert found[0] == call(average_precision.score, [results], [far])[0]
    assert found[0] != call(average_precision.score, [results], [far], seed=2)[0]
    relevant, k = int(results[:30].sum()), 3
    chance = 1 - math.comb(30 - relevant, k) / math.comb(30, k)
    assert ties.average(success.score, [results], [far], size=[60], k=k)[0] == pytest.approx(chance, abs=0.04)


def test_a_query_does_not_depend_on_the_others():
    rng = np.random.default_rng(5)
    results, far = rng.integers(0, 2, (20, 12)).astype(float), np.sort(rng.integers(0, 3, (20, 12)), axis=1)
    relevant, size = results.sum(axis=1).astype(int), np.full(20, 12)
    together = ties.average(average_precision.score, results, far, relevant=relevant, size=size)
    for i in range(20):
        alone = ties.average(average_precision.score, results[[i]], far[[i]], relevant=relevant[[i]], size=size[[i]])
        assert alone.filled(-1)[0] == pytest.approx(together.filled(-1)[i], abs=1e-12)


def test_without_ties_it_is_the_score():
    results, far = [[1, 0, 0], [0, 1, 0]], [[0.1, 0.2, 0.3], [1.0, 2.0, 4.0]]
    found = ties.average(reciprocal_rank.score, results, far, k=3)
    assert found.tolist() == reciprocal_rank.score(results, 3).tolist() == [1.0, 0.5]
    assert not ties.tied(far).any()
    assert ties.tied([[1.0, 1.0, 2.0], [1.0, 2.0, 3.0]]).tolist() == [True, False]


def test_many_lists_in_several_batches(monkeypatch):
    rng = np.random.default_rng(7)
    results, far = rng.integers(0, 2, (50, 8)).astype(float), np.sort(rng.integers(0, 3, (50, 8)), axis=1)
    whole = ties.average(precision.score, results, far, size=np.full(50, 8), k=3)
    monkeypatch.setattr(ties, "_CELLS", 64)
    assert ties.average(precision.score, results, far, size=np.full(50, 8), k=3).tolist() == pytest.approx(
        whole.tolist()
    )


def test_a_tie_that_the_end_of_the_list_cuts_is_masked():
    results, far = [[1.0, 0.0, 0.0]], [[1.0, 2.0, 2.0]]
    assert ties.average(precision.score, results, far, size=[4], k=2).mask.tolist() == [True]
    assert ties.average(precision.score, results, far, k=2).mask.tolist() == [True]
    assert ties.average(precision.score, results, far, size=[3], k=2)[0] == 0.5
    # What is tied lies behind the cut-off, or the list ends in one result that is tied with none that is known.
    assert ties.average(precision.score, results, far, size=[4], k=1)[0] == 1.0
    assert ties.average(precision.score, [[1.0, 0.0]], [[1.0, 2.0]], size=[4], k=2)[0] == 0.5
    assert ties.average(r_precision.score, results, far, relevant=[1], size=[4]).mask.tolist() == [True]


def test_queries_that_the_metric_masks_stay_masked():
    found = ties.average(average_precision.score, [[0, 0], [1, 0]], [[1, 1], [1, 1]], relevant=[0, 1], size=[2, 2])
    assert found.mask.tolist() == [True, False] and found[1] == 0.75


def test_empty():
    assert ties.average(precision.score, np.empty((2, 0)), np.empty((2, 0)), k=3).tolist() == [0.0, 0.0]
    assert ties.average(precision.score, np.empty((0, 3)), np.empty((0, 3)), k=3).shape == (0,)


@pytest.mark.parametrize(
    ("far", "words"),
    [
        ([[1.0, 2.0, 3.0]], "a distance for every result"),
        ([[2.0, 1.0]], "from near to far"),
        ([[1.0, np.nan]], "finite"),
        ([[1.0, np.inf]], "finite"),
        ([1.0, 2.0], "queries, results"),
    ],
)
def test_malformed_distances_are_refused(far, words):
    with pytest.raises(ShapeError, match=words):
        ties.average(precision.score, [[1, 0]], far, k=1)


def test_a_size_for_every_query():
    with pytest.raises(ShapeError, match="size: expected"):
        ties.average(precision.score, [[1, 0]], [[1, 2]], size=[2, 2], k=1)
