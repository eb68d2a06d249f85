import itertools
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from cbir_cli import intervals, jackknife

VALUES = [0.2, 0.5, 0.9, 0.4, 0.7, 0.3, 0.6, 0.8]


def test_of_a_mean_it_is_students_interval():
    expected = stats.t.interval(0.95, len(VALUES) - 1, np.mean(VALUES), stats.sem(VALUES))
    assert jackknife.interval(fmean, [[v] for v in VALUES]) == pytest.approx(expected, abs=1e-12)
    assert jackknife.interval(fmean, [[v] for v in VALUES], level=0.8) == pytest.approx(
        intervals.interval(VALUES, level=0.8), abs=1e-12
    )


def test_of_equal_clusters_it_is_that_of_their_means():
    clusters = [[v - 0.1, v + 0.1] for v in VALUES]
    assert jackknife.interval(fmean, clusters) == pytest.approx(intervals.interval(VALUES), abs=1e-12)
    items = [[v] for cluster in clusters for v in cluster]
    assert jackknife.interval(fmean, items) != pytest.approx(intervals.interval(VALUES), abs=1e-3)


def test_of_a_ratio_it_is_the_plain_twin():
    pairs = [[(v, i + 2)] for i, v in enumerate(VALUES)]

    def ratio(items):
        return sum(a for a, _ in items) / sum(b for _, b in items)

    whole = ratio([p for cluster in pairs for p in cluster])
    pseudo = []
    for out in range(len(pairs)):
        rest = [p for i, cluster in enumerate(pairs) if i != out for p in cluster]
        pseudo.append(len(pairs) * whole - (len(pairs) - 1) * ratio(rest))
    half = stats.t.ppf(0.975, len(pairs) - 1) * stats.sem(pseudo)
    assert jackknife.interval(ratio, pairs) == pytest.approx((whole - half, whole + half), abs=1e-12)


def test_nothing_to_be_said():
    assert jackknife.interval(fmean, [[v] for v in VALUES[:5]]) is None
    alike = list(itertools.permutations([0.1, 0.2, 0.3]))  # their sums differ in the last bit
    assert len({sum(cluster) for cluster in alike}) > 1
    assert jackknife.interval(lambda items: sum(items) / len(items), alike) is None
    assert jackknife.interval(lambda items: None, [[v] for v in VALUES]) is None
    assert jackknife.interval(lambda items: None if len(items) < 8 else 0.5, [[v] for v in VALUES]) is None


def test_many_clusters_are_put_together():
    values = np.random.default_rng(1).random(1050)
    calls = []

    def mean(items):
        calls.append(len(items))
        return fmean(items)

    low, high = jackknife.interval(mean, [[v] for v in values])
    assert len(calls) == jackknife.GROUPS + 1 and max(calls) == 1050 and min(calls) == 1050 - 11
    plain = intervals.interval(values)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=1e-12)
    assert (high - low) == pytest.approx(plain[1] - plain[0], rel=0.25)
