"""Tasks: presets of labels, views, label policy, network and recipe, one TOML file each.

A task file has ``title``, ``labels``, ``views``, ``uncertain``, ``blank``, ``objective``, ``architecture``,
``image_size``, ``window`` and ``validation``, the values of the recipe (``recipe.Recipe``) in a table ``[recipe]``,
parameters of the objective's loss in a table ``[loss]``, and where each of them comes from in a table ``[sources]``.
What a file leaves out, except labels, has its default.

A task with several outputs has, instead of ``labels``, a table ``[outputs]`` (name of each output, and the names of its
label in different data sets) or a ``label_set``; with ``exclusive = true`` its outputs are classes, of which an image
has one.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from cbir_cli.errors import UsageError
from cbir_cli.recipe import Recipe
from cbir_cli.registry import unknown
from cbir_cli.tasks._task import ANY, POLICIES, Task, find_label, loss_parameters

__all__ = ["ANY", "POLICIES", "Task", "find_label", "from_dict", "load", "loss_parameters", "names"]


def names() -> list[str]:
    """Return the names of the presets, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def load(name: str | Path) -> Task:
    """Read a task: the name of a preset, or the path of a TOML file.

    Raises
    ------
    UsageError
        If there is no such task (the known ones are listed), or the file has an unknown key or a value of a wrong type;
        the message names key and file.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in names():
            raise unknown("task", str(name), [*names(), "or the path of a .toml file"])
        path = Path(__file__).parent / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: the task cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a task file: {error}") from error
    recipe, loss, sources = (table.pop(name, {}) for name in ("recipe", "loss", "sources"))
    if not all(isinstance(part, dict) for part in (recipe, loss, sources)):
        raise UsageError(f"{path}: recipe, loss and sources: expected tables")
    if "name" in table:
        raise UsageError(f"{path}: unknown key 'name': a task has the name of its file")
    try:
        task = _build(table | {"name": path.stem}, recipe, loss, sources)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if wrong := sorted(sources.keys() - task.settings().keys()):
        raise UsageError(f"{path}: {unknown('key of [sources]', wrong[0], task.settings())}")
    return task


def from_dict(values: Mapping[str, Any]) -> Task:
    """Return the task that ``Task.to_dict`` described.

    Raises
    ------
    UsageError
        If a key is unknown or a value has a wrong type.
    """
    of_recipe = {f.name for f in fields(Recipe)}
    recipe = {key: value for key, value in values.items() if key in of_recipe}
    of_loss = loss_parameters(str(values.get("objective", Task.objective)))
    loss = {key: value for key, value in values.items() if key in of_loss}
    own = {key: value for key, value in values.items() if key not in of_recipe | of_loss.keys() | {"sources"}}
    return _build(own, recipe, loss, values.get("sources", {}))


def _build(
    own: Mapping[str, Any], recipe: Mapping[str, Any], loss: Mapping[str, Any], sources: Mapping[str, str]
) -> Task:
    known = {f.name: f.default for f in fields(Task) if f.name not in ("recipe", "loss", "sources", "outputs")}
    known |= {"name": "", "labels": ("",)}
    outputs = own.get("outputs", {})
    if not (own.keys() & {"labels", "outputs", "label_set"}):
        raise UsageError("labels is missing: the names of the finding in the data sets")
    if not isinstance(outputs, Mapping):
        raise UsageError("outputs: expected a table")
    values = _checked({key: value for key, value in own.items() if key != "outputs"}, known, "task")
    values["outputs"] = _checked(outputs, dict.fromkeys(outputs, ("",)), "table [outputs]")
    of_loss = loss_parameters(values.get("objective", Task.objective))
    return Task(
        **values,
        recipe=Recipe(**_checked(recipe, asdict(Recipe()), "recipe")),
        loss=_checked(loss, of_loss, "table [loss]"),
        sources=dict(sources),
    )


def _checked(table: Mapping[str, Any], defaults: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return a TOML or JSON table's values in the types of the defaults."""
    values = {}
    for key, value in table.items():
        if key not in defaults:
            raise unknown(f"key of the {what}", key, defaults)
        like = defaults[key]
        if isinstance(like, tuple) and isinstance(value, list | tuple):
            value = tuple(_like(key, item, like[0]) for item in value)
        values[key] = _like(key, value, like)
    return values


def _like(key: str, value: Any, like: Any) -> Any:
    if isinstance(like, float) and type(value) is int:
        return float(value)
    if type(value) is not type(like):
        expected = {str: "a text", int: "a whole number", float: "a number", tuple: "a list", bool: "true or false"}[
            type(like)
        ]
        raise UsageError(f"{key}: expected {expected}, found {value!r}")
    return value
