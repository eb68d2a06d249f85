"""From images or an artifact's item table to a split table."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli import registry, split_presets, splits, tasks
from cbir_cli.artifacts import files, items
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import ArtifactError, SourceError, UsageError
from cbir_cli.leaks import Leak
from cbir_cli.records import Flow, Record
from cbir_cli.splits import Role, SplitRow
from cbir_cli.stages import leaks
from cbir_cli.stages.leaks import Known

log = logging.getLogger("cbir")


SELECTION = ("labels", "label_set", "views", "uncertain", "blank", "unit")
"""Values of a task that decide which images there are and of which class."""

BY = ("patient", "study", "source")
"""What is kept whole by train, validation and test sets."""

_OFFICIAL: dict[str, Role] = {
    "train": "train",
    "train_val": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
}


@dataclass(frozen=True)
class Pool:
    """Images to draw from, with their class and patient; an image without patient is its own."""

    ids: list[str]
    labels: list[int]
    patients: list[str]
    records: list[Record]

    def take(self, rows: Sequence[int]) -> "Pool":
        """Return the pool of some images."""
        return Pool(
            [self.ids[i] for i in rows],
            [self.labels[i] for i in rows],
            [self.patients[i] for i in rows],
            [self.records[i] for i in rows],
        )


def records_of_artifact(name: str) -> tuple[list[Record], str, Known]:
    """Return the images that an artifact lists, which key their patients were hidden with, and what it knows of them.

    Raises
    ------
    ArtifactError
        If the artifact has no item table.
    """
    with files.open_artifact(name) as artifact:
        if "obs" not in artifact.file:
            raise ArtifactError(f"{name}: {artifact.kind} lists no images")
        table = items.read(artifact.file, artifact.name)
        return table.records(), table.pseudonyms, leaks.of_items(table)


def without_seen(
    records: Sequence[Record], model: str, pseudonyms: Pseudonyms | None, check: str, flow: Flow
) -> list[Record]:
    """Leave out every image whose patient a model was trained or selected on.

    Parameters
    ----------
    records : sequence of Record
    model : str
        Path of the model artifact.
    pseudonyms : Pseudonyms or None
        Hides the records' patients; None where they are hidden already.
    check : str
        Which key hides them.
    flow : Flow
        Counts what is left out.

    Raises
    ------
    UsageError
        If the model's patients were hidden with another key: they could not be recognised.
    """
    network = models.read(model)
    if network.split and network.pseudonyms != check:
        raise UsageError(
            f"{model}: its patients were hidden with another key (or --keep-ids differs), so they cannot be left out; "
            "use the same CBIR_KEY"
        )
    kept = []
    for record in records:
        patient = pseudonyms(record.patient) if pseudonyms else record.patient
        role = network.split.get(patient or record.id, "test")
        if role == "test":
            kept.append(record)
        else:
            flow.drop(f"{role} patient of {Path(model).name}")
    return kept


def pool_of(
    records: Sequence[Record],
    flow: Flow,
    *,
    task: str | None,
    label: str | None,
    settings: Sequence[str] = (),
    classes: bool = True,
) -> Pool:
    """Return the images whose class is known, by a task (label, views and policies) or by one label.

    Parameters
    ----------
    records : sequence of Record
    flow : Flow
        Counts what is left out.
    task : str, optional
        Name, or path of a file.
    label : str, optional
        Label that makes the classes; of a task with several outputs, one of them.
    settings : sequence of str
        ``KEY=VALUE`` for a value of the task in ``SELECTION``.
    classes : bool
        Whether the draw asks for the class of an image: then a task with several labels at once does not do.

    Raises
    ------
    UsageError
        If neither task nor label is given and the images have several labels, or both and the task has one output; if
        a setting is unknown.
    """
    if task:
        chosen = tasks.load(task)
        if label and not chosen.several:
            raise UsageError("--task and --label both make classes; give one")
    else:
        names = list(dict.fromkeys(name for record in records for name in record.labels))
        if label is None and len(names) != 1:
            raise UsageError(
                f"which label makes the classes? give --task or --label; there are: {', '.join(names) or 'none'}"
            )
        chosen = tasks.Task(name="split", labels=(label or names[0],))
    values = chosen.settings()
    chosen = chosen.override(
        **registry.settings(settings, {key: values[key] for key in SELECTION}, f"task {chosen.name}")
    )
    if label and chosen.several:
        chosen = chosen.alone(label)
    kept, targets = chosen.select(records, flow)
    numbers = chosen.classes(targets) if classes or not chosen.several else np.zeros(len(kept), dtype=np.int64)
    return Pool([r.id for r in kept], numbers.tolist(), [r.patient or r.id for r in kept], kept)


def official(pool: Pool) -> list[Role]:
    """Return the set that the data set gives each image: train, validation or test.

    A name that is none of the usual ones of training and validation sets is a held-out set.

    Raises
    ------
    SourceError
        If the data set does not say it of every image.
    """
    if unknown := sum(not record.split for record in pool.records):
        raise SourceError(f"split: the data set has no official set for {unknown} of {len(pool.ids)} images")
    return [_OFFICIAL.get(record.split.casefold(), "test") for record in pool.records]


def held_out(pool: Pool) -> Pool:
    """Return the official test images, or the validation images of a data set that has no others.

    Raises
    ------
    SourceError
        If the data set holds none out.
    """
    roles = official(pool)
    for role in ("test", "validation"):
        if rows := [i for i, found in enumerate(roles) if found == role]:
            log.info("drawn from the official %s set: %d of %d images", role, len(rows), len(roles))
            return pool.take(rows)
    raise SourceError("split: the data set holds no images out; leave --official")


def groups(pool: Pool, by: str) -> list[str]:
    """Return what is kept whole of each image: its patient, study, or source.

    Sources that have a patient in common count as one, so that no patient is on both sides. Studies of a patient do
    not: that is for the search in a patient's earlier studies, and elsewhere the leak check refuses it.

    Raises
    ------
    SourceError
        If the source of an image is not known.
    """
    if by == "patient":
        return pool.patients
    if by == "study":
        return [f"study {r.study}" if r.study else f"image {r.id}" for r in pool.records]
    if unknown := sum(not record.source for record in pool.records):
        raise SourceError(f"split: the source of {unknown} of {len(pool.ids)} images is not known")
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    of: dict[str, str] = {}
    for record, patient in zip(pool.records, pool.patients, strict=True):
        one, other = sorted((root(record.source), root(of.setdefault(patient, record.source))))
        first[other] = one
    return [f"source {root(record.source)}" for record in pool.records]


def sets(
    pool: Pool,
    seeds: Sequence[int],
    *,
    validation: float | None = None,
    test: float = 0.0,
    by: str = "patient",
    stratify: bool = False,
    keep: bool = False,
) -> list[SplitRow]:
    """Return train, validation or test for each image, for each seed.

    Parameters
    ----------
    pool : Pool
    seeds : sequence of int
    validation, test : float
        Shares of the patients, or of what ``by`` says. A tenth for validation by default, but nothing where the data
        set has an official validation set.
    by : str
        One of ``BY``.
    stratify : bool
        Keep the shares in each class.
    keep : bool
        Keep the official sets; shares are drawn from the training set alone.
    """
    fixed: list[Role] = official(pool) if keep else ["train"] * len(pool.ids)
    if validation is None:
        validation = 0.0 if "validation" in fixed else 0.1
    whole = groups(pool, by)
    free = [i for i, role in enumerate(fixed) if role == "train"]
    rows = []
    for seed in seeds:
        drawn = splits.assign(
            [whole[i] for i in free],
            seed=seed,
            validation=validation,
            test=test,
            classes=[pool.labels[i] for i in free] if stratify else None,
        )
        roles = list(fixed)
        for i, role in zip(free, drawn, strict=True):
            roles[i] = role
        rows += [SplitRow(seed, 0, role, key) for key, role in zip(pool.ids, roles, strict=True)]
        counts = {str(role): int(count) for role, count in zip(*np.unique(roles, return_counts=True), strict=True)}
        log.info("seed %d: %s", seed, ", ".join(f"{role} {count}" for role, count in counts.items()))
    return rows


def preset(
    name: str,
    pool: Pool,
    *,
    task: str | None,
    seeds: Sequence[int],
    catalogue: int | None,
    queries: int | None,
    per_class: int | None,
) -> list[SplitRow]:
    """Draw the queries and catalogues of a paper.

    Where the data set holds images out, ``silva`` and ``x-mir`` draw from those, as the papers do.

    Parameters
    ----------
    name : str
        One of ``split_presets.PRESETS``.
    pool : Pool
    task : str, optional
        Name of the task: ``silva`` has five queries for pneumonia, ``x-mir`` 90 images a class for isic.
    seeds : sequence of int
        Other seeds than the paper's; none for those.
    catalogue : int, optional
        Another size of the catalogue, for ``ig-cbir`` and ``silva``.
    queries, per_class : int, optional
        Images that ask, and images of each class, for ``x-mir``.

    Raises
    ------
    UsageError
        If there is no such preset, or it does not take one of these.
    """
    if name not in split_presets.PRESETS:
        raise registry.unknown("preset", name, split_presets.PRESETS)
    if catalogue is not None and name in ("x-mir", "wickstrom"):
        raise UsageError(f"--catalogue does not go with the preset {name}: its catalogues follow from the data")
    for option, value in (("--per-class", per_class), ("--queries", queries)):
        if value is not None and name != "x-mir":
            raise UsageError(f"{option} does not go with the preset {name}")
    stem = Path(task or "").stem
    stated = any(record.split for record in pool.records)
    if name in ("silva", "x-mir") and stated and set(official(pool)) != {"train"}:
        pool = held_out(pool)
    options: dict[str, Any] = {"seeds": tuple(seeds)} if seeds else {}
    columns = (pool.ids, pool.labels, pool.patients)
    if name in ("ig-cbir", "ig-cbir-code"):
        options |= {"sizes": (catalogue,)} if catalogue else {}
        if name == "ig-cbir-code":
            return split_presets.ig_cbir_code(pool.ids, pool.labels, **options)
        return split_presets.ig_cbir(*columns, **options)
    if name == "silva":
        options |= {"size": catalogue} if catalogue else {}
        return split_presets.silva(*columns, queries=5 if stem == "pneumonia" else 10, **options)
    if name == "x-mir":
        number = per_class or (90 if stem == "isic" else None)
        return split_presets.x_mir(*columns, per_class=number, queries=queries, **options)
    volumes = [r.relative if r.part is not None else r.study or r.patient or r.id for r in pool.records]
    roles = official(pool) if all(record.split for record in pool.records) else []
    held = [role != "train" for role in roles] if len(set(roles)) > 1 and "train" in roles else None
    return split_presets.wickstrom(*columns, volumes, held, **options)


def check(rows: Sequence[SplitRow], known: Known, model: str | None, key: str) -> list[Leak]:
    """Return what leaks between the sets of a table, and from a model's training.

    Parameters
    ----------
    rows : sequence of SplitRow
    known : Known
    model : str, optional
        Path of the model artifact.
    key : str
        Which key the patients of ``known`` were hidden with.
    """
    found = leaks.of_split(rows, known)
    return found + (leaks.of_model(rows, known, models.read(model), key) if model else [])
