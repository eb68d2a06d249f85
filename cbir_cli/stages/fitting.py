"""What ``cbir train`` and ``cbir finetune-ig`` share: from a task to its network, and through the training loop."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli import batches, distributed, engines, registry, signals, tasks, training, windows
from cbir_cli.artifacts.model import Model
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.label_policy import IGNORED
from cbir_cli.passes import Aim, Metric
from cbir_cli.records import images
from cbir_cli.tasks import Task

if TYPE_CHECKING:
    import torch

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Run:
    """How a command trains: where, with which seed, and where the model goes."""

    output: str
    seed: int
    device: str
    threads: int | None
    workers: int
    resume: bool = False
    fail: bool = False
    allow_leaks: bool = False
    log_folder: str | None = None
    ranks: distributed.Ranks = distributed.ALONE

    @property
    def cores(self) -> int:
        """Threads that compute. With another number the weights differ in their last bits, so it is recorded."""
        return self.threads or engines.cpu_threads()

    @property
    def checkpoint(self) -> Path | None:
        """File of the unfinished run beside the model; none when the model goes to a pipe."""
        return None if self.output == "-" else Path(f"{self.output}.checkpoint")


def input_of(task: Task) -> InputSpec:
    """Return how a task's images become the input of its network."""
    spec = InputSpec(size=task.image_size, colour=task.colour, window=windows.parse(task.window))
    return spec if task.normalise == "imagenet" else replace(spec, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def objective_of(task: Task) -> ModuleType:
    """Return the objective of a task.

    Raises
    ------
    UsageError
        If there is no such objective, it does not go with the task's outputs, or the task asks for an embedding layer
        where the objective trains a classifier.
    """
    objective = registry.load("objectives", task.objective)
    try:
        outputs = objective.outputs(list(task.names))
    except UsageError as error:
        raise UsageError(f"task {task.name}: {error}; give --set objective=NAME, or a task with one label") from error
    if outputs and task.embedding:
        raise UsageError(
            f"embedding={task.embedding}: the objective {task.objective} trains a classifier, whose input is the vector"
        )
    return objective


def check_choices(task: Task) -> None:
    """Refuse what does not go with the objective, before any image is read.

    Raises
    ------
    UsageError
        If it does not know the class weights or parameters of its loss, or epochs cannot be chosen by what the recipe
        says.
    """
    objective, recipe = objective_of(task), task.recipe
    if recipe.class_weights not in objective.CLASS_WEIGHTS:
        raise registry.unknown("class_weights", recipe.class_weights, objective.CLASS_WEIGHTS)
    if hasattr(objective, "check"):
        objective.check(**{**tasks.loss_parameters(task.objective), **task.loss})
    training.check(recipe, aim_of(task))
    if recipe.view_windows and objective.VIEWS != 2:
        log.warning("view_windows=%s does nothing: %s is shown one view", recipe.view_windows, task.objective)
    if recipe.per_class and not recipe.sampler.startswith("balanced"):
        log.warning("per_class=%d does nothing with sampler=%s", recipe.per_class, recipe.sampler)


def aim_of(task: Task) -> Aim:
    """Return what the network of a task is trained for."""
    architecture = registry.load("models", task.architecture)
    metrics = {name: _mean(registry.load("metrics/classification", name).score) for name in ("f1", "auroc")}
    width = task.embedding or architecture.FEATURES
    return Aim(objective_of(task), architecture.HEAD, width, metrics, task.loss)


def last_layer_of(task: Task) -> int:
    """Return the width of the network's last layer: its logits, or an embedding; 0 for none."""
    return int(objective_of(task).outputs(list(task.names))) or task.embedding


def initial_network(task: Task, start: str | Model, *, seed: int) -> "torch.nn.Module":
    """Return a network with its initial weights.

    Parameters
    ----------
    task : Task
    start : str or Model
        ``imagenet``, ``none``, a file of weights, or a model.
    seed : int
        Of whatever is drawn at random.

    Raises
    ------
    WeightsError
        If the weights cannot be had or do not fit.
    """
    from cbir_cli.models import _weights

    outputs = last_layer_of(task)
    if isinstance(start, str):
        return _weights.load_initial(start, task.architecture, outputs, seed=seed)
    module = _weights.fresh(task.architecture, outputs, seed=seed)
    _weights.fit_state(module, start.weights, architecture=task.architecture, what=start.name)
    return module


def fit(
    module: "torch.nn.Module", task: Task, data: Mapping[str, batches.Data], run: Run, owners: Sequence[str]
) -> training.Result:
    """Run the training loop with a task's recipe, one line an epoch.

    Parameters
    ----------
    module : Module
    task : Task
    data : mapping of str to Data
        ``train`` and ``validation``, if there is any.
    run : Run
    owners : sequence of str
        Patient of each validation image.
    """
    import torch

    if "train" not in data and task.recipe.epochs:
        raise CbirError("no training images are left; are all patients held out?")
    torch.set_num_threads(run.cores)
    for role, some in data.items():
        log.info("%s: %s", role, _counts(task, some.targets))
    _say_untrained(task, data)
    with ExitStack() as stack:
        stop = stack.enter_context(signals.deferred()) if run.checkpoint else lambda: 0
        say = stack.enter_context(_told(run.log_folder if run.ranks.first else None))
        return training.train(
            module,
            data.get("train", data.get("validation")),  # type: ignore[arg-type]
            task.recipe,
            aim=aim_of(task),
            validation=data.get("validation"),
            owners=owners,
            seed=run.seed,
            device=engines.choose_device(run.device),
            workers=run.workers,
            checkpoint=run.checkpoint,
            resume=run.resume,
            stop=stop,
            ranks=run.ranks,
            on_epoch=say,
        )


def _counts(task: Task, targets: NDArray[np.int64]) -> str:
    """Return how many images there are, and of which class or with which label."""
    if (targets < 0).all():
        return f"{images(len(targets))} without labels"
    if task.exclusive and targets.ndim == 1:
        each = [int(np.sum(targets == number)) for number in range(len(task.names))]
    elif targets.ndim == 2:
        each = np.sum(targets == 1, axis=0).tolist()
    else:
        return f"{images(len(targets))}, {int(np.sum(targets == 1))} positive"
    return f"{images(len(targets))}, " + ", ".join(f"{n} {name}" for n, name in zip(each, task.names, strict=True))


def _say_untrained(task: Task, data: Mapping[str, batches.Data]) -> None:
    learnt = bool(objective_of(task).outputs(list(task.names)))
    if learnt and "train" in data and (targets := data["train"].targets).ndim == 2:
        sides = zip(task.names, (targets == 1).any(axis=0), (targets == 0).any(axis=0), strict=True)
        if one_sided := [name for name, *both in sides if not all(both)]:
            log.warning("not trained, since no training image has it or all have: %s", ", ".join(one_sided))


def _mean(score: Metric) -> Metric:
    """Return a metric that, of several labels, is the mean over those that it is defined for."""

    def mean(truth: ArrayLike, probability: ArrayLike) -> float | None:
        true, predicted = np.asarray(truth), np.asarray(probability)
        if true.ndim == 1:
            return score(true, predicted)
        known = [(t[t != IGNORED], p[t != IGNORED]) for t, p in zip(true.T, predicted.T, strict=True)]
        values = [value for t, p in known if len(t) and (value := score(t, p)) is not None]
        return float(np.mean(values)) if values else None

    return mean


@contextmanager
def _told(folder: str | None) -> Iterator[Callable[[Mapping[str, Any], float], None]]:
    """Yield what says an epoch's entry on standard error, and to TensorBoard where a folder is given."""
    if folder is None:
        yield _say
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("--tensorboard needs the package tensorboard: pip install tensorboard") from error
    with SummaryWriter(folder) as writer:

        def both(entry: Mapping[str, Any], seconds: float) -> None:
            _say(entry, seconds)
            for name, value in entry.items():
                if value is not None and name != "epoch":
                    writer.add_scalar(name, value, entry["epoch"])

        yield both


def _say(entry: Mapping[str, Any], seconds: float) -> None:
    def shown(name: str) -> str:
        return "-" if entry[name] is None else f"{entry[name]:.3g}" if name == "lr" else f"{entry[name]:.4f}"

    parts = [f"{name.replace('_', ' ')} {shown(name)}" for name in entry if name != "epoch"]
    log.info("epoch %d: %s (%.1f s)", entry["epoch"], ", ".join(parts), seconds)
