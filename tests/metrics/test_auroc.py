import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.classification import auroc

pairs = st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(-3, 3)), min_size=1, max_size=20)


def plainly(truth, predicted):
    positive = [p for t, p in zip(truth, predicted, strict=True) if t]
    negative = [p for t, p in zip(truth, predicted, strict=True) if not t]
    return np.mean([(p > n) + (p == n) / 2 for p in positive for n in negative])


@given(pairs)
def test_is_the_share_of_pairs_in_the_right_order(images):
    truth, predicted = zip(*images, strict=True)
    value = auroc.score(truth, predicted)
    if len(set(truth)) < 2:
        assert value is None
    else:
        assert value == pytest.approx(plainly(truth, predicted))
        assert value == pytest.approx(1 - auroc.score(truth, [-p for p in predicted]))


def test_perfect_worst_and_blind():
    assert auroc.score([0, 1, 1], [0.1, 0.7, 0.9]) == 1.0
    assert auroc.score([0, 1, 1], [0.9, 0.2, 0.1]) == 0.0
    assert auroc.score([0, 1, 1], [0.3, 0.3, 0.3]) == 0.5


@pytest.mark.parametrize("truth", [[], [1, 1], [0, 0]])
def test_one_class_only_is_not_defined(truth):
    assert auroc.score(truth, [0.5] * len(truth)) is None
    assert auroc.expected(truth, [0.5] * len(truth)) is None


def test_chance_is_one_half():
    assert auroc.expected([0, 1, 1], [0.1, 0.7, 0.9]) == 0.5


@pytest.mark.parametrize(("truth", "predicted"), [([1, 0], [0.5]), ([2, 0], [0.5, 0.5]), ([1, 0], [np.inf, 0.5])])
def test_malformed_input_is_refused(truth, predicted):
    with pytest.raises(ShapeError, match="expected"):
        auroc.score(truth, predicted)
