import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.classification import f1

pairs = st.lists(st.tuples(st.sampled_from([0, 1]), st.floats(0, 1)), min_size=1, max_size=20)


def plainly(truth, probability):
    hits = sum(t == 1 and p > 0.5 for t, p in zip(truth, probability, strict=True))
    called, positive = sum(p > 0.5 for p in probability), sum(truth)
    precision, recall = hits / max(called, 1), hits / positive
    return 2 * precision * recall / (precision + recall) if hits else 0.0


@given(pairs)
def test_is_the_harmonic_mean_of_precision_and_recall(images):
    truth, probability = zip(*images, strict=True)
    value = f1.score(truth, probability)
    if not any(truth):
        assert value is None
    else:
        assert value == pytest.approx(plainly(truth, probability))


def test_perfect_and_worst():
    assert f1.score([1, 0, 1], [0.9, 0.1, 0.8]) == 1.0
    assert f1.score([1, 0, 1], [0.1, 0.9, 0.2]) == 0.0


def test_one_half_is_negative():
    assert f1.score([1, 1], [0.5, 0.50001]) == pytest.approx(2 / 3)


def test_threshold_moves_the_call():
    assert f1.score([1, 1], [0.3, 0.4], threshold=0.35) == pytest.approx(2 / 3)


def test_one_class_only():
    assert f1.score([0, 0], [0.1, 0.9]) is None
    assert f1.expected([0, 0], [0.1, 0.9]) is None
    assert f1.score([], []) is None
    assert f1.score([1, 1], [0.9, 0.9]) == 1.0


def test_none_called_positive_is_zero():
    assert f1.score([1, 0], [0.1, 0.1]) == 0.0
    assert f1.expected([1, 0], [0.1, 0.1]) == 0.0


def test_chance_is_the_mean_over_all_ways_to_deal_the_predictions_out():
    truth, probability = [1, 0, 0, 1, 0], [0.9, 0.8, 0.7, 0.2, 0.1]
    values = [f1.score(truth, dealt) for dealt in itertools.permutations(probability)]
    assert f1.expected(truth, probability) == pytest.approx(np.mean(values))


@pytest.mark.parametrize(
    ("truth", "probability"),
    [([1], [0.5, 0.5]), ([[1]], [[0.5]]), ([-1], [0.5]), ([1, -128], [0.5, 1]), ([1], [np.nan])],
)
def test_malformed_input_is_refused(truth, probability):
    with pytest.raises(ShapeError, match="expected"):
        f1.score(truth, probability)
