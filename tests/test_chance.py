"""How often random rankings do as well: counted out, by the hypergeometric distribution, and by plain shuffling."""

import time
from dataclasses import replace
from itertools import combinations, permutations, product
from math import comb, factorial

import numpy as np
import pytest
from scipy import stats

from cbir_cli import random_orders, registry
from cbir_cli.chance import FEW, RandomRankings
from cbir_cli.metric_names import RANKING, parse_metrics
from cbir_cli.random_orders import Orders, levels
from cbir_cli.truth import Case

TEN = np.arange(1, 11) / 2 + 0.5  # 1 to 5.5, as the papers rank ten images
NOTHING = np.empty(0)


def metric(name):
    (found,) = parse_metrics([name])
    return found.module, found.k


def graded(*ideals):
    return [Case((None, None, f"q{i}"), NOTHING, NOTHING, ideal=np.array(x), size=len(x)) for i, x in enumerate(ideals)]


def binary(*catalogues):
    return [
        Case((None, None, f"q{i}"), NOTHING, NOTHING, relevant=relevant, size=size)
        for i, (relevant, size) in enumerate(catalogues)
    ]


def p_random(name, cases, values, **options):
    return RandomRankings(*metric(name), cases, **options).p_random(
        {case.key: value for case, value in zip(cases, values, strict=True)}
    )


def ndcg(order, ideal, k):
    dcg = [sum((2**rel - 1) / np.log2(i + 2) for i, rel in enumerate(x[:k])) for x in (order, sorted(ideal)[::-1])]
    return dcg[0] / dcg[1]


def ndcg_of_all_orders():
    """nDCG@10 of all 10! orders of ten images: which five come first, and how both halves are ordered."""
    discount = 1 / np.log2(np.arange(2, 12))
    halves = np.array(list(permutations(range(5))))
    sums = []
    for first in combinations(range(10), 5):
        rest = [i for i in range(10) if i not in first]
        upper, lower = (2 ** TEN[np.array(half)] - 1 for half in (first, rest))
        sums.append((upper[halves] @ discount[:5])[:, None] + (lower[halves] @ discount[5:])[None])
    values = np.concatenate(sums, axis=None)
    assert len(values) == factorial(10)
    return values / values.max()


@pytest.fixture(scope="module")
def every():
    return ndcg_of_all_orders()


def test_golden_tail_of_ten_images(every):
    """Notes on the papers: at least .80, .88 and .90 in 17.5, 7.9 and 5.2 %; 90th percentile .864, worst .506."""
    assert [(every >= x).mean() for x in (0.8, 0.88, 0.9)] == pytest.approx([0.175, 0.079, 0.052], abs=0.0025)
    assert np.quantile(every, 0.9) == pytest.approx(0.864, abs=0.002) and every.min() == pytest.approx(0.506, abs=5e-4)
    worst = [ndcg(sorted(TEN), TEN, 3), ndcg(sorted(TEN), TEN, 10)]
    assert worst == pytest.approx([0.049, 0.506], abs=5e-4)


@pytest.mark.parametrize("value", [0.55, 0.7, 0.8, 0.864, 0.88, 0.9, 0.99])
def test_one_query_of_ten_images_is_as_all_their_orders(every, value):
    exact = (every >= value).mean()
    found = p_random("ndcg@10", graded(TEN), [value])
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / random_orders.MOST_DRAWN) + 1e-5)


def test_the_worst_order_is_reached_by_all_and_the_best_by_one(every):
    assert p_random("ndcg@3", graded(TEN), [ndcg(sorted(TEN), TEN, 3)]) == 1
    assert p_random("ndcg@3", graded(TEN), [1.0]) == pytest.approx(1 / (10 * 9 * 8), rel=1e-9)
    assert p_random("ndcg@10", graded(TEN), [every.min()]) == pytest.approx(1)


