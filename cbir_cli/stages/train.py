"""From images or maps to a trained model: the library behind ``cbir train`` and ``cbir finetune-ig``."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_cli import batches, engines, reading, registry, splits, tasks, training, windows
from cbir_cli.artifacts import history
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.files import is_artifact
from cbir_cli.artifacts.model import Model, Saliency
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.artifacts.saliency import Maps
from cbir_cli.data import Source
from cbir_cli.errors import CbirError, SourceError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.records import Record, images
from cbir_cli.stages import leaks
from cbir_cli.stages.fitting import Run, check_choices, fit, initial_network, input_of, objective_of
from cbir_cli.stages.streaming import nothing
from cbir_cli.tasks import Task

log = logging.getLogger("cbir")

TRAINING_SPLITS = ("", "train", "train_val")
"""Official splits of data sets that are trained on; images of any other are held out."""


def resolve_task(
    name: str,
    pairs: Sequence[str],
    *,
    epochs: int | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
) -> Task:
    """Return a task with what the command line changes.

    Raises
    ------
    UsageError
        If there is no such task or value.
    """
    return _changed(tasks.load(name), pairs, epochs=epochs, image_size=image_size, batch_size=batch_size)


def inherited_task(model: Model, pairs: Sequence[str], *, epochs: int | None, batch_size: int | None) -> Task:
    """Return the task of a first network with what the command line changes for the second."""
    task = _changed(tasks.from_dict(model.task), pairs, epochs=epochs, batch_size=batch_size)
    if task.architecture != model.architecture or input_of(task) != model.input:
        raise UsageError(f"{model.name}: architecture and input of the second network are those of the first")
    return task


def _changed(task: Task, pairs: Sequence[str], **options: int | None) -> Task:
    for pair in pairs:  # first of all, since it decides which parameters there are
        if pair.replace(" ", "").startswith("objective="):
            task = task.override(**registry.settings([pair], {"objective": ""}, f"task {task.name}"))
    changes = registry.settings(pairs, task.settings(), f"task {task.name}")
    given = {name: value for name, value in options.items() if value is not None}
    if both := sorted(given.keys() & changes.keys()):
        raise UsageError(f"{both[0]} is given twice: as an option and with --set")
    return task.override(**changes, **given)


def train_network(task: Task, source: Source, init: str, run: Run, pseudonyms: Pseudonyms) -> dict[str, str]:
    """Train a network on images and write its model.

    Parameters
    ----------
    task : Task
    source : Source
    init : str
        ``imagenet``, ``none``, a cbir model, or a file of weights.
    run : Run
    pseudonyms : Pseudonyms

    Returns
    -------
    dict of str to str
        Why each image that could not be read was left out.
    """
    spec = input_of(task)
    engines.check_size(spec.size, registry.load("models", task.architecture))
    check_choices(task)
    objective = objective_of(task)
    labelled = getattr(objective, "LABELLED", True)
    chosen, targets = task.select(source.records, source.flow, labelled=labelled)
    if task.exclusive and not objective.outputs(list(task.names)):
        targets = task.classes(targets)
    for line in source.flow.lines():
        log.info("%s", line)
    noting = leaks.Noting(spec)
    part = [chosen[i] for i in run.ranks.share(np.arange(len(chosen)))]
    _, mine = reading.readable(part, noting.load, workers=run.workers, fail=run.fail)
    unreadable: dict[str, str] = {}
    for lost, contents, hashes in run.ranks.gather((mine, noting.contents, noting.hashes)):
        unreadable |= lost
        noting.contents |= contents
        noting.hashes |= hashes
    readable = [record for record in chosen if record.id not in unreadable]
    if not readable:
        raise SourceError(nothing(len(chosen)))
    targets = targets[[record.id not in unreadable for record in chosen]]
    start = _start(init)
    owners = [pseudonyms(record.patient) or record.id for record in readable]
    drawn = roles_of(readable, seed=run.seed, validation=task.validation, test=task.test)
    split = models.join_splits(dict(zip(owners, drawn, strict=True)), _split_of(start, pseudonyms.check))
    roles = [split[owner] for owner in owners]
    leaks.guard(leaks.of_roles(readable, roles, noting, pseudonyms), allow=run.allow_leaks)
    if held := roles.count("test"):
        log.info("test: %s held out", images(held))
    module = initial_network(task, start, seed=run.seed)
    before = start.history if isinstance(start, Model) else []
    places = {role: [i for i, r in enumerate(roles) if r == role] for role in ("train", "validation")}
    recipe = task.recipe
    views = windows.views(recipe.view_windows, recipe.view_scaling, spec.window) if objective.VIEWS == 2 else ()
    data = {
        role: batches.Images(
            [readable[i] for i in at], targets[at], spec, views=views, cropped=role == "train" and recipe.crop > 0
        )
        for role, at in places.items()
        if at
    }
    result = fit(module, task, data, run, [owners[i] for i in places["validation"]])
    entry = history.entry(
        "train",
        {
            **task.to_dict(),
            "init": init,
            "threads": run.cores,
            "source": source.stored(pseudonyms),
            "reader": source.reader,
        },
        seed=run.seed,
        libraries=("numpy", *reading.libraries(chosen), "torch", "torchvision"),
    )
    _write(task, run, result, split, pseudonyms.check, before, entry, spec)
    return unreadable


def finetune_network(task: Task, first: Model, maps: Maps, start: Model, run: Run) -> None:
    """Train a second network on the first one's maps and write the model that holds both.

    Parameters
    ----------
    task : Task
    first : Model
        The network that made the maps.
    maps : Maps
    start : Model
        Whose weights the second network starts from.
    run : Run

    Raises
    ------
    UsageError
        If the maps were not made by the first network.
    """
    if maps.model_space != first.space():
        raise UsageError(f"{maps.name}: made by another network than {first.name}")
    if maps.items.pseudonyms != first.pseudonyms:
        raise CbirError(
            f"{maps.name}: its patients were hidden with another key than those of {first.name}, so training and "
            "validation patients cannot be told apart; use the same CBIR_KEY for both"
        )
    check_choices(task)
    stage = Saliency(first, maps.method, maps.parameters, maps.input, maps.fitted)
    table = maps.items
    records = table.records()
    rows, targets = _selected(task, records)
    owners = [records[i].patient or records[i].id for i in rows]  # hidden already
    earlier = models.join_splits(first.split, _split_of(start, first.pseudonyms))
    roles = [earlier.get(owner, "") for owner in owners]
    drawn = roles_of([records[i] for i in rows], seed=run.seed, validation=task.validation, test=task.test)
    roles = [role or new for role, new in zip(roles, drawn, strict=True)]
    flat = {i for i in rows if maps.scale[i] == 0}
    if flat:
        log.warning("%d of %d maps are flat and teach nothing; they are kept", len(flat), len(rows))
    module = initial_network(task, start, seed=run.seed)
    places = {role: [i for i, r in enumerate(roles) if r == role] for role in ("train", "validation")}
    data = {
        role: batches.Maps(maps.maps, targets[at], first.input, rows=np.array(rows)[at], source=maps.fingerprint)
        for role, at in places.items()
        if at
    }
    result = fit(module, task, data, run, [owners[i] for i in places["validation"]])
    entry = history.entry(
        "finetune-ig",
        {**task.to_dict(), "init": start.name, "threads": run.cores},
        inputs={"model": first.fingerprint, "maps": maps.fingerprint, "init": start.fingerprint},
        seed=run.seed,
        libraries=("numpy", "torch", "torchvision"),
    )
    split = models.join_splits(earlier, dict(zip(owners, roles, strict=True)))
    before = history.join(first.history, start.history, maps.history)
    _write(task, run, result, split, first.pseudonyms, before, entry, first.input, stage)


def roles_of(records: Sequence[Record], *, seed: int, validation: float, test: float) -> list[str]:
    """Return train, validation or test for each image, by patient.

    Every image of a patient who has one in an official held-out split is test, or validation where the data set has
    official validation and test images; then no other patient is drawn for validation. The other patients are drawn
    from patient and seed alone. An image without patient is its own patient.
    """
    owners = [record.patient or record.id for record in records]
    official = [record.split.lower() for record in records]
    chosen = {"validation"} if {"validation", "test"} <= set(official) else set()
    own = {owner for owner, split in zip(owners, official, strict=True) if split in chosen}
    held = {o for o, s in zip(owners, official, strict=True) if s not in {*TRAINING_SPLITS, *chosen}}
    drawn = splits.assign(owners, seed=seed, validation=0 if own else validation, test=test)
    roles: list[str] = list(drawn)
    return [
        "test" if owner in held else "validation" if owner in own else role
        for owner, role in zip(owners, roles, strict=True)
    ]


def _start(init: str) -> str | Model:
    return models.read(init) if is_artifact(Path(init)) else init


def _split_of(start: str | Model, pseudonyms: str) -> dict[str, str]:
    """Return the patients that the initial weights have seen, as far as they can be compared."""
    if isinstance(start, str) or not start.split:
        return {}
    if start.pseudonyms != pseudonyms:
        log.warning(
            "%s: its patients were hidden with another key, so those that it has seen cannot be kept out of validation "
            "and test; that matters if the data overlap",
            start.name,
        )
        return {}
    return start.split


def _selected(task: Task, records: Sequence[Record]) -> tuple[list[int], NDArray[np.int64]]:
    from cbir_cli.records import Flow

    flow = Flow(read=len(records))
    chosen, targets = task.select(records, flow)
    for line in flow.lines():
        log.info("%s", line)
    numbers = {record.id: i for i, record in enumerate(records)}
    return [numbers[record.id] for record in chosen], targets


def _write(
    task: Task,
    run: Run,
    result: training.Result,
    split: dict[str, str],
    pseudonyms: str,
    before: Iterable[history.Entry],
    entry: history.Entry,
    spec: InputSpec,
    stage: Saliency | None = None,
) -> None:
    if not run.ranks.first:
        return
    architecture = registry.load("models", task.architecture)
    outputs = list(task.names) if objective_of(task).outputs(list(task.names)) else []
    log.info("kept epoch %d of %d", result.best_epoch, len(result.history))
    models.write(
        run.output,
        Model(
            architecture=task.architecture,
            weights=result.state,
            outputs=outputs,
            task=task.to_dict(),
            objective=task.objective,
            feature_layer=f"{architecture.HEAD}.{'input' if outputs else 'output'}",
            feature_width=task.embedding or architecture.FEATURES,
            input=spec,
            scores={"best_epoch": result.best_epoch, **result.scores},
            epochs=result.history,
            split=split,
            pseudonyms=pseudonyms,
            saliency=stage,
            history=history.join(before, [entry]),
        ),
    )
    if run.checkpoint:
        run.checkpoint.unlink(missing_ok=True)
