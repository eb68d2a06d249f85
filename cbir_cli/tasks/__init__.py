"""Tasks: presets of labels, views, label policy, network and recipe, one TOML file each.

A task file has ``title``, ``labels``, ``views``, ``uncertain``, ``blank``, ``objective``, ``architecture``,
``image_size`` and ``validation``, the values of the recipe (``recipe.Recipe``) in a table ``[recipe]``, and where
each of them comes from in a table ``[sources]``. What a file leaves out, except labels, has its default.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import SourceError, UsageError
from cbir_cli.recipe import Recipe
from cbir_cli.records import MISSING, NEGATIVE, POSITIVE, UNCERTAIN, Flow, Record
from cbir_cli.registry import unknown

ANY = "any"
"""The view that stands for all views."""

POLICIES = {"uncertain": ("drop", "positive", "negative"), "blank": ("drop", "negative")}


@dataclass(frozen=True)
class Task:
    """What a network is trained to say, from which images, and how.

    Attributes
    ----------
    name : str
        Of the preset, or of the file.
    labels : tuple of str
        Names of the finding in different data sets; the first that a source has is taken, upper and lower case alike.
    title : str
        For people.
    views : tuple of str
        Views to keep, or ``any``. An image without a stated view is always kept.
    uncertain, blank : str
        What becomes of images whose label is uncertain (``drop``, ``positive``, ``negative``) or not stated (``drop``,
        ``negative``).
    objective, architecture : str
        Names in the folders ``objectives`` and ``models``.
    image_size : int
        Side of the network's input, pixels.
    validation : float
        Share of the patients that are held out to choose the epoch by; 0 for none.
    test : float
        Share of the patients that are held out altogether, beside those of the data set's own held-out splits.
    recipe : Recipe
    sources : mapping of str to str
        Where each value comes from.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """

    name: str
    labels: tuple[str, ...]
    title: str = ""
    views: tuple[str, ...] = (ANY,)
    uncertain: str = "drop"
    blank: str = "drop"
    objective: str = "binary"
    architecture: str = "densenet121"
    image_size: int = 224
    validation: float = 0.1
    test: float = 0.0
    recipe: Recipe = field(default_factory=Recipe)
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, choices in POLICIES.items():
            if getattr(self, name) not in choices:
                raise unknown(f"policy for {name} labels", getattr(self, name), choices)
        if not self.labels or not all(self.labels):
            raise UsageError(f"task {self.name}: no label is named")
        if self.image_size < 32:
            raise UsageError(f"image_size={self.image_size}: expected 32 or more")
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise UsageError(f"validation={self.validation}, test={self.test}: expected shares that sum to below 1")

    def settings(self) -> dict[str, Any]:
        """Return all values that ``--set`` reaches, those of the recipe included, under one set of names."""
        own = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("name", "title", "recipe", "sources")
        }
        return own | asdict(self.recipe)

    def override(self, **changes: Any) -> "Task":
        """Return the task with other values of ``settings``.

        Raises
        ------
        UsageError
            If a name is unknown or a value makes no sense; also if the optimiser changes and the learning rate does
            not, since that of one is far off for the other.
        """
        if wrong := sorted(changes.keys() - self.settings().keys()):
            raise unknown(f"value of task {self.name}", wrong[0], self.settings())
        if changes.get("optimizer", self.recipe.optimizer) != self.recipe.optimizer and "lr" not in changes:
            raise UsageError(f"optimizer={changes['optimizer']} needs a learning rate of its own: give lr too")
        of_recipe = {f.name for f in fields(Recipe)} & changes.keys()
        recipe = replace(self.recipe, **{name: changes.pop(name) for name in of_recipe})
        # A value that was changed is no longer the paper's.
        sources = {name: text for name, text in self.sources.items() if name not in of_recipe | changes.keys()}
        return replace(self, recipe=recipe, sources=sources, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON values, for an artifact; ``from_dict`` reads it back."""
        return {"name": self.name, "title": self.title, **self.settings(), "sources": dict(self.sources)}

    def select(self, records: Iterable[Record], flow: Flow) -> tuple[list[Record], NDArray[np.int64]]:
        """Return the images to learn from and their targets.

        Parameters
        ----------
        records : iterable of Record
        flow : Flow
            Images that are left out are counted here, by reason.

        Returns
        -------
        list of Record, (N,)
        array (N,), int64
            0 or 1.

        Raises
        ------
        SourceError
            If the source does not have the label (the message lists those it has), or no image is left.
        """
        records = list(records)
        label = self.label(records)
        views = {view.upper() for view in self.views}
        kept, targets = [], []
        for record in records:
            code = record.labels.get(label, MISSING)
            if record.view and ANY.upper() not in views and record.view.upper() not in views:
                flow.drop(f"view {record.view}")
            elif code == UNCERTAIN and self.uncertain == "drop":
                flow.drop("label uncertain")
            elif code == MISSING and self.blank == "drop":
                flow.drop("label not stated")
            else:
                kept.append(record)
                policy = {UNCERTAIN: self.uncertain, MISSING: self.blank}.get(code)
                targets.append(POSITIVE if policy == "positive" or code == POSITIVE else NEGATIVE)
        if not kept:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in flow.dropped.most_common())
            raise SourceError(f"task {self.name}: no image is left; dropped: {reasons}")
        return kept, np.array(targets, dtype=np.int64)

    def label(self, records: Iterable[Record]) -> str:
        """Return the name under which a source has the finding.

        Raises
        ------
        SourceError
            If it does not have it; the message lists the labels that it has.
        """
        has = {name for record in records for name in record.labels}
        if found := find_label(has, self.labels):
            return found
        raise SourceError(
            f"task {self.name}: the source has no label {' or '.join(map(repr, self.labels))}; "
            f"it has: {', '.join(sorted(has)) or 'none'}"
        )


def find_label(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """Return the first wanted label that is among some names, upper and lower case alike, as the names spell it."""
    has = sorted(names)
    for label in wanted:
        if alike := [name for name in has if name.casefold() == label.casefold()]:
            return label if label in alike else alike[0]
    return None


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
    recipe, sources = table.pop("recipe", {}), table.pop("sources", {})
    if not isinstance(recipe, dict) or not isinstance(sources, dict):
        raise UsageError(f"{path}: recipe and sources: expected tables")
    if "name" in table:
        raise UsageError(f"{path}: unknown key 'name': a task has the name of its file")
    try:
        task = _build(table | {"name": path.stem}, recipe, sources)
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
    own = {key: value for key, value in values.items() if key not in of_recipe | {"sources"}}
    return _build(own, recipe, values.get("sources", {}))


def _build(own: Mapping[str, Any], recipe: Mapping[str, Any], sources: Mapping[str, str]) -> Task:
    known = {f.name: f.default for f in fields(Task) if f.name not in ("recipe", "sources")}
    known |= {"name": "", "labels": ("",)}
    if "labels" not in own:
        raise UsageError("labels is missing: the names of the finding in the data sets")
    values = _checked(own, known, "task")
    return Task(**values, recipe=Recipe(**_checked(recipe, asdict(Recipe()), "recipe")), sources=dict(sources))


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
        expected = {str: "a text", int: "a whole number", float: "a number", tuple: "a list"}[type(like)]
        raise UsageError(f"{key}: expected {expected}, found {value!r}")
    return value
