import numpy as np
import pytest

from cbir_cli import resampling
from cbir_cli.errors import ShapeError
from cbir_cli.metrics.classification import auroc, brier


def mean(truth, predicted):
    return float(predicted.mean())


def names(numbers):
    return [f"P{n}" for n in numbers]


def test_interval_of_a_mean_is_that_of_the_normal_approximation():
    rng = np.random.default_rng(3)
    values = rng.random(400)
    low, high = resampling.interval(mean, np.zeros(400), values, names(range(400)))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.003) and high == pytest.approx(
        values.mean() + half, abs=0.003
    )


def test_images_of_one_patient_count_as_one():
    """Each image four times is no more knowledge, if the four are of one patient."""
    rng = np.random.default_rng(3)
    values = rng.random(100)
    once = resampling.interval(mean, np.zeros(100), values, names(range(100)))
    four = resampling.interval(mean, np.zeros(400), np.repeat(values, 4), names(np.repeat(np.arange(100), 4)))
    assert four == pytest.approx(once, abs=1e-12)
    apart = resampling.interval(mean, np.zeros(400), np.repeat(values, 4), [""] * 400)
    assert np.diff(apart) < 0.6 * np.diff(once)


def test_a_draw_holds_patients_whole():
    patients = names([2, 0, 1, 1, 0, *range(3, 12)])
    values = np.arange(14)
    seen = []

    def look(truth, predicted):
        seen.append(predicted.tolist())
        return float(len(seen))

    resampling.interval(look, np.zeros(14), values, patients, draws=50)
    for drawn in seen[1:]:
        counts = np.bincount(drawn, minlength=14)
        assert counts[1] == counts[4] and counts[2] == counts[3]
        assert counts.sum() == len(drawn) and sum(counts[[0, 1, 2, *range(5, 14)]]) == 12
    assert len({tuple(drawn) for drawn in seen}) > 40


def test_holds_the_truth_as_often_as_it_says():
    """AUROC of two normal distributions, one of them shifted by 1, is Phi(1 / sqrt 2) = 0.7602."""
    hit = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        truth = (np.arange(120) % 2).astype(np.int64)
        predicted = rng.standard_normal(120) + truth
        low, high = resampling.interval(auroc.score, truth, predicted, [""] * 120, draws=200, seed=trial)
        hit += low <= 0.7602 <= high
    assert 88 <= hit <= 100


def test_same_seed_same_interval():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 2, 60), rng.random(60)
    first, again = (resampling.interval(brier.score, truth, predicted, names(range(60))) for _ in range(2))
    assert first == again != resampling.interval(brier.score, truth, predicted, names(range(60)), seed=2)


def test_where_there_is_none():
    truth, predicted = np.array([0, 1] * 10), np.linspace(0, 1, 20)
    assert resampling.interval(auroc.score, truth, predicted, names(np.arange(20) // 2)) is not None
    assert resampling.interval(auroc.score, truth, predicted, names(np.arange(20) // 2.3)) is None  # 9 patients
    assert resampling.interval(auroc.score, np.ones(20, int), predicted, [""] * 20) is None
    assert resampling.interval(brier.score, truth, np.full(20, 0.5), [""] * 20) is None  # all draws alike
    one = np.zeros(20, int)
    one[3] = 1
    assert resampling.interval(auroc.score, one, predicted, [""] * 20) is None  # a third of the draws lack it
    assert resampling.interval(auroc.score, np.empty(0), np.empty(0), []) is None
    with pytest.raises(ShapeError, match="expected arrays of one length, found 20, 20 and 1"):
        resampling.interval(auroc.score, truth, predicted, [""])


def test_groups():
    assert resampling.groups(["b", "", "a", "b", ""]).tolist() == [1, 2, 0, 1, 3]
