"""A training run between two steps, on disk: what it takes to go on as if nothing had happened.

Random states and learning rates are not in it: all draws follow from seed, epoch and step, the rates from the history.
The file is a safetensors file (nothing is ever unpickled), replaced as a whole::

    model/<name>             the network now, with the heads that are trained with it
    best/<name>              the network after the best epoch so far, without them
    optimizer/<i>/<name>     state of the optimiser for parameter i
    metadata "cbir"          JSON: format, configuration, history, best_epoch, step, sums
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.errors import CbirError

FORMAT = "cbir-checkpoint 2"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Checkpoint:
    """A run after its last whole epoch, or at a step of the next.

    Attributes
    ----------
    configuration : dict
        All that decides the outcome, JSON values; a run with another one cannot go on from here.
    history : list of dict
        One entry a whole epoch.
    best_epoch : int
    step : int
        Steps that are done of the next epoch.
    sums : dict of str to float
        What is summed up over these.
    model, best : dict of arrays
        State of the network now and after the best epoch.
    optimizer : dict of arrays
        ``<number of the parameter>/<name>``.
    """

    configuration: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    model: Arrays = field(default_factory=dict)
    best: Arrays = field(default_factory=dict)
    optimizer: Arrays = field(default_factory=dict)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint file; a kill or a full disk leaves the old one whole.

    Raises
    ------
    CbirError
        If it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    parts = (("model", checkpoint.model), ("best", checkpoint.best), ("optimizer", checkpoint.optimizer))
    arrays = {f"{part}/{name}": array for part, group in parts for name, array in group.items()}
    about = {
        "format": FORMAT,
        "configuration": checkpoint.configuration,
        "history": checkpoint.history,
        "best_epoch": checkpoint.best_epoch,
        "step": checkpoint.step,
        "sums": checkpoint.sums,
    }
    new = path.with_name(path.name + ".part")
    try:
        save_file(arrays, new, metadata={"cbir": json.dumps(about)})
        _sync(new)
        os.replace(new, path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        new.unlink(missing_ok=True)
        raise CbirError(f"{path}: the checkpoint cannot be written: {error}") from error


def read(path: Path, configuration: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint of the run that has this configuration.

    Raises
    ------
    CbirError
        If the file is damaged, or another run made it; the message says what differs.
    """
    from safetensors import SafetensorError, safe_open

    parts: dict[str, Arrays] = {"model": {}, "best": {}, "optimizer": {}}
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["cbir"])
            if about["format"] != FORMAT:
                raise CbirError(f"{path}: expected a {FORMAT} file, found {about['format']}")
            for key in file.keys():
                part, _, name = key.partition("/")
                parts[part][name] = file.get_tensor(key)
        told = {name: about[name] for name in ("configuration", "history", "best_epoch", "step", "sums")}
        checkpoint = Checkpoint(**told, **parts)  # type: ignore[arg-type]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CbirError(f"{path}: not a whole checkpoint ({error}); remove it to start again") from error
    differences = _differences(checkpoint.configuration, configuration)
    if differences:
        raise CbirError(f"{path}: made by another run, which cannot be resumed here: {'; '.join(differences)}")
    return checkpoint


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    here = json.loads(json.dumps(here))  # as it reads back: tuples are lists
    keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    return [f"{key} is {there.get(key)} there and {here.get(key)} here" for key in keys]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
