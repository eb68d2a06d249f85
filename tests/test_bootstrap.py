"""The interval over patients: a plain twin, SciPy's BCa, and how often it holds the mean."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from cbir_cli.bootstrap import of_mean
from cbir_cli.errors import ShapeError


def wider(count, level=0.95):
    """Level of the plain interval whose quantiles are as far out as Student's t."""
    t = stats.t.ppf((1 + level) / 2, count - 1)
    return 1 - 2 * stats.norm.cdf(-t * np.sqrt(count / (count - 1)))


@pytest.mark.parametrize("count", [6, 12, 40])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_of_one_query_a_patient_it_is_scipys_bca_of_a_wider_level(count, level):
    values = np.random.default_rng(count).beta(3, 1, count)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=wider(count, level), n_resamples=40_000, rng=np.random.default_rng(0)
    ).confidence_interval
    assert of_mean(values, np.arange(count), level=level) == pytest.approx(tuple(theirs), abs=0.02 * np.ptp(values))


def test_of_patients_it_is_scipys_bca_of_a_ratio():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(15), rng.integers(1, 6, 15))
    values = np.clip(rng.normal(0.6, 0.1, len(patients)) + rng.normal(0, 0.2, 15)[patients], 0, 1)
    sums, sizes = np.bincount(patients, values), np.bincount(patients)
    theirs = stats.bootstrap(
        (sums, sizes),
        lambda s, n, axis=-1: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        confidence_level=wider(15),
        n_resamples=40_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert of_mean(values, patients) == pytest.approx(tuple(theirs), abs=0.006)
    assert of_mean(values, np.arange(len(values))) != pytest.approx(tuple(theirs), abs=0.02)  # as if independent


def twin(values, weights, patients, draws=20_000, level=0.95):
    """The same in plain loops: lists of patients, quantiles from Student's t, BCa."""
    rng = np.random.default_rng(0)
    names = sorted(set(patients))
    of = {name: [i for i, p in enumerate(patients) if p == name] for name in names}
    share = {name: sum(weights[i] for i in rows) for name, rows in of.items()}
    total = {name: sum(weights[i] * values[i] for i in rows) for name, rows in of.items()}
    mean = sum(total.values()) / sum(share.values())
    means = []
    for _ in range(draws):
        drawn = [names[i] for i in rng.integers(len(names), size=len(names))]
        means.append(sum(total[n] for n in drawn) / sum(share[n] for n in drawn))
    pull = np.array([total[n] - mean * share[n] for n in names])
    bias = special.ndtri(np.mean(np.array(means) < mean))
    skew = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    z = special.ndtri((1 - wider(len(names), level)) / 2)
    places = [special.ndtr(bias + (bias + x) / (1 - skew * (bias + x))) for x in (z, -z)]
    return tuple(np.quantile(means, places))


def test_with_weights_it_is_the_plain_twin():
    """Weights as of three seeds of different size; patients are queries of several seeds."""
    rng = np.random.default_rng(5)
    seeds = np.repeat([0, 1, 2], [8, 15, 30])
    patients = rng.integers(0, 12, len(seeds))
    values = rng.beta(2, 1, len(seeds)) * (0.5 + patients / 24)
    weights = 1 / np.bincount(seeds)[seeds]
    found = of_mean(values, patients, weights)
    assert found == pytest.approx(twin(values, weights, patients.tolist()), abs=0.01)
    assert found != pytest.approx(twin(values, np.ones(len(seeds)), patients.tolist()), abs=0.01)


def holds(draw, mean, count, times):
    hits = [low <= mean <= high for low, high in (of_mean(*draw(count), seed=seed) for seed in range(times))]
    return np.mean(hits)


def test_holds_the_mean_as_often_as_the_docstring_says():
    rng = np.random.default_rng(1)

    def one_each(count):
        return rng.beta(5, 1, count), np.arange(count)

    def clustered(count):
        patients = np.repeat(np.arange(count), rng.geometric(0.4, count))
        return rng.binomial(5, rng.beta(1.5, 1.5, count)[patients]) / 5, patients

    assert holds(one_each, 5 / 6, 10, 500) == pytest.approx(0.94, abs=0.03)  # the plain percentile interval: .88
    assert holds(clustered, 0.5, 12, 500) == pytest.approx(0.94, abs=0.03)

    def taken_for_independent(count):
        values, patients = clustered(count)
        return values, np.arange(len(patients))

    assert holds(taken_for_independent, 0.5, 12, 300) < 0.9


VALUES = st.lists(st.floats(0, 1), min_size=6, max_size=20)


@settings(max_examples=30, deadline=None)
@given(VALUES, st.randoms(use_true_random=False))
def test_neither_order_nor_names_matter(values, random):
    patients = [random.randint(0, 9) for _ in values]
    order = random.sample(range(len(values)), len(values))
    names = {number: name for number, name in enumerate(random.sample("abcdefghij", 10))}
    assert of_mean(values, patients) == of_mean([values[i] for i in order], [names[patients[i]] for i in order])


@settings(max_examples=30, deadline=None)
@given(VALUES)
def test_lies_within_the_values_and_around_the_mean(values):
    found = of_mean(values, range(len(values)))
    if found is None:
        assert np.ptp(values) < 1e-9
    else:
        low, high = found
        assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
        assert low <= np.mean(values) + 1e-9 and np.mean(values) - 1e-9 <= high


@settings(max_examples=20, deadline=None)
@given(VALUES)
def test_of_one_patient_there_is_none(values):
    assert of_mean(values, ["a"] * len(values)) is None


def test_few_patients_and_equal_means_have_none():
    assert of_mean(np.arange(50), np.arange(50) % 5) is None
    assert of_mean(np.arange(50), np.arange(50) % 6) is not None
    assert of_mean([0.25] * 8, range(8)) is None
    assert of_mean([0.0, 1.0] * 8, np.repeat(np.arange(8), 2)) is None  # every patient has the mean one half
    assert of_mean([0.1, 0.2, 0.3] * 8, np.repeat(np.arange(8), 3)) is None


def test_is_the_same_again_and_another_seed_another():
    values = np.random.default_rng(0).random(30)
    assert of_mean(values, range(30)) == of_mean(values, range(30)) != of_mean(values, range(30), seed=2)


def test_a_shift_and_a_scale_go_through():
    values = np.random.default_rng(0).random(30)
    low, high = of_mean(values, range(30))
    assert of_mean(5 + 2 * values, range(30)) == pytest.approx((5 + 2 * low, 5 + 2 * high))


def test_of_very_many_it_is_students_and_takes_a_moment():
    values = np.random.default_rng(0).random(10_000)
    half = 1.96 * values.std() / 100
    start = time.perf_counter()
    low, high = of_mean(values, np.arange(10_000))
    assert time.perf_counter() - start < 5  # .15 s on a quiet machine
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


@pytest.mark.parametrize(
    ("values", "clusters", "weights"),
    [
        ([[1.0]], [[1]], None),
        ([1.0, 2.0], [1], None),
        ([1.0, np.nan], [1, 2], None),
        ([1.0, 2.0], [1, 2], [1.0, 0.0]),
        ([1.0, 2.0], [1, 2], [1.0]),
    ],
)
def test_what_does_not_fit_is_refused(values, clusters, weights):
    with pytest.raises(ShapeError, match="expected"):
        of_mean(values, clusters, weights)
