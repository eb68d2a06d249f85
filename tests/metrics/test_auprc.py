import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.classification import auprc, auroc, f1

IMAGES = st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(-3, 3)), min_size=1, max_size=30)


@given(IMAGES)
def test_agrees_with_scikit_learn_ties_included(images):
    truth, predicted = (np.array(column) for column in zip(*images, strict=True))
    if truth.any():
        assert auprc.score(truth, predicted) == pytest.approx(average_precision_score(truth, predicted), abs=1e-12)
        called = f1_score(truth, predicted > 0.5, zero_division=0.0)
        assert f1.score(truth, predicted) == pytest.approx(called, abs=1e-12)
    else:
        assert auprc.score(truth, predicted) is auprc.expected(truth, predicted) is None
    if truth.any() and not truth.all():
        assert auroc.score(truth, predicted) == pytest.approx(roc_auc_score(truth, predicted), abs=1e-12)


def test_by_hand():
    # Found at 1 and 3 of four: (1/1 + 2/3) / 2.
    assert auprc.score([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx(5 / 6)
    assert auprc.score([0, 0, 1], [3, 2, 1]) == pytest.approx(1 / 3)
    assert auprc.score([1, 1], [0.1, 0.2]) == 1.0


@given(IMAGES.filter(lambda images: len(images) <= 6))
def test_chance_is_the_mean_over_all_ways_to_deal_predictions_out(images):
    truth, predicted = zip(*images, strict=True)
    if any(truth):
        values = [auprc.score(truth, dealt) for dealt in itertools.permutations(predicted)]
        assert auprc.expected(truth, predicted) == pytest.approx(np.mean(values), abs=1e-12)


def test_chance_is_the_share_of_positives_for_equal_predictions_and_for_many_images():
    assert auprc.expected([1, 0, 0, 0], [7, 7, 7, 7]) == 0.25
    truth = np.arange(20000) % 4 == 0
    assert auprc.expected(truth, np.arange(20000.0)) == pytest.approx(0.25, abs=5e-4)


@pytest.mark.parametrize(("truth", "predicted"), [([1, 0], [0.5]), ([2, 0], [0.5, 0.5]), ([1, 0], [np.nan, 0.5])])
def test_malformed_input_is_refused(truth, predicted):
    for function in (auprc.score, auprc.expected):
        with pytest.raises(ShapeError, match="expected"):
            function(truth, predicted)
