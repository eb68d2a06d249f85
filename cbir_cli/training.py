"""The one training loop: best epoch by validation, resumable to the byte, in one process or many.

On a CPU the weights are a function of data, recipe, initial weights, seed, the number of PyTorch's threads and that of
processes. The number of workers, a kill and a resume do not change a bit: every draw (order, augmentation, dropout)
follows from seed, epoch and step, and images are decoded by whichever worker but used in order. On a GPU two runs agree
to rounding.

Reference
---------
Silva et al., MICCAI 2020, section 2.2, and Silva et al., Scientific Reports 2022, "Deep learning networks training".
What a network is trained for, and the papers of that, are in the folder ``objectives``.

Differs from the authors' code
------------------------------
Theirs (2020, Keras 2.2.4) draws every batch with replacement, ceil(N / 32) whole batches an epoch, and keeps the last
epoch: ``sampler="bootstrap"``, ``selection="last"``. By default an epoch shows every image once, and the best epoch is
chosen as in the 2022 paper.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cbir_cli import batches, checkpoints, engines, optimisation
from cbir_cli.batches import Data
from cbir_cli.distributed import ALONE, Ranks
from cbir_cli.errors import CbirError, UsageError, WeightsError
from cbir_cli.passes import Aim, Scores, Trainee, diverged
from cbir_cli.recipe import Recipe
from cbir_cli.registry import unknown
from cbir_cli.signals import terminate

if TYPE_CHECKING:
    import torch

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Result:
    """What training gives.

    Attributes
    ----------
    state : dict of arrays
        Weights and buffers after the best epoch.
    history : list of dict
        An entry an epoch: ``epoch``, ``lr``, ``loss``, what the objective watches, ``validation_loss``, each metric and
        the retrieval quality; None where not defined.
    best_epoch : int
        Number of the epoch that is kept, from 1; 0 for the initial weights.
    scores : dict
        ``validation_loss``, each metric and the retrieval quality with the weights that are kept.
    """

    state: checkpoints.Arrays
    history: list[Scores]
    best_epoch: int
    scores: Scores


def train(
    module: "torch.nn.Module",
    data: Data,
    recipe: Recipe,
    *,
    aim: Aim,
    validation: Data | None = None,
    owners: Sequence[str] = (),
    seed: int = 0,
    device: str = "cpu",
    workers: int = 2,
    checkpoint: Path | None = None,
    resume: bool = False,
    stop: Callable[[], int] = lambda: 0,
    ranks: Ranks = ALONE,
    on_epoch: Callable[[Scores, float], None] | None = None,
) -> Result:
    """Train a network and keep its best epoch.

    Parameters
    ----------
    module : Module
        (B, 3, S, S) float32 to (B, C) logits or vectors, with its initial weights. Trained in place; afterwards it
        holds the weights that are returned and is in evaluation mode.
    data, validation : Data
        ``batches.Images`` or ``batches.Maps``. Without validation images the last epoch is kept.
    recipe : Recipe
        ``batch_size`` is that of each process.
    aim : Aim
    owners : sequence of str
        Patient of each validation image.
    seed : int
        Only source of randomness; 0 or more.
    workers : int
        Threads that make batches ahead; no influence on the outcome.
    checkpoint : Path, optional
        File that the run is saved in after every epoch and every five minutes. It stays: remove it when the model is
        safe.
    resume : bool
        Go on from the checkpoint if it is there. More epochs than it was begun with may be asked for.
    stop : callable
        Asked after every step: the number of the signal to save the run and end at, or 0.
    ranks : Ranks
        Which of several processes this is.
    on_epoch : callable, optional
        Gets the entry of each epoch and the seconds that it took.

    Returns
    -------
    Result

    Raises
    ------
    CbirError
        If only one class is there, the loss or a weight stops being finite, or the checkpoint does not fit.
    ImageError
        If an image cannot be read.
    WeightsError
        If an initial weight is not finite.
    UsageError
        If the recipe names a selection or class weights that do not exist, or cuts batches that must be whole.
    Terminated
        At a signal.
    """
    import torch

    check(recipe, aim)
    # Channels last: up to 1.4 times as fast for DenseNet-121 on a CPU (benchmarks/training.py).
    module.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    initial = _state(module)
    if name := _not_finite(initial):
        raise WeightsError(f"initial weights: {name} holds numbers that are not finite")
    trainee = Trainee(module, recipe, aim, device=device, workers=workers, seed=seed, ranks=ranks)
    if not recipe.epochs:
        return Result(initial, [], 0, trainee.scores(validation, owners))

    trainee.begin(data.targets)
    saved = checkpoints.Checkpoint(_configuration(initial, data, recipe, aim, validation, seed, ranks))
    if resume and checkpoint and checkpoint.exists():
        saved = checkpoints.read(checkpoint, saved.configuration)
        if len(saved.history) > recipe.epochs:
            raise CbirError(f"{checkpoint}: has {len(saved.history)} epochs already, {recipe.epochs} were asked for")
        if len({(len(history), step) for history, step in ranks.gather((saved.history, saved.step))}) > 1:
            raise CbirError(f"{checkpoint}: the processes see different files: put it where all of them see it")
        engines.fill(trainee.trained, saved.model)
        optimisation.load(trainee.optimizer, saved.optimizer)
        step = f", step {saved.step}" if saved.step else ""
        log.info("%s: going on after epoch %d of %d%s", checkpoint.name, len(saved.history), recipe.epochs, step)
    selection = _selection(recipe, aim, validation)
    better = _order(selection, aim.scores)
    history, best_epoch, best = saved.history, saved.best_epoch, saved.best

    def save(step: int, sums: Mapping[str, float]) -> None:
        if checkpoint and ranks.first:
            now = replace(saved, history=history, best_epoch=best_epoch, best=best, step=step, sums=dict(sums))
            now = replace(now, model=_state(trainee.trained), optimizer=optimisation.state(trainee.optimizer))
            checkpoints.write(checkpoint, now)

    # Dropout draws from PyTorch's global generator; the caller's state of it is put back.
    with torch.random.fork_rng(devices=[device] if device != "cpu" else []):
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            if recipe.patience and epoch - best_epoch > recipe.patience >= 1 and history:
                log.info("ended early: no better epoch than %d for %d epochs", best_epoch, recipe.patience)
                break
            started = time.monotonic()
            begun = (saved.step, saved.sums) if len(history) == len(saved.history) else (0, {})
            entry = trainee.fit(data, history, begun, save, stop) | trainee.scores(validation, owners)
            history = [*history, entry]
            state = _state(module)
            if name := _not_finite(state):
                raise diverged(f"{name} holds numbers that are not finite after epoch {epoch}")
            if not best or better(entry) > better(history[best_epoch - 1]):
                best_epoch, best = epoch, state
            save(0, {})
            if on_epoch:
                on_epoch(entry, time.monotonic() - started)
            if epoch < recipe.epochs and (number := max(ranks.gather(stop()))):
                log.warning("ended after epoch %d; --resume goes on", epoch)
                terminate(number)

    if selection in aim.scores and history[best_epoch - 1][selection] is None:
        log.warning("too few validation images for %s: kept by the other scores, or the last epoch", selection)
    engines.fill(module.eval(), best)
    scores = {name: history[best_epoch - 1][name] for name in ("validation_loss", *aim.scores)}
    return Result(_state(module), history, best_epoch, scores)  # in the order of the module, resumed or not


def check(recipe: Recipe, aim: Aim) -> None:
    """Refuse a recipe that does not go with an objective.

    Raises
    ------
    UsageError
        If epochs cannot be chosen by what it says, or it cuts batches that must be whole.
    """
    if recipe.selection not in (choices := [*aim.scores, "loss", "last"]):
        raise unknown("selection", recipe.selection, choices)
    if recipe.selection == "loss" and aim.objective.WHOLE_BATCH:
        raise UsageError("selection=loss: this objective has no loss of single images: choose a score, or last")
    if recipe.accumulate > 1 and aim.objective.WHOLE_BATCH:
        raise UsageError(f"accumulate={recipe.accumulate}: this objective compares the images of a batch: use 1")


def _selection(recipe: Recipe, aim: Aim, validation: Data | None) -> str:
    """Return the selection that the validation images allow."""
    if recipe.selection == "last":
        return "last"
    if not validation:
        log.warning("no validation images: the last epoch is kept, not the best by %s", recipe.selection)
        return "last"
    if recipe.selection != "loss" and len(np.unique(validation.targets)) < 2:
        # Where no class is learnt, a low loss may be a collapse.
        instead = "loss" if aim.classifies else "last"
        log.warning("validation images are all of one class: epoch chosen by %s, not by %s", instead, recipe.selection)
        return instead
    return recipe.selection


def _order(selection: str, names: Sequence[str]) -> Callable[[Scores], tuple[float, ...]]:
    """Return a function of an epoch's entry that is larger for a better epoch."""
    if selection == "last":
        return lambda entry: (entry["epoch"],)
    if selection == "loss":
        return lambda entry: (-entry["validation_loss"],)
    first = [selection, *(name for name in names if name != selection)]

    def key(entry: Scores) -> tuple[float, ...]:
        # Where it is not defined the last epoch is the better one.
        late = entry["epoch"] if entry[selection] is None else 0
        return *(-np.inf if entry[name] is None else entry[name] for name in first), late

    return key


