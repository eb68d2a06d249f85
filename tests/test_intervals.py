from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from cbir_cli.errors import ShapeError
from cbir_cli.intervals import FEWEST, holm, interval, p_value


@pytest.mark.parametrize("count", [6, 9, 60])
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_is_that_of_a_t_test(count, level):
    values = np.random.default_rng(count).gamma(2, size=count)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert interval(values, level=level) == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_a_textbook_example():
    """Student's own data of 1908: hours of sleep gained, ten patients; mean 1.58, s 1.2300, t(9) 2.2622."""
    gained = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert interval(gained) == pytest.approx((0.7001, 2.4599), abs=1e-4)


def holds(draw, mean, count, times=2000):
    """How often the interval lies above, holds and lies below the mean."""
    rng = np.random.default_rng(count)
    low, high = np.array([interval(draw(rng, count)) for _ in range(times)]).T
    return (low > mean).mean(), ((low <= mean) & (mean <= high)).mean(), (high < mean).mean()


@pytest.mark.parametrize("count", [6, 10, 20])
def test_holds_the_mean_as_often_as_it_says(count):
    above, inside, below = holds(lambda rng, n: rng.standard_normal(n), 0, count)
    assert inside == pytest.approx(0.95, abs=0.015)  # three standard errors
    assert above < 0.036 and below < 0.036  # nothing is found in a fortieth of the cases


def test_of_skewed_values_it_holds_as_often_as_the_docstring_says():
    above, inside, below = holds(lambda rng, n: rng.exponential(size=n), 1, 10)
    assert inside == pytest.approx(0.905, abs=0.02) and above < 0.01 < 0.07 < below


def test_few_values_and_equal_values_have_none():
    assert FEWEST == 6
    for count in range(6):
        assert interval(np.arange(count)) is None
    assert interval(np.arange(6)) is not None
    assert interval([0.25] * 8) is None


@pytest.mark.parametrize("wrong", [[np.nan, 1.0], [[1.0], [2.0]]])
def test_what_is_not_values_is_refused(wrong):
    with pytest.raises(ShapeError, match="expected finite values"):
        interval(wrong)


@pytest.mark.parametrize("shift", [-3, -0.4, 0, 0.4, 3])
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_p_is_that_of_a_t_test(shift, level):
    values = np.random.default_rng(0).normal(shift, size=9)
    ends = interval(values, level=level)
    assert p_value(*ends, 9, level=level) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9)


def test_p_of_an_interval_without_width():
    assert (p_value(0.0, 0.0, 6), p_value(0.5, 0.5, 6)) == (1, 0)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_holm_is_closed_testing_by_bonferroni(count):
    """A test's p is the worst, over all sets that it is in, of the smallest p there times their number."""
    rng = np.random.default_rng(count)
    for _ in range(20):
        p = rng.random(count) ** 3
        expected = [
            max(
                min(1, size * min(p[list(some)]))
                for size in range(1, count + 1)
                for some in combinations(range(count), size)
                if one in some
            )
            for one in range(count)
        ]
        assert holm(p) == pytest.approx(expected, rel=1e-12)


def test_holm_of_ties_in_any_order():
    assert holm([0.02, 0.01, 0.01, 0.9]).tolist() == pytest.approx([0.04, 0.04, 0.04, 0.9])


@pytest.mark.parametrize("values", [[0.1, np.nan], [-0.1], [1.1], [[0.1]]])
def test_holm_refuses_what_is_no_p(values):
    with pytest.raises(ShapeError, match="p-values"):
        holm(values)
