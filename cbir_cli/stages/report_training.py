"""From models to training curves: the part of ``cbir report`` that shows how networks were trained.

Models of one recipe, which differ in their seed, are trainings of one method: their curves are summed up, and not drawn
one by one. What an
artifact does not store (such as the relevance rank of every epoch, which would need maps after every epoch) is not
drawn.
"""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from cbir_cli.artifacts.model import Model
from cbir_cli.reports import training_figures
from cbir_cli.reports.drawing import Drawing
from cbir_cli.stages import report_names

_NOT_SCORES = ("epoch", "lr", "loss", "validation_loss")
_NOT_RECIPE = ("threads", "workers", "device", "sources", "title", "seed", "resume")
"""Parameters of a training that do not make it another method; ``init`` is one too where it names a file."""
_FIRST = ("mean-precision@5", "knn-accuracy@5")


def figures_of(made: Sequence[tuple[str, Model]]) -> list[tuple[str, Drawing]]:
    """Return the training curves of models: of several together by method, and of those that are alone in detail.

    Parameters
    ----------
    made : sequence of (str, Model)
        File and content, in the order given. A model without training history has no curves.

    Returns
    -------
    list of (str, Drawing)
    """
    trained = [(name, model) for name, model in made if model.epochs]
    groups = grouped(trained)
    alone = [models[0] for models in groups.values() if len(models) == 1]
    drawn: list[tuple[str, Drawing]] = [
        (f"Training of {Path(name).stem}", _of_one(model)) for name, model in trained if any(model is m for m in alone)
    ]
    if len(trained) < 2:
        return drawn
    scores = list(dict.fromkeys(score for score in _names([model for _, model in trained]) if score not in _NOT_SCORES))
    curves = {
        score: {name: runs for name, models in groups.items() if (runs := _runs(models, score))}
        for score in ("loss", *scores)
    }
    most = max(len(models) for models in groups.values())
    band = "; the band is one standard deviation over trainings" if most > 1 else ""
    said = f"Scores against epochs, by method{band}{_seeds(groups)}"
    return [(said, training_figures.over_runs({score: by for score, by in curves.items() if by})), *drawn]


def grouped(made: Sequence[tuple[str, Model]]) -> dict[str, list[Model]]:
    """Return models by method: those of one recipe together, named by what the names of their files begin with."""
    together: dict[str, list[tuple[str, Model]]] = {}
    for name, model in made:
        together.setdefault(_recipe(model), []).append((name, model))
    groups = list(together.values())
    names = [_common([_called(Path(name)) for name, _ in group]) for group in groups]
    names = report_names.distinct(names, [group[0][0] for group in groups])
    return {name: [model for _, model in group] for name, group in zip(names, groups, strict=True)}


def _recipe(model: Model) -> str:
    """Return all that makes a training another method, as text."""
    entry: Mapping[str, Any] = model.history[-1] if model.history else {}
    parameters = {k: v for k, v in entry.get("parameters", {}).items() if k not in _NOT_RECIPE}
    if str(parameters.get("init", "")).endswith(".h5"):
        parameters["init"] = "model"  # that of the same seed
    return json.dumps([entry.get("command", ""), model.architecture, model.objective, parameters], sort_keys=True)


def _called(path: Path) -> str:
    """Return a file's name, or its folder's where the name is but a number: ``ig`` of ``ig/1.h5``."""
    return path.parent.name if path.stem.isdecimal() and path.parent.name else path.stem


def _common(stems: Sequence[str]) -> str:
    """Return what all names begin with, without what parts it from the number: ``ig`` of ``ig-1`` and ``ig-2``."""
    if len(set(stems)) == 1:
        return stems[0]
    alike = sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False)))
    return stems[0][:alike].rstrip("-_. ").removesuffix("seed").rstrip("-_. ") or stems[0]


def _seeds(groups: Mapping[str, Sequence[Model]]) -> str:
    told = []
    for name, models in groups.items():
        seeds = [str(m.history[-1].get("seed")) for m in models if m.history and m.history[-1].get("seed") is not None]
        if len(seeds) == len(models) > 1:
            told.append(f"{name}, seeds {', '.join(seeds)}")
    return f" ({'; '.join(told)})" if told else ""


def _of_one(model: Model) -> Drawing:
    curves: dict[str, dict[str, list[float]]] = {"loss": {"train": _series(model, "loss")}}
    if any(e.get("validation_loss") is not None for e in model.epochs):
        curves["loss"]["validation"] = _series(model, "validation_loss")
    curves |= {score: {"validation": _series(model, score)} for score in _names([model]) if score not in _NOT_SCORES}
    best = model.scores.get("best_epoch")
    return training_figures.history(curves, best=int(best) if best else None)


def _names(models: Sequence[Model]) -> list[str]:
    """Return what any epoch has a number for, those of retrieval first, as the CT-liver paper has them."""
    found = {
        name
        for model in models
        for entry in model.epochs
        for name, value in entry.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return [*(name for name in _FIRST if name in found), *sorted(found - set(_FIRST))]


def _series(model: Model, name: str) -> list[float]:
    return [math.nan if e.get(name) is None else float(e[name]) for e in model.epochs]


def _runs(models: Sequence[Model], name: str) -> list[list[float]]:
    """Return the values of each training that has any."""
    every = [_series(model, name) for model in models]
    return [run for run in every if not all(map(math.isnan, run))]
