import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.objectives import binary

LOGITS = np.array([-3.0, -0.4, 0.0, 0.7, 5.0])
TARGETS = np.array([0, 1, 1, 0, 1])


def plain(logits, targets, weights):
    """Equation 4 of the 2022 paper, image by image, with the weight of the image's class."""
    total = 0.0
    for z, y in zip(logits, targets, strict=True):
        p = 1 / (1 + np.exp(-z))
        total += -weights[y] * (y * np.log(p) + (1 - y) * np.log(1 - p))
    return total / len(logits)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.6, 3.0)])
def test_equals_the_equation_and_its_derivative(weights):
    logits = torch.tensor(LOGITS[:, None], requires_grad=True)
    loss = binary.loss(logits, torch.tensor(TARGETS), weights=torch.tensor(weights, dtype=torch.float64))
    loss.backward()
    assert loss.item() == pytest.approx(plain(LOGITS, TARGETS, weights), rel=1e-12)
    slope = np.array(weights)[TARGETS] * (1 / (1 + np.exp(-LOGITS)) - TARGETS) / len(LOGITS)
    np.testing.assert_allclose(logits.grad[:, 0].numpy(), slope, rtol=1e-12)
    step = 1e-6
    for i in range(len(LOGITS)):
        up, down = LOGITS.copy(), LOGITS.copy()
        up[i] += step
        down[i] -= step
        numeric = (plain(up, TARGETS, weights) - plain(down, TARGETS, weights)) / (2 * step)
        assert logits.grad[i, 0].item() == pytest.approx(numeric, abs=1e-8)


def test_without_weights_both_classes_weigh_one():
    logits, targets = torch.tensor(LOGITS[:, None]), torch.tensor(TARGETS)
    assert binary.loss(logits, targets).item() == pytest.approx(plain(LOGITS, TARGETS, (1, 1)), rel=1e-12)


def test_confident_and_wrong_is_finite():
    loss = binary.loss(torch.tensor([[200.0], [-300.0]]), torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(250.0)


@pytest.mark.parametrize("positives", [1, 7, 50])
def test_balanced_weights_are_those_of_scikit_learn(positives):
    targets = np.array([1] * positives + [0] * (100 - positives))
    weights = binary.class_weights(targets)
    np.testing.assert_allclose(
        weights, compute_class_weight("balanced", classes=np.array([0, 1]), y=targets), rtol=1e-6
    )
    assert weights[targets].mean() == pytest.approx(1, rel=1e-6)
    assert weights[targets][targets == 1].sum() == pytest.approx(weights[targets][targets == 0].sum(), rel=1e-5)


def test_other_schemes():
    np.testing.assert_array_equal(binary.class_weights([0, 0, 1], "none"), [1, 1])
    with pytest.raises(UsageError, match="balanced, none"):
        binary.class_weights([0, 1], "inverse")


@pytest.mark.parametrize("scheme", binary.CLASS_WEIGHTS)
@pytest.mark.parametrize("targets", [[0, 0, 0], [1], []])
def test_one_class_cannot_be_learned(targets, scheme):
    with pytest.raises(CbirError, match="both classes"):
        binary.class_weights(np.array(targets, dtype=int), scheme)


@pytest.mark.parametrize("targets", [[0, 2], [-1, 1], [[0, 1]], [0.5, 1]])
def test_targets_are_zero_and_one(targets):
    with pytest.raises(ShapeError):
        binary.class_weights(targets)


def test_it_has_one_output():
    assert binary.outputs(["effusion"]) == 1
    with pytest.raises(UsageError, match="has 2: nevus, melanoma"):
        binary.outputs(["nevus", "melanoma"])


def test_probability_is_the_sigmoid_and_never_overflows():
    values = binary.probability(np.array([[-1e4], [-2.0], [0.0], [1.5], [1e4]], dtype=np.float32))
    np.testing.assert_allclose(values, [0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-1.5)), 1], rtol=1e-12)
