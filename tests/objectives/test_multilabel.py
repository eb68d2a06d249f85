import numpy as np
import pytest
import torch

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.label_policy import IGNORED
from cbir_cli.objectives import binary, multilabel

LOGITS = np.array([[-3.0, -0.4, 0.2], [0.7, 5.0, -1.1], [0.0, 1.3, 2.2], [-0.6, -2.0, 0.9]])
TARGETS = np.array([[0, 1, IGNORED], [1, 0, 1], [IGNORED, IGNORED, IGNORED], [1, IGNORED, 0]])
WEIGHTS = np.array([[0.25, 0.75], [0.9, 0.1], [1.0, 0.3]])


def plain(logits, targets, weights):
    """The equation, entry by entry."""
    total = 0.0
    for z_row, y_row in zip(logits, targets, strict=True):
        for k, (z, y) in enumerate(zip(z_row, y_row, strict=True)):
            if y != IGNORED:
                p = 1 / (1 + np.exp(-z))
                total -= weights[k][y] * (y * np.log(p) + (1 - y) * np.log(1 - p))
    return total / (logits.shape[0] * logits.shape[1])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_equals_the_equation_and_its_derivative(weights):
    logits = torch.tensor(LOGITS, requires_grad=True)
    given = None if weights is None else torch.tensor(weights)
    loss = multilabel.loss(logits, torch.tensor(TARGETS), weights=given)
    loss.backward()
    weights = np.ones((3, 2)) if weights is None else weights
    assert loss.shape == () and loss.item() == pytest.approx(plain(LOGITS, TARGETS, weights), rel=1e-12)
    for place in np.ndindex(LOGITS.shape):
        up, down = LOGITS.copy(), LOGITS.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (plain(up, TARGETS, weights) - plain(down, TARGETS, weights)) / 2e-6
        assert logits.grad[place].item() == pytest.approx(numeric, abs=1e-8)
    assert torch.autograd.gradcheck(lambda z: multilabel.loss(z, torch.tensor(TARGETS), weights=given), (logits,))


def test_an_ignored_label_gives_neither_loss_nor_gradient_whatever_its_logit():
    wild = LOGITS.copy()
    wild[TARGETS == IGNORED] = [np.nan, np.inf, -np.inf, 1e30, 7]
    logits = torch.tensor(wild, requires_grad=True)
    loss = multilabel.loss(logits, torch.tensor(TARGETS))
    loss.backward()
    assert loss.item() == multilabel.loss(torch.tensor(LOGITS), torch.tensor(TARGETS)).item()
    assert (logits.grad.numpy()[TARGETS == IGNORED] == 0).all()
    assert (logits.grad.numpy()[TARGETS != IGNORED] != 0).all()


def test_nothing_known_is_zero():
    logits = torch.tensor(LOGITS, requires_grad=True)
    loss = multilabel.loss(logits, torch.full((4, 3), IGNORED), weights=torch.tensor(WEIGHTS))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_the_loss_of_a_batch_is_the_mean_of_its_parts():
    loss = [multilabel.loss(torch.tensor(LOGITS[part]), torch.tensor(TARGETS[part])).item() for part in np.eye(4) > 0]
    whole = multilabel.loss(torch.tensor(LOGITS), torch.tensor(TARGETS)).item()
    assert whole == pytest.approx(np.mean(loss), rel=1e-12)


def test_one_label_without_weights_is_the_binary_objective():
    logits, targets = torch.tensor(LOGITS[:, :1]), torch.tensor([0, 1, 1, 0])
    ours = multilabel.loss(logits, targets[:, None])
    assert ours.item() == pytest.approx(binary.loss(logits, targets).item(), rel=1e-12)


LABELS = np.array([[1, 0], [0, 0], [0, 1], [0, IGNORED], [IGNORED, 1]])


def test_weights_are_those_of_chexnet_and_their_reverse():
    weights = multilabel.class_weights(LABELS)
    assert weights.dtype == np.float32
    # One positive of four known; two of four.
    np.testing.assert_array_equal(weights, [[0.25, 0.75], [0.5, 0.5]])
    np.testing.assert_array_equal(multilabel.class_weights(LABELS, "as-printed"), [[0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_array_equal(multilabel.class_weights(LABELS, "none"), np.ones((2, 2)))


def test_balanced_sides_weigh_the_same_in_sum():
    targets = np.random.default_rng(0).choice([0, 0, 0, 0, 1, IGNORED], (300, 5))
    weights = multilabel.class_weights(targets)
    for k in range(5):
        sums = [weights[k, side] * (targets[:, k] == side).sum() for side in (0, 1)]
        assert sums[0] == pytest.approx(sums[1], rel=1e-6) and sums[0] > 0


@pytest.mark.parametrize("scheme", multilabel.CLASS_WEIGHTS)
@pytest.mark.parametrize("side", [0, 1, IGNORED])
def test_a_label_with_one_side_is_not_trained(scheme, side):
    targets = np.column_stack([LABELS, np.full(5, side)])
    weights = multilabel.class_weights(targets, scheme)
    np.testing.assert_array_equal(weights[2], [0, 0])
    np.testing.assert_array_equal(weights[:2], multilabel.class_weights(LABELS, scheme))
    logits = torch.zeros((5, 3), requires_grad=True)
    multilabel.loss(logits, torch.tensor(targets), weights=torch.from_numpy(weights)).backward()
    assert not logits.grad[:, 2].any() and logits.grad[:, 0].any()


def test_bad_input():
    with pytest.raises(CbirError, match="no label has both"):
        multilabel.class_weights([[0, 1], [0, IGNORED]])
    with pytest.raises(UsageError, match="balanced, as-printed, none"):
        multilabel.class_weights(LABELS, "inverse")
    for targets in ([0, 1], [[0, 2]], [[0, -2]], [[0.5, 1]]):
        with pytest.raises(ShapeError):
            multilabel.class_weights(targets)


def test_outputs_and_probability():
    assert multilabel.outputs(["a", "b", "c"]) == 3
    values = multilabel.probability(np.array([[-1e4, 0.0], [1.5, 1e4]], np.float32))
    np.testing.assert_allclose(values, [[0, 0.5], [1 / (1 + np.exp(-1.5)), 1]], rtol=1e-12)
