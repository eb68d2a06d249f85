"""Statistics of agreement against scipy, scikit-learn, pingouin, published values and plain twins."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from cbir_cli import registry
from cbir_cli.errors import ShapeError

FOLDER = "metrics/agreement"
PAIRS = ("kendall-tau", "spearman-rho", "kappa-linear", "kappa-quadratic")
ICC = {  # Shrout and Fleiss (1979), table 4: six targets, four judges
    "icc.one-way": 0.17,
    "icc.agreement": 0.29,
    "icc.consistency": 0.71,
    "icc.one-way-mean": 0.44,
    "icc.agreement-mean": 0.62,
    "icc.consistency-mean": 0.91,
}
JUDGED = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]

severities = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


def score(name, *given):
    return registry.load(FOLDER, name).score(*given)


def test_the_folder_holds_what_is_tested_here():
    assert registry.names(FOLDER) == sorted([*PAIRS, "kendall-w", *ICC])


# Ranks of pairs


@given(severities)
def test_rank_correlations_are_scipys(pairs):
    first, second = np.array(pairs).T
    with warnings.catch_warnings(action="ignore"):
        tau, rho = stats.kendalltau(first, second).statistic, stats.pearsonr(*map(stats.rankdata, (first, second)))
    assert score("kendall-tau", first, second) == pytest.approx(None if np.isnan(tau) else tau, abs=1e-12)
    rho = rho.statistic
    assert score("spearman-rho", first, second) == (None if np.isnan(rho) else pytest.approx(rho, abs=1e-12))


def test_tau_b_counts_pairs():
    first, second = [1, 2, 3, 4, 5], [2, 2, 1, 5, 4]
    signs = [
        (np.sign(first[i] - first[j]), np.sign(second[i] - second[j])) for i, j in itertools.combinations(range(5), 2)
    ]
    agreeing, pairs = sum(a * b for a, b in signs), [sum(a != 0 for a, _ in signs), sum(b != 0 for _, b in signs)]
    assert score("kendall-tau", first, second) == pytest.approx(agreeing / np.sqrt(np.prod(pairs)), abs=1e-12)


def test_rho_of_ranks_without_ties_is_the_textbooks():
    first, second = np.arange(1, 8), np.array([2, 1, 4, 3, 7, 5, 6])
    assert score("spearman-rho", first, second) == pytest.approx(
        1 - 6 * ((first - second) ** 2).sum() / (7**3 - 7), abs=1e-12
    )


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_that_is_the_same_is_one_and_a_pair_without_spread_is_nothing(name):
    assert score(name, [1, 2, 3, 0], [1, 2, 3, 0]) == pytest.approx(1)
    assert score(name, [2, 2, 2], [2, 2, 2]) is None
    assert score(name, [], []) is None


@pytest.mark.parametrize("name", PAIRS[:2])
def test_reversed_ranks_are_minus_one(name):
    assert score(name, [1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert score(name, [1], [1]) is None
    assert score(name, [1, 2], [1, 1]) is None


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("wrong", [([1, 2], [1]), ([[1]], [[1]]), ([1, np.nan], [1, 2]), ([1, 2], [1, np.inf])])
def test_pairs_that_do_not_fit_are_refused(name, wrong):
    with pytest.raises(ShapeError, match="two raters"):
        score(name, *wrong)


@pytest.mark.parametrize("name", PAIRS)
def test_chance_of_pairs_is_nothing(name):
    first = [0, 1, 1, 2, 3]
    orders = [score(name, first, order) for order in itertools.permutations([0, 0, 1, 2, 3])]
    assert np.mean(orders) == pytest.approx(registry.load(FOLDER, name).expected(2), abs=1e-12)


# Kappa


@given(severities)
@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_kappa_is_scikit_learns(weights, pairs):
    first, second = np.array(pairs).T
    with warnings.catch_warnings(action="ignore"):
        expected = cohen_kappa_score(first, second, weights=weights, labels=[0, 1, 2, 3])
    found = score(f"kappa-{weights}", first, second)
    if (first == first[0]).all() and (second == first[0]).all():
        assert found is None
    else:
        assert found == pytest.approx(expected, abs=1e-12)


def test_kappas_steps_are_those_of_the_scale_also_where_a_grade_is_not_used():
    # Grades 0, 2 and 3: from 0 to 2 is two steps.
    first, second = [0, 0, 2, 2, 3, 3], [0, 2, 2, 3, 3, 0]
    assert score("kappa-linear", first, second) == pytest.approx(1 - (2 + 1 + 3) * 6 / (4 * (2 + 3 + 2 + 1 + 3 + 1)))


def test_quadratic_kappa_tends_to_the_intraclass_correlation():
    rng = np.random.default_rng(3)
    true = rng.integers(0, 4, 20_000)
    first, second = (np.clip(true + rng.integers(-1, 2, len(true)), 0, 3) for _ in range(2))
    assert score("kappa-quadratic", first, second) == pytest.approx(
        score("icc.agreement", np.stack([first, second], axis=1)), abs=1e-4
    )


# W


@given(st.integers(2, 6), st.integers(3, 9), st.integers(0, 10_000), st.booleans())
def test_w_is_friedmans_statistic(raters, images, seed, ties):
    rng = np.random.default_rng(seed)
    ranks = rng.integers(0, 3, (raters, images)) if ties else rng.permuted(np.tile(range(images), (raters, 1)), axis=1)
    if (ranks == ranks[:, :1]).all():
        assert score("kendall-w", ranks) is None
        return
    chi = stats.friedmanchisquare(*ranks.T).statistic
    assert score("kendall-w", ranks) == pytest.approx(chi / (raters * (images - 1)), abs=1e-12)


def test_w_is_the_mean_rho_of_all_pairs_on_another_scale():
    ranks = np.random.default_rng(1).permuted(np.tile(range(10), (4, 1)), axis=1)
    rho = np.mean([score("spearman-rho", a, b) for a, b in itertools.combinations(ranks, 2)])
    assert (4 * score("kendall-w", ranks) - 1) / 3 == pytest.approx(rho, abs=1e-12)


def test_w_at_its_ends():
    assert score("kendall-w", [[1, 2, 3]] * 4) == pytest.approx(1)
    assert score("kendall-w", [[1, 1, 2]] * 3) == pytest.approx(1)  # ties that all share are no disagreement
    assert score("kendall-w", [[1, 2, 3], [3, 2, 1]]) == pytest.approx(0)
    for empty in ([[1, 2, 3]], [[1], [1]], [[2, 2], [1, 1]]):
        assert score("kendall-w", empty) is None


@pytest.mark.parametrize("raters", [2, 3])
def test_chance_of_w_is_one_by_the_number_of_raters(raters):
    orders = itertools.product(itertools.permutations(range(3)), repeat=raters)
    mean = np.mean([score("kendall-w", order) for order in orders])
    assert mean == pytest.approx(registry.load(FOLDER, "kendall-w").expected(raters), abs=1e-12) == 1 / raters


# Intraclass correlation


@pytest.mark.parametrize(("name", "value"), ICC.items())
def test_icc_of_the_papers_example(name, value):
    assert round(score(name, JUDGED), 2) == value


@pytest.mark.parametrize(("name", "other"), zip(ICC, ["ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k"], strict=True))
def test_icc_is_pingouins(name, other):
    pingouin = pytest.importorskip("pingouin")
    for table in (JUDGED, np.random.default_rng(2).integers(0, 4, (9, 3))):
        rows = [(i, j, float(value)) for i, row in enumerate(table) for j, value in enumerate(row)]
        frame = pd.DataFrame(rows, columns=["image", "rater", "severity"])
        found = pingouin.intraclass_corr(frame, targets="image", raters="rater", ratings="severity")
        # Its rows are in this order; what they are called differs between releases.
        assert score(name, table) == pytest.approx(found["ICC"].iloc[list(ICC).index(name)], abs=1e-6)


@pytest.mark.parametrize("name", ICC)
def test_icc_at_its_ends(name):
    assert score(name, [[0, 0], [1, 1], [3, 3]]) == pytest.approx(1)
    assert score(name, [[2, 2, 2]] * 5) is None
    assert score(name, [[0.1, 0.1, 0.1]] * 5) is None
    assert score(name, [[1], [2]]) is None
    assert score(name, [[1, 2]]) is None
    for wrong in ([1, 2], [[1, np.nan], [1, 2]]):
        with pytest.raises(ShapeError, match="expected finite values"):
            score(name, wrong)


def test_a_rater_who_is_stricter_throughout_is_consistent_and_does_not_agree():
    first = np.array([0, 1, 2, 1, 0, 2])
    table = np.stack([first, first + 1], axis=1)
    assert score("icc.consistency", table) == pytest.approx(1)
    assert score("icc.agreement", table) < 0.7


@pytest.mark.parametrize("wrong", [[1, 2], [[1, np.nan]]])
def test_w_of_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ShapeError, match="expected finite values"):
        score("kendall-w", wrong)
