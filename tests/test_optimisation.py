import copy

import numpy as np
import pytest
import torch

from cbir_cli import optimisation
from cbir_cli.recipe import Recipe

SGD = {"optimizer": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}


def history(losses, validation=True):
    return [
        {"loss": 9 - i, "validation_loss": loss} if validation else {"loss": loss, "validation_loss": None}
        for i, loss in enumerate(losses)
    ]


def rates(recipe, losses, batch=32, validation=True):
    past = history(losses, validation)
    return [optimisation.learning_rate(recipe, past[:n], batch) for n in range(len(past) + 1)]


def test_the_cosine_is_that_of_torch():
    recipe = Recipe(epochs=7, schedule="cosine", **SGD)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    expected = []
    for _ in range(7):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates(recipe, [1.0] * 6) == pytest.approx(expected)


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_the_plateau_is_that_of_torch(patience, validation):
    losses = [1, 0.5, 0.5, 0.49999, 0.6, 0.4, 0.5, 0.5, 0.5, 0.5, 0.3, 0.31, 0.32, 0.33, 0.34, 0.35]
    recipe = Recipe(epochs=20, schedule="plateau", plateau_factor=0.1, plateau_patience=patience, **SGD)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=patience, eps=0)
    expected = [1e-3]
    for loss in losses:
        schedule.step(loss)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates(recipe, losses, validation=validation) == pytest.approx(expected)
    assert min(expected) < 1e-4


def test_the_rate_grows_with_the_batch_on_request():
    assert rates(Recipe(**SGD), [1, 1], batch=32) == [1e-3] * 3
    assert rates(Recipe(lr_scaling="batch/256", **SGD), [1, 1], batch=32) == pytest.approx([1e-3 / 8] * 3)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(16, 2)
    )


def step(module, optimizer, seed):
    draw = torch.Generator().manual_seed(seed)
    optimizer.zero_grad()
    module(torch.rand(4, 3, 4, 4, generator=draw)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    "recipe",
    [Recipe(), Recipe(optimizer="adam", lr=1e-2), Recipe(**SGD), Recipe(**SGD | {"momentum": 0.0})],
    ids=["adadelta", "adam", "sgd", "plain"],
)
def test_a_saved_optimiser_goes_on_with_the_same_bits(recipe):
    module = network().to(memory_format=torch.channels_last)
    optimizer = optimisation.optimizer(module, recipe)
    for seed in range(3):
        step(module, optimizer, seed)
    other = copy.deepcopy(module)
    again = optimisation.optimizer(other, recipe)
    optimisation.load(again, optimisation.state(optimizer))
    for seed in range(3, 6):
        step(module, optimizer, seed)
        step(other, again, seed)
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_sgd_is_the_published_rule():
    module = network()
    optimizer = optimisation.optimizer(module, Recipe(**SGD))
    weight = module[3].weight
    value, velocity = weight.detach().double().numpy().copy(), 0.0
    for seed in range(3):
        step(module, optimizer, seed)
        gradient = weight.grad.double().numpy() + 1e-4 * value
        velocity = 0.9 * velocity + gradient
        value = value - 1e-3 * velocity
        np.testing.assert_allclose(weight.detach().numpy(), value, rtol=1e-3, atol=1e-5)


def test_some_weights_can_keep_their_first_rate():
    module = network()
    optimizer = optimisation.optimizer(module, Recipe(**SGD), fixed=("3.",))
    optimisation.set_learning_rate(optimizer, 0.01, first=1e-3)
    groups = {len(group["params"]): group["lr"] for group in optimizer.param_groups}
    assert groups == {4: 0.01, 2: 1e-3}
    held = {id(p) for group in optimizer.param_groups if group["lr"] == 1e-3 for p in group["params"]}
    assert held == {id(p) for p in module[3].parameters()}


def test_a_plateau_of_negative_losses_is_one():
    """Of SimSiam: PyTorch's rule takes any loss below 0 that rises for one that falls."""
    recipe = Recipe(epochs=20, schedule="plateau", plateau_patience=1, **SGD)
    rising, falling = np.linspace(-0.9, -0.5, 8).tolist(), np.linspace(-0.1, -0.9, 8).tolist()
    assert rates(recipe, rising)[-1] < 1e-3 * 0.2
    assert rates(recipe, falling) == [1e-3] * 9
