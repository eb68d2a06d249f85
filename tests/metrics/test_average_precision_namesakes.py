"""Numbers that are all called (mean) average precision somewhere, each against the words or the code it comes from."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli import registry
from cbir_cli.errors import ShapeError
from cbir_cli.metric_names import parse_metrics
from cbir_cli.metrics.ranking import (
    average_precision,
    average_precision_at_r,
    average_precision_cut,
    average_precision_min,
    average_precision_over_k,
    average_precision_trapezoid,
    average_precision_xmir,
    r_precision,
)

CUT = (average_precision_cut, average_precision_min, average_precision_over_k)
WHOLE = (average_precision, average_precision_trapezoid, average_precision_xmir)
lists = st.lists(st.sampled_from([0, 1]), min_size=1, max_size=12).filter(any)


def call(module, ranked, k=None, relevant=None):
    given = {"relevant": [sum(ranked) if relevant is None else relevant], "size": [len(ranked)], "k": k}
    return registry_call(module.score, {"relevance": [ranked], **given})


def registry_call(function, given):
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return function(**{name: given[name] for name in names})[0]


def authors_ap(ranks, nres):
    """What cnnimageretrieval-pytorch and X-MIR have: zero-based ranks of relevant images, trapezoids of 1 / nres."""
    total = 0.0
    for found, rank in enumerate(ranks):
        before = 1.0 if rank == 0 else found / rank
        total += (before + (found + 1) / (rank + 1)) / nres / 2
    return total


def test_golden_values_of_one_list():
    ranked = [0, 1, 1, 0, 1]
    wanted = {
        "mean-precision@5": 0.453,
        "mean-precision-wickstrom@5": 0.417,
        "average-precision": 0.589,
        "average-precision-over-k@5": 0.353,
        "average-precision-cut@5": 0.589,
        "average-precision-min@5": 0.589,
        "average-precision-trapezoid": 0.461,
        "average-precision-xmir": 0.504,
        "average-precision-at-r": 0.389,
    }
    found = {str(metric): call(metric.module, ranked, metric.k) for metric in parse_metrics(wanted)}
    assert found == pytest.approx(wanted, abs=5e-4)


def test_golden_values_where_the_denominators_differ():
    assert [call(m, [0, 1, 1, 0, 1], 3, 4) for m in CUT] == pytest.approx([0.292, 0.389, 0.389], abs=5e-4)
    assert [call(m, [0, 1, 1, 0, 1], 5, 4) for m in CUT] == pytest.approx([0.442, 0.442, 0.353], abs=5e-4)


@given(lists)
def test_trapezoids_equal_the_authors_loop(ranked):
    ranks = [rank for rank, relevant in enumerate(ranked) if relevant]
    assert call(average_precision_trapezoid, ranked) == pytest.approx(authors_ap(ranks, len(ranks)), abs=1e-12)
    with_query = [*ranks, len(ranked)]
    assert call(average_precision_xmir, ranked) == pytest.approx(authors_ap(with_query, len(with_query)), abs=1e-12)


@given(lists)
def test_trapezoids_lie_below_steps_and_the_query_bends_towards_its_own(ranked):
    steps, pieces = call(average_precision, ranked), call(average_precision_trapezoid, ranked)
    first = ranked[: sum(ranked)] == [1] * sum(ranked)
    assert pieces <= steps + 1e-12 and (abs(pieces - steps) < 1e-12) == first
    relevant, size = sum(ranked), len(ranked)
    own = (relevant / size + (relevant + 1) / (size + 1)) / 2
    assert call(average_precision_xmir, ranked) == pytest.approx((relevant * pieces + own) / (relevant + 1), abs=1e-12)


def test_xmirs_map_of_a_test_set_searched_in_itself():
    """As its test.py: the query's own distance is infinite, and its label counts among the relevant ones."""
    rng = np.random.default_rng(4)
    labels = np.arange(30) % 3
    vectors = rng.standard_normal((30, 5)) + labels[:, None]
    far = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    np.fill_diagonal(far, np.inf)
    theirs, ours = [], []
    for order, label in zip(far.argsort(axis=1), labels, strict=True):
        positions = np.flatnonzero(np.isin(order, np.flatnonzero(labels == label)))
        theirs.append(authors_ap(positions, len(positions)))
        assert positions[-1] == 29
        ours.append((labels[order[:-1]] == label).astype(int))
    value = average_precision_xmir.score(ours, [9] * 30, [29] * 30)
    assert value.mean() == pytest.approx(np.mean(theirs), abs=1e-12)
    assert value.mean() != pytest.approx(average_precision_trapezoid.score(ours, [9] * 30).mean(), abs=1e-3)


def test_a_perfect_list_of_the_papers_test_set_is_below_one():
    assert call(average_precision_xmir, [1] * 99 + [0] * 200) == pytest.approx(0.993, abs=5e-4)


@given(lists, st.integers(0, 3))
def test_map_at_r_equals_musgraves_own(ranked, missed):
    relevant = sum(ranked) + missed
    if relevant > len(ranked):
        return
    value = call(average_precision_at_r, ranked, relevant=relevant)
    first = ranked[:relevant]
    plain = sum(sum(first[:i]) / i for i in range(1, relevant + 1) if first[i - 1]) / relevant
    assert value == pytest.approx(plain, abs=1e-12)
    from pytorch_metric_learning.utils.accuracy_calculator import mean_average_precision  # it changes faiss: not above

    theirs = mean_average_precision(
        torch.tensor([ranked]),
        torch.tensor([[1]]),
        ref_includes_query=False,
        label_counts=(torch.tensor([[1]]), torch.tensor([relevant])),
        avg_of_avgs=False,
        return_per_class=False,
        label_comparison_fn=torch.eq,
        at_r=True,
    )
    assert value == pytest.approx(float(theirs), abs=1e-9)
    assert value <= r_precision.score([ranked], [relevant])[0] + 1e-12