@pytest.mark.parametrize("ideal", [[1, 2, 3, 4, 5, 6], [3, 1, 1, 2, 2, 0, 0], [2.5, 2.5, 1]])
@pytest.mark.parametrize("k", [2, 4, 10])
def test_few_images_are_counted_out(ideal, k):
    values = [ndcg(order, ideal, k) for order in permutations(ideal)]
    for observed in {round(v, 9) for v in values[:: max(1, len(values) // 7)]}:
        exact = np.mean([v >= observed - 1e-8 for v in values])
        assert p_random(f"ndcg@{k}", graded(ideal), [observed - 5e-10]) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(("relevant", "size", "k"), [(3, 9, 5), (40, 200, 50), (2, 10_000, 20), (9, 10, 10)])
def test_precision_recall_and_success_are_hypergeometric(relevant, size, k):
    for hits in range(min(relevant, k) + 1):
        exact = stats.hypergeom.sf(hits - 1, size, relevant, k)
        for name, value in (("precision", hits / k), ("recall", hits / relevant)):
            assert p_random(f"{name}@{k}", binary((relevant, size)), [value]) == pytest.approx(
                exact, rel=1e-8, abs=1e-14
            )
    some = 1 - comb(size - relevant, k) / comb(size, k)
    assert p_random(f"success@{k}", binary((relevant, size)), [1.0]) == pytest.approx(some, rel=1e-8)
    exact = stats.hypergeom.sf(0, size, relevant, relevant)
    assert p_random("r-precision", binary((relevant, size)), [1 / relevant]) == pytest.approx(exact, rel=1e-8)


def test_precision_over_queries_is_the_convolution():
    catalogues = [(3, 9), (3, 9), (5, 9), (2, 30)]
    pmfs = [stats.hypergeom.pmf(np.arange(5), n, r, 4) for r, n in catalogues]
    for total in range(12):
        exact = sum(
            np.prod([pmf[hits] for pmf, hits in zip(pmfs, each, strict=True)])
            for each in product(range(5), repeat=4)
            if sum(each) >= total
        )
        found = p_random("p@4", binary(*catalogues), [total / 16] * 4)  # any values with that mean
        assert found > 0
        assert found == pytest.approx(exact, rel=1e-9, abs=1e-15)


def test_average_precision_of_few_is_counted_out():
    def ap(hits):
        return np.mean([(i + 1) / (hit + 1) for i, hit in enumerate(sorted(hits))])

    values = [ap(hits) for hits in combinations(range(8), 3)]
    for observed in sorted(set(values))[::5]:
        exact = np.mean([v >= observed - 1e-9 for v in values])
        assert p_random("ap", binary((3, 8)), [observed]) == pytest.approx(exact, abs=1e-12)


def shuffled(name, cases, times, rng):
    """Means over queries of random rankings, one order at a time; only with ``score`` of the metric."""
    module, k = metric(name)
    sums = np.zeros(times)
    for case in cases:
        if case.ideal is not None:
            every = np.array(case.ideal)
            other = {"ideal": np.tile(every, (times, 1)), "k": k}
        else:
            every = np.repeat([1.0, 0.0], [case.relevant, case.size - case.relevant])
            other = {"relevant": np.full(times, case.relevant), "k": k}
        lists = rng.permuted(np.tile(every, (times, 1)), axis=1)
        names = module.score.__code__.co_varnames[: module.score.__code__.co_argcount]
        sums += module.score(lists, **{name: other[name] for name in names[1:]})
    return sums / len(cases)


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("ndcg@4", graded(*[TEN] * 5)),
        ("ndcg@10", graded(*[TEN] * 3, TEN[:8], [0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3])),
        ("r-precision", binary((3, 9), (4, 9), (7, 30))),
        ("ap", binary((3, 9), (10, 40), (2, 60), (2, 60))),
        ("reciprocal-rank@10", binary((1, 30), (3, 100), (3, 100))),
        ("recall@5", binary((3, 9), (4, 9), (7, 30))),
    ],
)
def test_means_of_several_queries_agree_with_shuffling(name, cases):
    means = shuffled(name, cases, 20_000, np.random.default_rng(0))
    for place in (0.3, 0.8, 0.95, 0.99):
        observed = np.quantile(means, place)
        exact = (means >= observed - 1e-9).mean()
        found = p_random(name, cases, [observed] * len(cases))
        assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000) + 0.003)


