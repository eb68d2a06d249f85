"""The interval of a score of a whole set: a plain twin, patients that stay whole, and how often it holds the truth."""

import numpy as np
import pytest
from scipy import stats

from cbir_cli import bootstrap
from cbir_cli.errors import ShapeError
from cbir_cli.metrics.classification import auroc, brier


def mean(truth, predicted):
    return float(predicted.mean())


def names(numbers):
    return [f"P{n}" for n in numbers]


def test_interval_of_a_mean_is_that_of_the_normal_approximation():
    rng = np.random.default_rng(3)
    values = rng.random(400)
    low, high = bootstrap.of_score(mean, np.zeros(400), values, names(range(400)))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.003) and high == pytest.approx(
        values.mean() + half, abs=0.003
    )


def test_images_of_one_patient_count_as_one():
    """Each image four times is no more knowledge, if the four are of one patient."""
    rng = np.random.default_rng(3)
    values = rng.random(100)
    once = bootstrap.of_score(mean, np.zeros(100), values, names(range(100)))
    four = bootstrap.of_score(mean, np.zeros(400), np.repeat(values, 4), names(np.repeat(np.arange(100), 4)))
    assert four == pytest.approx(once, abs=1e-12)
    apart = bootstrap.of_score(mean, np.zeros(400), np.repeat(values, 4), [""] * 400)
    assert np.diff(apart) < 0.6 * np.diff(once)


def test_a_draw_holds_patients_whole():
    patients = names([2, 0, 1, 1, 0, *range(3, 12)])
    values = np.arange(14)
    seen = []

    def look(truth, predicted):
        seen.append(predicted.tolist())
        return len(seen) / 100

    bootstrap.of_score(look, np.zeros(14), values, patients, draws=50)
    for drawn in seen[1:]:
        counts = np.bincount(drawn, minlength=14)
        assert counts[1] == counts[4] and counts[2] == counts[3]
        assert counts.sum() == len(drawn) and sum(counts[[0, 1, 2, *range(5, 14)]]) == 12
    assert len({tuple(drawn) for drawn in seen}) > 40


def twin(score, truth, predicted, patients, draws=4000, level=0.95):
    """The same in plain loops: the standard error of draws, carried to the logit by its slope 1 / (s (1 - s))."""
    rng, names_ = np.random.default_rng(5), sorted(set(patients))
    rows = {name: [i for i, p in enumerate(patients) if p == name] for name in names_}
    drawn = []
    for _ in range(draws):
        picked = [i for n in rng.integers(len(names_), size=len(names_)) for i in rows[names_[n]]]
        if (value := score(truth[picked], predicted[picked])) is not None:
            drawn.append(value)
    s, count = score(truth, predicted), len(names_)
    half = (
        stats.t.ppf((1 + level) / 2, count - 1) * np.std(drawn, ddof=1) / (s * (1 - s)) * (count / (count - 1)) ** 0.5
    )
    return tuple(1 / (1 + np.exp(-(np.log(s / (1 - s)) + sign * half))) for sign in (-1, 1))


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_is_the_plain_twin(level):
    rng = np.random.default_rng(1)
    truth, patients = rng.integers(0, 2, 60), names(rng.integers(0, 25, 60))
    predicted = rng.standard_normal(60) + truth
    found = bootstrap.of_score(auroc.score, truth, predicted, patients, level=level)
    assert found == pytest.approx(twin(auroc.score, truth, predicted, patients, level=level), abs=0.01)


@pytest.mark.parametrize(("images", "shift"), [(120, 1.0), (20, 1.0), (20, 2.5)])
def test_holds_the_truth_as_often_as_it_says(images, shift):
    """AUROC of two normal distributions, one of them shifted by d, is Phi(d / sqrt 2): .76 and .96.

    The percentiles of the draws hold that of twenty images in 90 and 73 % of cases.
    """
    expected, hit, trials = stats.norm.cdf(shift / np.sqrt(2)), 0, 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        truth = (np.arange(images) % 2).astype(np.int64)
        predicted = rng.standard_normal(images) + shift * truth
        if ends := bootstrap.of_score(auroc.score, truth, predicted, [""] * images, draws=200, seed=trial):
            hit, trials = hit + (ends[0] <= expected <= ends[1]), trials + 1
    assert hit >= 0.91 * trials and trials > 60


def test_same_seed_same_interval():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 2, 60), rng.random(60)
    first, again = (bootstrap.of_score(brier.score, truth, predicted, names(range(60))) for _ in range(2))
    assert first == again != bootstrap.of_score(brier.score, truth, predicted, names(range(60)), seed=2)


def test_where_there_is_none():
    truth, predicted = np.array([0, 1] * 10), np.linspace(0, 1, 20)
    assert bootstrap.of_score(auroc.score, truth, predicted, names(np.arange(20) // 2)) is not None
    assert bootstrap.of_score(auroc.score, truth, predicted, names(np.arange(20) // 2.3)) is None  # 9 patients
    assert bootstrap.of_score(auroc.score, np.ones(20, int), predicted, [""] * 20) is None
    assert bootstrap.of_score(brier.score, truth, np.full(20, 0.5), [""] * 20) is None  # all draws alike
    assert bootstrap.of_score(auroc.score, truth, truth.astype(float), [""] * 20) is None  # 1 says not how near it is
    one = np.zeros(20, int)
    one[3] = 1
    assert bootstrap.of_score(auroc.score, one, predicted, [""] * 20) is None  # a third of the draws lack it
    assert bootstrap.of_score(auroc.score, np.empty(0), np.empty(0), []) is None
    with pytest.raises(ShapeError, match="expected arrays of one length, found 20, 20 and 1"):
        bootstrap.of_score(auroc.score, truth, predicted, [""])


def test_groups():
    assert bootstrap.patient_numbers(["b", "", "a", "b", ""]).tolist() == [1, 2, 0, 1, 3]
