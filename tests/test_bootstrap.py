import numpy as np
import pytest
from scipy import stats

from cbir_cli.bootstrap import interval
from cbir_cli.errors import ShapeError


def test_agrees_with_scipy_and_with_the_normal_interval():
    values = np.random.default_rng(0).gamma(2, size=60)
    low, high = interval(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", random_state=1)
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)
    half = 1.96 * values.std(ddof=1) / np.sqrt(60)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.06)


def test_is_the_same_every_time_and_holds_the_mean():
    values = np.random.default_rng(3).random(9)
    low, high = interval(values)
    assert interval(values) == (low, high) != interval(values, seed=1)
    assert low < values.mean() < high
    assert interval(values, level=0.5)[0] > low


def test_few_values():
    assert interval([]) is None and interval([0.3]) is None
    assert interval([0.25, 0.25]) == (0.25, 0.25)
    assert interval([0.0, 1.0]) == (0.0, 1.0)


def test_many_values_are_drawn_in_parts(monkeypatch):
    values = np.random.default_rng(5).random(50)
    monkeypatch.setattr("cbir_cli.bootstrap._AT_ONCE", 60)  # a sample at a time
    low, high = interval(values, samples=400)
    assert low < values.mean() < high


@pytest.mark.parametrize("wrong", [[np.nan, 1.0], [[1.0], [2.0]]])
def test_what_is_not_values_is_refused(wrong):
    with pytest.raises(ShapeError, match="expected finite values"):
        interval(wrong)