@pytest.mark.parametrize(
    ("name", "catalogues", "allowed"),
    [
        ("r-precision", [(3, 9), (4, 9), (7, 30), (5, 12)], 0.003),
        ("recall@5", [(3, 9), (4, 30), (7, 30)], 0.003),
        ("reciprocal-rank@10", [(1, 100)], 0.01),  # one relevant of a hundred
        ("r-precision", [(7, 700), (9, 900), (11, 1100), (13, 1300)], 0.01),
    ],
)
def test_the_approximation_is_as_close_as_the_docstring_says(name, catalogues, allowed):
    number = 300
    assert number > FEW
    cases = binary(*(catalogues * number)[:number])
    module, k = metric(name)
    rng, sums = np.random.default_rng(1), np.zeros(200_000)
    for case in cases[: len(catalogues)]:
        one = Orders(module, k, case, levels(module, case)).distribution(1_000_000, rng)
        each, counts = np.unique(one.values.round(12), return_inverse=True)
        shares = np.bincount(counts, one.shares)
        sums += rng.multinomial(number // len(catalogues), shares / shares.sum(), len(sums)) @ each
    means = sums / number
    for place in (0.2, 0.5, 0.9, 0.95, 0.99):
        observed = np.quantile(means, place)
        found = p_random(name, cases, [observed] * number)
        assert found == pytest.approx((means >= observed - 1e-12).mean(), abs=allowed)
    assert p_random(name, cases, [1.0] * number) == 1e-4
    assert p_random(name, cases, [0.0] * number) == pytest.approx(1, abs=1e-3)


def test_seeds_weigh_alike_however_many_queries_they_have():
    """One seed of one query, one of three: the mean is that of the two seeds' means."""
    keys = [(1, 1, "a"), (2, 1, "a"), (2, 2, "b"), (2, 3, "c")]
    cases = [Case(key, NOTHING, NOTHING, relevant=3, size=6) for key in keys]
    values = dict(zip(keys, (1.0, 0.0, 0.5, 0.5), strict=True))
    pmf = stats.hypergeom.pmf([0, 1, 2], 6, 3, 2)
    observed = (1.0 + 1 / 3) / 2
    exact = sum(
        np.prod(pmf[list(hits)])
        for hits in product(range(3), repeat=4)
        if (hits[0] / 2 + sum(hits[1:]) / 6) / 2 >= observed - 1e-9
    )
    found = RandomRankings(*metric("p@2"), cases).p_random(values)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact / 100_000))


def test_some_of_the_queries_are_as_those_alone():
    cases = graded(TEN, TEN[:8], TEN[:6], TEN)
    rankings = RandomRankings(*metric("ndcg@4"), cases)
    values = {case.key: 0.6 for case in cases}
    some = {case.key: 0.6 for case in cases[:2]}
    alone = RandomRankings(*metric("ndcg@4"), cases[:2]).p_random(some)
    assert rankings.p_random(some) == pytest.approx(alone, abs=0.005) and rankings.p_random(values) < alone


def test_same_again_in_any_order_and_another_seed_another():
    cases = graded(TEN, TEN[:9], [1, 1, 2, 3, 4, 4, 4, 5, 6, 6, 7, 8])
    values = [0.8, 0.7, 0.9]
    first = p_random("ndcg@10", cases, values)
    assert p_random("ndcg@10", cases[::-1], values[::-1]) == first
    assert 0 < abs(p_random("ndcg@10", cases, values, seed=2) - first) < 0.01


def test_an_unknown_catalogue_or_no_query_has_none():
    unknown = Case((None, None, "q"), NOTHING, NOTHING)
    assert p_random("p@5", [unknown], [0.4]) is None
    assert p_random("p@5", [*binary((3, 9)), Case((None, None, "x"), NOTHING, NOTHING)], [0.4, 0.4]) is None
    assert RandomRankings(*metric("p@5"), binary((3, 9))).p_random({}) is None


