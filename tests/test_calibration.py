"""Calibration curves, the errors of them, and the Brier score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from cbir_cli import calibration
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.metrics.classification import brier, ece, ece_mass

IMAGES = st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(0, 20).map(lambda n: n / 20)), min_size=1, max_size=60)


@given(IMAGES, st.integers(1, 20))
def test_curve_of_equal_width_is_that_of_scikit_learn(images, bins):
    truth, probability = (np.array(column) for column in zip(*images, strict=True))
    found = calibration.curve(truth, probability, bins)
    observed, predicted = calibration_curve(truth, probability, n_bins=bins)
    there = found.count > 0
    np.testing.assert_allclose(found.observed[there], observed, atol=1e-12)
    np.testing.assert_allclose(found.predicted[there], predicted, atol=1e-12)
    assert np.isnan(found.observed[~there]).all() and np.isnan(found.predicted[~there]).all()
    assert found.count.sum() == len(truth) and len(found.count) == bins
    assert ((found.lower[there] <= predicted + 1e-12) & (predicted <= found.upper[there] + 1e-12)).all()


@given(IMAGES, st.integers(1, 20))
def test_error_written_out(images, bins):
    truth, probability = zip(*images, strict=True)
    total = 0.0
    for low in range(bins):
        edge = np.linspace(0, 1, bins + 1)
        here = [
            (t, p)
            for t, p in images
            if (p > edge[low] or (low == 0 and p == 0)) and (p <= edge[low + 1] or low == bins - 1)
        ]
        if here:
            total += abs(sum(t for t, _ in here) - sum(p for _, p in here))
    assert ece.score(truth, probability, bins=bins) == pytest.approx(total / len(images), abs=1e-12)
    assert brier.score(truth, probability) == pytest.approx(brier_score_loss(truth, probability), abs=1e-12)


def test_perfectly_calibrated_probabilities_have_no_error():
    # Of 20 images that get n/20, n are positive.
    truth = np.concatenate([np.arange(20) < n for n in range(21)])
    probability = np.repeat(np.arange(21) / 20, 20)
    assert ece.score(truth, probability) == pytest.approx(0, abs=1e-12)
    assert ece_mass.score(truth, probability) == pytest.approx(0, abs=1e-12)
    assert ece.score(~truth, probability) > 0.3 and ece_mass.score(~truth, probability) > 0.3


def test_errors_by_hand():
    truth, probability = [0, 1, 1, 1], [0.1, 0.2, 0.7, 0.9]
    # Two bins: |.15 - .5| and |.8 - 1|, half of the images each.
    assert ece.score(truth, probability, bins=2) == pytest.approx(0.275)
    assert ece.score([1], [0.5], bins=2) == 0.5
    found = calibration.curve([0, 1], [0.5, 0.500001], bins=2)  # the edge belongs to the lower bin
    assert found.count.tolist() == [1, 1] and found.observed.tolist() == [0, 1]
    assert brier.score(truth, probability) == pytest.approx((0.01 + 0.64 + 0.09 + 0.01) / 4)


def test_bins_of_equal_mass():
    probability = np.linspace(0, 1, 30) ** 3
    assert np.bincount(calibration.bin_of(probability, 15, kind="mass")).tolist() == [2] * 15
    # Equal probabilities stay together, in whatever order they come.
    tied = np.array([0.9, 0.1, 0.1, 0.1, 0.1, 0.2])
    assert calibration.bin_of(tied, 3, kind="mass").tolist() == [2, 0, 0, 0, 0, 2]
    found = calibration.curve([1, 0, 1, 0, 0, 1], tied, 3, kind="mass")
    assert found.lower[[0, 2]].tolist() == [0.1, 0.2] and found.upper[[0, 2]].tolist() == [0.1, 0.9]
    assert np.isnan([found.lower[1], found.upper[1], found.predicted[1]]).all()
    assert found.observed[[0, 2]].tolist() == [0.25, 1.0] and found.count.tolist() == [4, 0, 2]
    assert found.error == pytest.approx((4 * 0.15 + 2 * 0.45) / 6)


@pytest.mark.parametrize("kind", calibration.KINDS)
def test_error_of_no_image(kind):
    assert calibration.curve([], [], kind=kind).error is None
    assert calibration.brier([], []) is None
    for module in (ece, ece_mass, brier):
        assert module.score([], []) is module.expected([], []) is None


@pytest.mark.parametrize(
    ("truth", "probability", "bins"),
    [([0], [0.1, 0.2], 5), ([2], [0.5], 5), ([1], [1.01], 5), ([1], [-0.01], 5), ([1], [np.nan], 5), ([1], [0.5], 0)],
)
def test_malformed_input_is_refused(truth, probability, bins):
    with pytest.raises(ShapeError, match="expected"):
        calibration.curve(truth, probability, bins)
    for module in (ece, ece_mass):
        for function in (module.score, module.expected):
            with pytest.raises(ShapeError, match="expected"):
                function(truth, probability, bins=bins)
    if bins:
        for function in (brier.score, brier.expected):
            with pytest.raises(ShapeError, match="expected"):
                function(truth, probability)


def test_unknown_bins_are_refused():
    with pytest.raises(UsageError, match="unknown kind of bins 'depth'"):
        calibration.curve([1], [0.5], kind="depth")
