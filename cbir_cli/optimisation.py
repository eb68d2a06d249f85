"""Optimisers and learning rates of a recipe; what is to be saved of them is plain arrays.

The learning rate of an epoch is a function of the recipe and of the epochs before it, so there is no schedule to save:
a run that goes on from a checkpoint has the rates of one that never stopped.

Differs from the frameworks' defaults
-------------------------------------
Keras and PyTorch have the same Adadelta under other defaults (rho .95 and eps 1e-7 against .9 and 1e-6); the recipe
states both. Adam differs in where eps stands: Keras adds it before the bias of v is corrected, which matters only for
gradients near eps.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cbir_cli.recipe import OPTIMIZERS, Recipe

if TYPE_CHECKING:
    import torch

Arrays = dict[str, np.ndarray]

_THRESHOLD = 1e-4
"""A loss counts as lower if it is so by this share: that of PyTorch's ReduceLROnPlateau, which is for positive ones."""


def optimizer(module: "torch.nn.Module", recipe: Recipe, *, fixed: Sequence[str] = ()) -> "torch.optim.Optimizer":
    """Return the recipe's optimiser of all weights of a network.

    Parameters
    ----------
    module : Module
    recipe : Recipe
    fixed : sequence of str
        Beginnings of the names of weights whose learning rate stays as it is at the start.
    """
    import torch

    kind = {"adadelta": torch.optim.Adadelta, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[recipe.optimizer]
    named = list(module.named_parameters())
    groups: list[dict[str, Any]] = [{"params": [p for name, p in named if not name.startswith(tuple(fixed))]}]
    if fixed:
        groups.append({"params": [p for name, p in named if name.startswith(tuple(fixed))], "fixed": True})
    return kind(groups, **{name: getattr(recipe, name) for name in OPTIMIZERS[recipe.optimizer]})


def set_learning_rate(optimizer: "torch.optim.Optimizer", value: float, *, first: float) -> None:
    """Set the learning rate of an epoch; that of weights with a fixed one is ``first``."""
    for group in optimizer.param_groups:
        group["lr"] = first if group.get("fixed") else value


def learning_rate(recipe: Recipe, history: Sequence[Mapping[str, Any]], batch: int) -> float:
    """Return the learning rate of the epoch after those of the history.

    Parameters
    ----------
    recipe : Recipe
        ``schedule``: ``constant``; ``cosine``, half a period from the first to the last epoch, changed at each epoch as
        in SimSiam's code (Chen and He 2021); or ``plateau``: times ``plateau_factor`` whenever the loss has not come
        down for more than ``plateau_patience`` epochs. ``lr_scaling``: ``batch/256``, or none.
    history : sequence of mapping
        The entries of the epochs so far. The loss is ``validation_loss``, or where there is none ``loss``.
    batch : int
        Images a step, those of all processes.
    """
    start = recipe.lr * (batch / 256 if recipe.lr_scaling == "batch/256" else 1)
    if recipe.schedule == "cosine":
        return start * 0.5 * (1 + math.cos(math.pi * len(history) / recipe.epochs))
    if recipe.schedule == "constant":
        return start
    best, waited, rate = math.inf, 0, start
    for entry in history:
        loss = entry["loss"] if entry["validation_loss"] is None else entry["validation_loss"]
        if best == math.inf or loss < best - abs(best) * _THRESHOLD:
            best, waited = loss, 0
        else:
            waited += 1
        if waited > recipe.plateau_patience:
            rate, waited = rate * recipe.plateau_factor, 0
    return rate


def state(optimizer: "torch.optim.Optimizer") -> Arrays:
    """Return what an optimiser remembers, as ``<number of the weight>/<name>``."""
    values = optimizer.state_dict()["state"]
    return {
        f"{i}/{name}": np.array(value.detach().cpu().numpy(), order="C")  # a copy: the tensor goes on changing
        for i, of_weight in values.items()
        for name, value in of_weight.items()
        if value is not None  # the momentum of SGD without momentum
    }


def load(optimizer: "torch.optim.Optimizer", arrays: Mapping[str, np.ndarray]) -> None:
    """Give an optimiser back what ``state`` returned."""
    import torch

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    values: dict[int, dict[str, Any]] = {}
    for key, array in arrays.items():
        number, name = key.split("/")
        value, parameter = torch.from_numpy(array), parameters[int(number)]
        if value.shape == parameter.shape:  # in the memory order of its parameter
            value = torch.empty_like(parameter, device="cpu").copy_(value)
        values.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
