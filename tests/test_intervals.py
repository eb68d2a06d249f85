import numpy as np
import pytest
from scipy import stats

from cbir_cli.errors import ShapeError
from cbir_cli.intervals import FEWEST, interval


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
