import math

import numpy as np
import pytest
import torch

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.objectives import triplet

CLASSES = np.array([0, 1, 0, 2, 1, 0, 2, 3])  # of class 3 there is one


def vectors(seed=0, count=8, width=5):
    return np.random.default_rng(seed).normal(size=(count, width)) * np.linspace(0.5, 4, count)[:, None]


def plain(outputs, classes, margin, mining):
    """Every triplet of the batch in turn."""
    unit = [v / math.sqrt(sum(x * x for x in v)) for v in outputs]
    d = [[math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True))) for b in unit] for a in unit]
    n = range(len(unit))
    losses = []
    for a in n:
        positives = [p for p in n if p != a and classes[p] == classes[a]]
        negatives = [q for q in n if classes[q] != classes[a]]
        if mining == "batch-all":
            each = [max(0, d[a][p] - d[a][q] + margin) for p in positives for q in negatives]
            losses += [loss for loss in each if loss > 1e-16]
        elif positives and negatives:
            losses.append(max(0, max(d[a][p] for p in positives) - min(d[a][q] for q in negatives) + margin))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("mining", triplet.MINING)
@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_equals_the_equation_and_its_derivative(mining, margin):
    values = vectors()
    outputs = torch.tensor(values, requires_grad=True)
    loss = triplet.loss(outputs, torch.tensor(CLASSES), margin=margin, mining=mining)
    loss.backward()
    assert loss.shape == () and loss.item() == pytest.approx(plain(values, CLASSES, margin, mining), rel=1e-12)
    for place in np.ndindex(values.shape):
        up, down = values.copy(), values.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (plain(up, CLASSES, margin, mining) - plain(down, CLASSES, margin, mining)) / 2e-6
        assert outputs.grad[place].item() == pytest.approx(numeric, abs=1e-7)


@pytest.mark.parametrize("mining", triplet.MINING)
def test_gradient_passes_gradcheck(mining):
    outputs = torch.tensor(vectors(3), requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: triplet.loss(v, torch.tensor(CLASSES), mining=mining), (outputs,))


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_pytorch_metric_learning(seed):
    """An outside library, value and gradient, on the batch of the paper."""
    pytest.importorskip("pytorch_metric_learning")
    from pytorch_metric_learning import distances, losses, miners, reducers

    classes = torch.arange(48) // 16
    values = torch.tensor(vectors(seed, 48, 16))
    distance = distances.LpDistance(normalize_embeddings=True, p=2)
    every = losses.TripletMarginLoss(0.2, distance=distance)
    mean = losses.TripletMarginLoss(0.2, distance=distance, reducer=reducers.MeanReducer())
    hard = miners.BatchHardMiner(distance=distance)
    for mining, theirs in (
        ("batch-all", lambda v: every(v, classes)),
        ("batch-hard", lambda v: mean(v, classes, hard(v, classes))),
    ):
        mine, other = (values.clone().requires_grad_() for _ in range(2))
        loss, reference = triplet.loss(mine, classes, mining=mining), theirs(other)
        loss.backward()
        reference.backward()
        assert loss.item() == pytest.approx(reference.item(), rel=1e-9)
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=1e-9)


def test_defaults_are_those_of_the_paper():
    outputs, classes = torch.tensor(vectors()), torch.tensor(CLASSES)
    assert (
        triplet.loss(outputs, classes).item() == triplet.loss(outputs, classes, margin=0.2, mining="batch-all").item()
    )


def test_length_plays_no_part():
    outputs, classes = torch.tensor(vectors()), torch.tensor(CLASSES)
    longer = outputs * torch.arange(1.0, 9)[:, None].double()
    assert triplet.loss(longer, classes).item() == pytest.approx(triplet.loss(outputs, classes).item(), rel=1e-12)


@pytest.mark.parametrize("mining", triplet.MINING)
def test_no_gradient_where_every_triplet_is_satisfied(mining):
    values = torch.tensor([[1.0, 0], [1.0, 1e-3], [0, 1.0], [1e-3, 1.0]], requires_grad=True)
    loss = triplet.loss(values, torch.tensor([0, 0, 1, 1]), mining=mining)
    loss.backward()
    assert loss.item() == 0 and not values.grad.any()


@pytest.mark.parametrize("mining", triplet.MINING)
@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2], [0]])
def test_a_batch_without_triplets_is_zero(mining, classes):
    values = torch.tensor(vectors(count=len(classes)), requires_grad=True)
    loss = triplet.loss(values, torch.tensor(classes), mining=mining)
    loss.backward()
    assert loss.item() == 0 and not values.grad.any()


@pytest.mark.parametrize("mining", triplet.MINING)
def test_identical_vectors_have_the_margin_as_loss_and_a_finite_gradient(mining):
    values = torch.ones((6, 4), requires_grad=True)
    loss = triplet.loss(values, torch.tensor([0, 0, 1, 1, 2, 2]), mining=mining)
    loss.backward()
    assert loss.item() == pytest.approx(0.2) and torch.isfinite(values.grad).all()
    twins = torch.tensor([[1.0, 0], [1.0, 0], [1.0, 0.1], [0, 1.0]], requires_grad=True)
    triplet.loss(twins, torch.tensor([0, 0, 1, 1]), mining=mining).backward()
    assert torch.isfinite(twins.grad).all() and twins.grad.any()


def test_near_vectors_keep_their_distance_in_float32():
    """Through products of vectors a distance of 1e-4 would be lost in rounding."""
    generator = np.random.default_rng(1)
    base = generator.normal(size=64)
    values = base + 1e-4 * generator.normal(size=(48, 64))
    classes = np.arange(48) // 16
    loss = triplet.loss(torch.tensor(values, dtype=torch.float32), torch.tensor(classes), margin=1e-5)
    assert loss.item() == pytest.approx(plain(values, classes, 1e-5, "batch-all"), rel=1e-3)


def test_class_weights_only_check_that_there_are_triplets():
    assert triplet.class_weights([0, 0, 1]) is None
    for classes in ([0, 0, 0], [0, 1, 2], []):
        with pytest.raises(CbirError, match="two classes"):
            triplet.class_weights(np.array(classes, dtype=int))
    with pytest.raises(ShapeError):
        triplet.class_weights([[0, 1], [1, 0]])
    with pytest.raises(UsageError, match="none"):
        triplet.class_weights([0, 0, 1], "balanced")


def test_bad_parameters():
    outputs, classes = torch.tensor(vectors()), torch.tensor(CLASSES)
    with pytest.raises(UsageError, match="known: batch-all, batch-hard"):
        triplet.loss(outputs, classes, mining="hard")
    for margin in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="above 0"):
            triplet.loss(outputs, classes, margin=margin)
    assert triplet.outputs(["a", "b"]) == 0 and triplet.WHOLE_BATCH
