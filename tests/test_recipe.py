from dataclasses import asdict

import pytest

from cbir_cli import augmentation, optimisation, registry, tasks
from cbir_cli.errors import UsageError
from cbir_cli.recipe import NEWER, OPTIMIZERS, Recipe

FIRST = {
    "epochs": 10,
    "batch_size": 32,
    "optimizer": "adadelta",
    "lr": 1.0,
    "rho": 0.95,
    "betas": (0.9, 0.999),
    "eps": 1e-7,
    "class_weights": "balanced",
    "sampler": "permutation",
    "rotation": 10.0,
    "shift": 0.05,
    "selection": "f1",
}
"""All values of the first models, with the defaults that they had."""


def test_recipes_of_older_models_are_read_and_stored_as_they_were():
    recipe = Recipe(**FIRST)
    assert recipe == Recipe() and asdict(recipe) == FIRST | NEWER
    stored = tasks.load("pleural").to_dict()
    assert stored.keys() & asdict(recipe).keys() == FIRST.keys()
    assert tasks.from_dict(stored).recipe == recipe
    changed = tasks.load("pleural").override(flip=0.5, schedule="cosine")
    assert changed.to_dict().keys() - stored.keys() == {"flip", "schedule"}
    assert tasks.from_dict(changed.to_dict()).recipe == changed.recipe


def test_new_values_do_nothing_by_default():
    recipe = Recipe()
    on = {name for name in augmentation.SETTINGS if getattr(recipe, name)}
    assert on == {"rotation", "shift", "jitter"}  # jitter is how often what is 0
    assert optimisation.learning_rate(recipe, [], recipe.batch_size) == recipe.lr and recipe.accumulate == 1
    assert not (recipe.weight_decay or recipe.clip or recipe.patience or recipe.per_class)
    assert (recipe.schedule, recipe.lr_scaling) == ("constant", "none")


def test_the_recipe_of_the_liver_paper_is_reached_by_set():
    task = tasks.load("pleural")
    pairs = (
        "optimizer=sgd lr=0.05 lr-scaling=batch/256 weight_decay=1e-4 crop=0.2 flip=0.5 brightness=0.4 jitter=0.8 "
        "hue=0.1 view-windows=-200,300/50,150 class-weights=none"
    ).split()
    recipe = task.override(**registry.settings(pairs, task.settings(), "task pleural")).recipe
    assert (
        optimisation.learning_rate(recipe, [], recipe.batch_size) == pytest.approx(0.00625)
        and recipe.momentum == 0.9
        and recipe.weight_decay == 1e-4
    )
    assert recipe.view_windows == "-200,300/50,150" and recipe.hue == 0.1
    assert set(OPTIMIZERS["sgd"]) == {"lr", "momentum", "weight_decay"}


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "rmsprop"}, {"sampler": "weighted"}, {"schedule": "linear"}, {"lr_scaling": "batch"},
        {"selection": "accuracy"}, {"view_scaling": "wide"}, {"view_windows": "liver-wide"},
        {"momentum": 1.0}, {"weight_decay": -1.0}, {"clip": float("inf")}, {"clip": float("nan")}, {"patience": -1},
        {"accumulate": 0}, {"accumulate": 17}, {"per_class": 5}, {"per_class": -4}, {"plateau_factor": 1.0},
        {"plateau_patience": -1}, {"crop": 1.5}, {"flip": -0.1}, {"hue": 0.6}, {"blur": 2.0}, {"brightness": -0.4},
        {"greyscale": float("nan")}, {"lr": 0.0},
    ],
)  # fmt: skip
def test_senseless_values_are_refused(changes):
    with pytest.raises(UsageError, match=next(iter(changes))):
        Recipe(**changes)


def test_the_largest_sensible_values_are_taken():
    Recipe(accumulate=16, per_class=16, crop=1.0, hue=0.5, plateau_patience=0, clip=1.0, momentum=0.0)
