"""Training curves of several models: which are one method, and what is drawn of them."""

import math

import numpy as np

from cbir_cli.artifacts.model import Model
from cbir_cli.images import InputSpec
from cbir_cli.stages import report_training


def model(seed: int, epochs: list[dict], command: str = "train", **parameters) -> Model:
    entry = {"command": command, "parameters": {"lr": 0.1, "threads": seed} | parameters, "inputs": {}, "seed": seed}
    return Model("resnet-tiny", {}, [], {}, "simsiam", "x", 4, InputSpec(size=8), epochs=epochs, history=[entry])


def epochs(*values: float) -> list[dict]:
    return [{"epoch": i, "lr": 0.1, "loss": 1 - v, "mean-precision@5": v, "auroc": None, "note": "x"}
            for i, v in enumerate(values, 1)]  # fmt: skip


def test_models_of_one_recipe_are_one_method_whatever_seed_threads_and_first_model() -> None:
    made = [("x/two-1.h5", model(1, epochs(0.5), view_windows="a/b")),
            ("two-2.h5", model(2, epochs(0.6), view_windows="a/b")),
            ("std-1.h5", model(1, epochs(0.4))), ("ig_seed1.h5", model(1, epochs(0.4), "finetune-ig", init="cnn-1.h5")),
            ("ig_seed2.h5", model(2, epochs(0.4), "finetune-ig", init="cnn-2.h5")),
            ("other.h5", model(1, epochs(0.4), init="none"))]  # fmt: skip
    groups = report_training.grouped(made)
    assert {name: len(models) for name, models in groups.items()} == {"two": 2, "std-1": 1, "ig": 2, "other": 1}


def test_files_that_are_but_numbers_are_called_as_their_folder() -> None:
    made = [(f"{name}/{seed}.h5", model(seed, epochs(0.5), rate=rate))
            for name, rate in (("one", 1), ("two", 2)) for seed in (1, 2)]  # fmt: skip
    assert {name: len(models) for name, models in report_training.grouped(made).items()} == {"one": 2, "two": 2}


def test_the_figure_has_mean_over_seeds_and_models_alone_have_their_own() -> None:
    made = [("a-1.h5", model(1, epochs(0.2, 0.4))), ("a-2.h5", model(2, epochs(0.4, 0.8))),
            ("b.h5", model(1, epochs(0.1, 0.3), lr=0.2))]  # fmt: skip
    (said, together), (own, history) = report_training.figures_of(made)
    assert said.startswith("Scores against epochs") and "one standard deviation" in said and "a, seeds 1, 2" in said
    assert own == "Training of b"
    loss, precision = together.figure().axes
    assert (loss.get_title(), precision.get_title()) == ("loss", "mean-precision@5")  # auroc has no value
    np.testing.assert_allclose(precision.lines[0].get_ydata(), [0.3, 0.6])
    np.testing.assert_allclose(precision.lines[1].get_ydata(), [0.1, 0.3])
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [0.7, 0.4])
    assert [axes.get_title() for axes in history.figure().axes] == ["loss", "mean-precision@5"]


def test_one_model_has_its_own_curves_alone_and_one_without_history_none() -> None:
    assert [said for said, _ in report_training.figures_of([("a.h5", model(1, epochs(0.2, 0.4)))])] == ["Training of a"]
    assert report_training.figures_of([("a.h5", model(1, []))]) == []


def test_a_training_that_lacks_a_score_does_not_pull_the_mean() -> None:
    lacking = [{"epoch": 1, "loss": 0.5, "mean-precision@5": None}, {"epoch": 2, "loss": 0.4, "mean-precision@5": None}]
    made = [("a-1.h5", model(1, epochs(0.2, 0.4))), ("a-2.h5", model(2, lacking))]
    ((_, drawing),) = report_training.figures_of(made)
    precision = drawing.figure().axes[1]
    np.testing.assert_allclose(precision.lines[0].get_ydata(), [0.2, 0.4])
    assert not any(map(math.isnan, precision.lines[0].get_ydata()))