def test_each_kind_of_metric_looks_at_its_own_catalogue():
    """Grades of qrels: an ideal that does not cover the catalogue, and relevant images besides."""
    case = Case((None, None, "q"), NOTHING, NOTHING, ideal=np.array([2.0, 1.0, 0.0]), relevant=2, size=3)
    assert p_random("p@1", [case], [1.0]) == pytest.approx(2 / 3)
    assert p_random("ndcg@1", [case], [1.0]) == pytest.approx(1 / 3)
    assert p_random("ndcg@1", [replace(case, size=4)], [1.0]) is None
    assert p_random("acg@1", [case], [1.0]) is None and p_random("knn-accuracy@1", [case], [1.0]) is None


def test_votes_of_classes_are_drawn_from_the_catalogue():
    sizes = np.array([3, 2])
    case = Case((None, None, "q"), NOTHING, NOTHING, size=6, query_class=0, class_sizes=sizes)
    module, k = metric("knn-accuracy@1")
    assert RandomRankings(module, k, [case]).p_random({case.key: 1.0}) == pytest.approx(3 / 6)
    assert RandomRankings(module, k, [case]).p_random({case.key: 0.0}) == 1
    every = replace(case, size=5)  # two classes, all stated
    for votes in (1, 2, 3, 4):
        module, k = metric(f"knn-accuracy@{votes}")
        found = RandomRankings(module, k, [every]).p_random({every.key: 1.0})
        (exact,) = module.expected(class_sizes=[sizes], query_class=[0], size=[5], k=k)
        assert found == pytest.approx(exact)


def test_relevance_of_label_sets_comes_from_its_levels():
    case = Case(
        (None, None, "q"),
        NOTHING,
        NOTHING,
        size=4,
        total=2.0,
        levels=(np.array([0.5, 0, 0.5, 1]), np.array([1, 1, 1, 1])),
    )
    (found,) = parse_metrics(["acg@1"])
    rankings = RandomRankings(found.module, 1, [case])
    assert [rankings.p_random({case.key: v}) for v in (0.0, 0.5, 1.0)] == pytest.approx([1, 0.75, 0.25])


BINARY = [n for n in registry.names(RANKING) if registry.load(RANKING, n).RELEVANCE == "binary"]


@pytest.mark.parametrize("name", BINARY)
def test_every_binary_metric_has_the_mean_that_it_expects(name):
    """Counted, enumerated or drawn: a distribution that a metric's own ``expected`` gainsays is wrong."""
    module = registry.load(RANKING, name)
    takes_k = "k" in module.score.__code__.co_varnames[: module.score.__code__.co_argcount]
    for relevant, size, k in ((3, 9, 4), (4, 40, 30), (6, 20, 5), (5, 30, 17)):
        (case,) = binary((relevant, size))
        orders = Orders(module, k if takes_k else None, case, levels(module, case))
        one = orders.distribution(400_000, np.random.default_rng(0))
        asked = module.expected.__code__.co_varnames[: module.expected.__code__.co_argcount]
        given = {"relevant": [relevant], "size": [size], "k": k}
        (exact,) = module.expected(**{key: given[key] for key in asked})
        assert one.shares.sum() == pytest.approx(1)
        assert one.shares @ one.values == pytest.approx(exact, abs=1e-4 if one.drawn else 1e-9)


def test_ten_thousand_queries_take_a_moment():
    rng = np.random.default_rng(0)
    cases = binary(*zip(rng.integers(1000, 4000, 10_000).tolist(), [9990] * 10_000, strict=True))
    start = time.perf_counter()
    found = p_random("p@5", cases, [case.relevant / case.size for case in cases])
    assert time.perf_counter() - start < 10  # .4 s on a quiet machine
    assert found == pytest.approx(0.5, abs=0.01)
