"""The paired permutation test: every choice of signs counted out, SciPy, and how often it errs."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cbir_cli.errors import ShapeError
from cbir_cli.sign_flips import EXACT, p_value


def counted(differences):
    """All choices of signs, one by one."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return np.mean([one >= observed - 1e-9 for one in sums])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([-0.4, -0.2, 0.0, 0.2, 0.25, 1.0]), min_size=1, max_size=9))
def test_few_are_counted_out(differences):
    assert p_value(differences) == pytest.approx(counted(differences), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_order_and_direction_do_not_matter(differences, random):
    other = [-x for x in random.sample(differences, len(differences))]
    assert p_value(differences) == p_value(other)


def test_fishers_own_example():
    """Darwin's maize, 15 pairs: Fisher counts 863 of 32768 choices on one side, 1726 on both."""
    inches = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert p_value(inches) == 1726 / 2**15


@pytest.mark.parametrize("count", [4, 8, 15])
def test_is_scipys(count):
    differences = np.random.default_rng(count).normal(0.4, 1, count)
    theirs = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert p_value(differences) == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.parametrize("count", [21, 60, 150])
def test_drawn_signs_agree_with_scipys(count):
    differences = np.random.default_rng(count).normal(2 / np.sqrt(count), 1, count)
    theirs = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=20_000, batch=2000, rng=np.random.default_rng(0)
    ).pvalue
    error = np.sqrt(theirs * (1 - theirs) * (1 / 20_000 + 1 / 100_000))
    assert p_value(differences) == pytest.approx(theirs, abs=4 * error + 1e-5)


def test_at_the_border_drawn_and_counted_agree():
    differences = np.append(np.random.default_rng(1).normal(0.4, 1, EXACT), 1e-6)
    assert p_value(differences) == pytest.approx(p_value(differences[:-1]), abs=0.005)
    assert p_value(differences) != p_value(differences[:-1])


def test_the_smallest_p_is_two_in_all_choices():
    for count in range(1, 12):
        assert p_value(np.linspace(0.1, 1, count)) == min(1, 2 / 2**count)
    assert p_value(np.ones(500)) == pytest.approx(1 / 100_001)


def test_zeros_change_nothing_and_none_at_all_is_one():
    differences = [0.3, 0.1, -0.2, 0.4]
    assert p_value([*differences, *[0.0] * 40]) == p_value(differences)
    assert p_value([0.0] * 9) == p_value([]) == 1
    assert p_value([0.1 + 0.2 - 0.3] * 3 + [1.0, 1.0]) == p_value([1.0, 1.0])  # what rounding leaves is zero


def test_of_no_difference_it_is_seldom_small():
    rng = np.random.default_rng(0)
    small = [p_value(rng.exponential(size=12) * rng.choice([-1, 1], 12)) <= 0.05 for _ in range(1500)]
    assert np.mean(small) == pytest.approx(0.05, abs=0.018)  # three standard errors


def test_is_the_same_again_and_another_seed_another():
    differences = np.random.default_rng(0).normal(0.2, 1, 50)
    assert p_value(differences) == p_value(differences) != p_value(differences, seed=2)


@pytest.mark.parametrize("wrong", [[np.nan, 1.0], [[1.0], [2.0]], [np.inf]])
def test_what_is_not_differences_is_refused(wrong):
    with pytest.raises(ShapeError, match="expected finite differences"):
        p_value(wrong)
