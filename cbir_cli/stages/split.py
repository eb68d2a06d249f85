"""From images or an artifact's item table to a split table."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir_cli import splits, tasks
from cbir_cli.artifacts import files, items
from cbir_cli.artifacts import model as models
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import ArtifactError, UsageError
from cbir_cli.records import Flow, Record
from cbir_cli.splits import SplitRow

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Pool:
    """Images to draw from, with their class and patient; an image without patient is its own."""

    ids: list[str]
    labels: list[int]
    patients: list[str]


def records_of_artifact(name: str) -> tuple[list[Record], str]:
    """Return the images that an artifact lists, and which key their patients were hidden with.

    Raises
    ------
    ArtifactError
        If the artifact has no item table.
    """
    with files.open_artifact(name) as artifact:
        if "obs" not in artifact.file:
            raise ArtifactError(f"{name}: {artifact.kind} lists no images")
        table = items.read(artifact.file, artifact.name)
        return table.records(), table.pseudonyms


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


def pool_of(records: Sequence[Record], flow: Flow, *, task: str | None, label: str | None) -> Pool:
    """Return the images whose class is known, by a task (label, views and policy) or by one label.

    Raises
    ------
    UsageError
        If neither is given and the images have several labels.
    """
    if task:
        if label:
            raise UsageError("--task and --label both make classes; give one")
        chosen, targets = tasks.load(task).select(records, flow)
    else:
        names = list(dict.fromkeys(name for record in records for name in record.labels))
        if label is None and len(names) != 1:
            raise UsageError(
                f"which label makes the classes? give --task or --label; there are: {', '.join(names) or 'none'}"
            )
        by_label = tasks.Task(name="split", labels=(label or names[0],))
        chosen, targets = by_label.select(records, flow)
    return Pool([r.id for r in chosen], [int(t) for t in targets], [r.patient or r.id for r in chosen])


def sets(pool: Pool, seeds: Sequence[int], *, validation: float, test: float) -> list[SplitRow]:
    """Return train, validation or test for each image, by patient, for each seed."""
    rows = []
    for seed in seeds:
        roles = splits.assign(pool.patients, seed=seed, validation=validation, test=test)
        rows += [SplitRow(seed, 0, role, key) for key, role in zip(pool.ids, roles, strict=True)]
        counts = {str(role): int(count) for role, count in zip(*np.unique(roles, return_counts=True), strict=True)}
        log.info("seed %d: %s", seed, ", ".join(f"{role} {count}" for role, count in counts.items()))
    return rows