def _state(module: "torch.nn.Module") -> checkpoints.Arrays:
    return {name: _array(value) for name, value in module.state_dict().items()}


def _not_finite(state: checkpoints.Arrays) -> str | None:
    return next((name for name, array in state.items() if not np.isfinite(array).all()), None)


def _array(tensor: "torch.Tensor") -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy(), order="C")  # a copy: the tensor goes on changing


def _configuration(
    initial: checkpoints.Arrays,
    data: Data,
    recipe: Recipe,
    aim: Aim,
    validation: Data | None,
    seed: int,
    ranks: Ranks,
) -> dict[str, Any]:
    """Return all that decides the outcome but the number of epochs, which a resumed run may raise."""
    settings = asdict(recipe)
    if recipe.schedule != "cosine":  # which ends with the last epoch
        del settings["epochs"]
    identity = {
        name: batches.digest([part.fingerprint.encode(), part.targets.tobytes()]) if part else None
        for name, part in (("training data", data), ("validation data", validation))
    }
    return {
        **settings,
        "seed": seed,
        "processes": ranks.count,
        "objective": aim.objective.__name__.rpartition(".")[2],
        "parameters of the loss": dict(aim.parameters),
        "input": data.spec.to_dict(),
        **identity,
        "initial weights": batches.digest(p for name, a in initial.items() for p in (name.encode(), a.tobytes())),
    }
