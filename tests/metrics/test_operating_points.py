"""Sensitivity at a specificity, and the false positive rate at a sensitivity: two points of one curve."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.classification import false_positive_rate, sensitivity

IMAGES = st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(-4, 4)), min_size=2, max_size=30)
LEAST = st.sampled_from([0.0, 0.25, 0.5, 0.8, 0.9, 0.95, 1.0])
BOTH = (sensitivity, "specificity"), (false_positive_rate, "sensitivity")


@given(IMAGES, LEAST)
def test_are_points_of_the_roc_curve_of_scikit_learn(images, least):
    truth, predicted = (np.array(column) for column in zip(*images, strict=True))
    if truth.all() or not truth.any():
        assert sensitivity.score(truth, predicted, specificity=least) is None
        assert false_positive_rate.score(truth, predicted, sensitivity=least) is None
        return
    fpr, tpr, _ = roc_curve(truth, predicted, drop_intermediate=False)
    assert sensitivity.score(truth, predicted, specificity=least) == pytest.approx(tpr[1 - fpr >= least - 1e-9].max())
    rate = false_positive_rate.score(truth, predicted, sensitivity=least)
    assert rate == pytest.approx(fpr[tpr >= least - 1e-9].min(), abs=1e-12)


def test_by_hand():
    truth = [0] * 20 + [1] * 4
    predicted = [*range(20), 17.5, 18.5, 19.5, 3.5]
    # One of 20 may be called positive, which 20 * (1 - .95) < 1 would not let through.
    assert sensitivity.score(truth, predicted) == 0.5
    assert sensitivity.score(truth, predicted, specificity=0.9) == 0.75
    assert false_positive_rate.score(truth, predicted, sensitivity=0.75) == pytest.approx(0.1)
    assert false_positive_rate.score(truth, predicted) == pytest.approx(0.8)


def test_equal_predictions_are_called_alike():
    assert sensitivity.score([0, 1, 1], [5, 5, 6]) == 0.5
    assert sensitivity.score([0, 1, 1], [5, 5, 5]) == 0.0
    assert false_positive_rate.score([0, 1, 1], [5, 5, 6]) == 1.0


@pytest.mark.parametrize(("module", "parameter"), BOTH)
@pytest.mark.parametrize("least", [0.0, 0.5, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("predicted", [range(6), [0, 1, 1, 2, 2, 2], [3, 3, 3, 3, 3, 3], [0, 0, 1, 2, 3, 3]])
@pytest.mark.parametrize("truth", [[0, 0, 1, 0, 1, 1], [1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 1]])
def test_chance_is_the_mean_over_all_ways_to_deal_predictions_out(module, parameter, truth, predicted, least):
    given_ = {parameter: least}
    values = [module.score(dealt, list(predicted), **given_) for dealt in set(itertools.permutations(truth))]
    assert module.expected(truth, list(predicted), **given_) == pytest.approx(np.mean(values), abs=1e-12)


def test_chance_of_many_images():
    rng = np.random.default_rng(2)
    truth, predicted = rng.random(20000) < 0.3, rng.random(20000)
    negative = (~truth).sum()
    assert sensitivity.expected(truth, predicted) == pytest.approx((negative // 20 + 1) / (negative + 1), rel=1e-6)
    assert false_positive_rate.expected(truth, predicted) == pytest.approx(0.95, abs=1e-3)


@pytest.mark.parametrize(("module", "parameter"), BOTH)
def test_malformed_input_is_refused(module, parameter):
    for function in (module.score, module.expected):
        for least in (-0.1, 1.1, np.nan):
            with pytest.raises(ShapeError, match="expected a fraction from 0 to 1"):
                function([0, 1], [1, 2], **{parameter: least})
        with pytest.raises(ShapeError, match="expected"):
            function([0, 1], [1, np.inf])