@given(lists, st.integers(1, 15), st.integers(0, 4))
def test_cut_off_values_equal_their_definition(ranked, k, missed):
    relevant = sum(ranked) + missed
    total = sum(sum(ranked[:i]) / i for i, one in enumerate(ranked[:k], start=1) if one)
    for module, divisor in zip(CUT, (relevant, min(k, relevant), k), strict=True):
        assert call(module, ranked, k, relevant) == pytest.approx(total / divisor, abs=1e-12)
    assert call(average_precision_cut, ranked, len(ranked)) == pytest.approx(call(average_precision, ranked))


def test_perfect_and_worst():
    for module in (average_precision_trapezoid, average_precision_at_r, average_precision_cut, average_precision_min):
        assert call(module, [1, 1, 0, 0], 2) == 1.0
    assert call(average_precision_trapezoid, [0, 0, 1, 1]) == pytest.approx(((0 + 1 / 3) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert call(average_precision_at_r, [0, 0, 1, 1]) == 0.0
    assert [call(m, [0, 0, 1, 1], 2) for m in CUT] == [0.0, 0.0, 0.0]
    assert call(average_precision_min, [1, 0, 0], 1, relevant=3) == 1.0
    assert call(average_precision_cut, [1, 0, 0], 1, relevant=3) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("relevant", "size"), [(1, 1), (1, 5), (2, 5), (4, 5), (5, 5), (3, 7)])
@pytest.mark.parametrize("module", [*WHOLE, *CUT, average_precision_at_r], ids=lambda module: module.__name__)
def test_chance_is_the_mean_over_all_orders(module, relevant, size):
    orders = [[int(rank in chosen) for rank in range(size)] for chosen in itertools.combinations(range(size), relevant)]
    for k in (1, 3, size, size + 2):
        mean = np.mean([call(module, order, k) for order in orders])
        chance = registry_call(module.expected, {"relevant": [relevant], "size": [size], "k": k})
        assert chance == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("module", [*WHOLE, *CUT, average_precision_at_r], ids=lambda module: module.__name__)
def test_nothing_relevant_and_empty_lists(module):
    found, given = np.zeros((2, 3)), {"relevant": [0, 1], "size": [3, 3], "k": 2}
    found[1, 0] = 1
    names = module.score.__code__.co_varnames[: module.score.__code__.co_argcount]
    value = module.score(**{"relevance": found} | {name: given[name] for name in names[1:]})
    assert np.isfinite(value.data).all() and value.mask.tolist() == [module is not average_precision_over_k, False]
    empty = {"relevant": [0], "size": [0], "k": 2}
    value = module.score(**{"relevance": np.zeros((1, 0))} | {name: empty[name] for name in names[1:]})
    assert value.filled(0).tolist() == [0.0]


def test_lists_that_lack_relevant_images():
    for module in WHOLE:
        with pytest.raises(ShapeError, match=r"list of 3 has 1 of the 2 relevant images .* needs them all"):
            call(module, [1, 0, 0], relevant=2)
    with pytest.raises(ShapeError, match="needs the first 2 results, found 1"):
        call(average_precision_at_r, [1], relevant=2)
    assert call(average_precision_at_r, [1, 0], relevant=2) == 0.5
    assert [call(m, [1], 2, relevant=2) for m in CUT] == [0.5, 0.5, 0.5]


def test_a_list_longer_than_its_catalogue_is_refused():
    with pytest.raises(ShapeError, match="longer than its catalogue"):
        average_precision_xmir.score([[1, 0]], [1], [1])


@pytest.mark.parametrize("module", [*WHOLE, *CUT, average_precision_at_r], ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    ("ranked", "relevant"),
    [([1], [1]), ([[0.5]], [1]), ([[1, 1]], [1]), ([[1]], [1, 1]), ([[1]], [-1]), ([[1]], [1.0])],
)
def test_malformed_input_is_refused(module, ranked, relevant):
    if module is average_precision_over_k and np.shape(ranked) != (1,) and ranked != [[0.5]]:
        return  # asks for the list alone
    given = {"relevance": ranked, "relevant": relevant, "size": [2] * len(relevant), "k": 1}
    with pytest.raises(ShapeError, match=r"expected|more relevant"):
        registry_call(module.score, given)


@pytest.mark.parametrize("module", CUT, ids=lambda module: module.__name__)
def test_a_cut_off_is_a_whole_number(module):
    for k in (0, -1, 2.0, True):
        with pytest.raises(ShapeError, match="k: expected"):
            call(module, [1], k)
        with pytest.raises(ShapeError, match="k: expected"):
            registry_call(module.expected, {"relevant": [1], "size": [1], "k": k})


@pytest.mark.parametrize("name", registry.names("metrics/ranking"))
def test_a_catalogue_smaller_than_its_relevant_images_is_refused(name):
    expected = registry.load("metrics/ranking", name).expected
    if "relevant" in expected.__code__.co_varnames:
        with pytest.raises(ShapeError, match="fewer images"):
            registry_call(expected, {"relevant": [3], "size": [2], "k": 2})
