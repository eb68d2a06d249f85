"""Tasks: presets of labels, views, label policy, network and recipe, one TOML file each.

A task file has ``title``, ``labels``, ``views``, ``uncertain``, ``blank``, ``objective``, ``architecture``,
``image_size``, ``window`` and ``validation``, the values of the recipe (``recipe.Recipe``) in a table ``[recipe]``, and
where each of them comes from in a table ``[sources]``. What a file leaves out, except labels, has its default.

A task with several outputs has, instead of ``labels``, a table ``[outputs]`` (name of each output, and the names of its
label in different data sets) or a ``label_set``; with ``exclusive = true`` its outputs are classes, of which an image
has one.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import windows
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.label_policy import BLANK_POLICIES, DROPPED, IGNORED, UNCERTAIN_POLICIES, collapse, of_studies
from cbir_cli.recipe import Recipe
from cbir_cli.records import MISSING, POSITIVE, UNCERTAIN, Flow, Record
from cbir_cli.registry import unknown

ANY = "any"
"""The view that stands for all views."""

POLICIES = {"uncertain": UNCERTAIN_POLICIES, "blank": BLANK_POLICIES, "unit": ("image", "study")}

LABEL_SETS = ("chexpert-5", "chexpert-13", "chexpert-14")

_NOT_SET = ("name", "title", "recipe", "sources", "outputs", "exclusive")
"""Fields that ``--set`` does not reach."""
_NEWER = ("unit", "label_set", "outputs", "exclusive")
"""Fields that are stored only where they say something: models of a single label stay as they were."""


@dataclass(frozen=True)
class Task:
    """What a network is trained to say, from which images, and how.

    Attributes
    ----------
    name : str
        Of the preset, or of the file.
    labels : tuple of str
        Names of the finding in different data sets; the first that a source has is taken, upper and lower case alike.
        Empty for a task with several outputs.
    title : str
        For people.
    views : tuple of str
        Views to keep, or ``any``. An image without a stated view is always kept.
    uncertain, blank : str
        What becomes of labels that are uncertain (``drop``, ``positive``, ``negative``, ``ignore``) or not stated
        (``drop``, ``negative``, ``ignore``); see ``label_policy``. Only a task with several outputs can ignore one.
    unit : str
        Whose labels count: those of the ``image``, or of its whole ``study``.
    label_set : str
        ``chexpert-5``, ``chexpert-13`` or ``chexpert-14``: an output for each label.
    outputs : mapping of str to tuple of str
        An output for each name, with the names of its label in different data sets.
    exclusive : bool
        The outputs are classes: an image is of exactly one.
    objective, architecture : str
        Names in the folders ``objectives`` and ``models``.
    image_size : int
        Side of the network's input, pixels.
    window : str
        Hounsfield units that become black and white, for CT: liver-wide, liver-narrow, lung, mediastinum or LOW,HIGH;
        empty for other images.
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
    labels: tuple[str, ...] = ()
    title: str = ""
    views: tuple[str, ...] = (ANY,)
    uncertain: str = "drop"
    blank: str = "drop"
    objective: str = "binary"
    architecture: str = "densenet121"
    image_size: int = 224
    window: str = ""
    validation: float = 0.1
    test: float = 0.0
    recipe: Recipe = field(default_factory=Recipe)
    sources: Mapping[str, str] = field(default_factory=dict)
    unit: str = "image"
    label_set: str = ""
    outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclusive: bool = False

    def __post_init__(self) -> None:
        for name, choices in POLICIES.items():
            if getattr(self, name) not in choices:
                raise unknown(f"policy for {name} labels", getattr(self, name), choices)
        if (given := sum(map(bool, (self.labels, self.outputs, self.label_set)))) > 1:
            raise UsageError(
                f"task {self.name}: labels, outputs and label_set exclude each other, found {given} of them"
            )
        if not given or not all((*self.labels, *self.outputs)) or not all(n and all(n) for n in self.outputs.values()):
            raise UsageError(f"task {self.name}: no label is named")
        if self.label_set and self.label_set not in LABEL_SETS:
            raise unknown("label set", self.label_set, LABEL_SETS)
        if "ignore" in (self.uncertain, self.blank) and (not self.several or self.exclusive):
            raise UsageError(
                f"task {self.name}: ignore passes over one label of several; for a single one, drop the image"
            )
        if self.exclusive and len(self.outputs) < 2:
            raise UsageError(f"task {self.name}: exclusive needs two classes or more in [outputs]")
        if self.image_size < 32:
            raise UsageError(f"image_size={self.image_size}: expected 32 or more")
        windows.parse(self.window)
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise UsageError(f"validation={self.validation}, test={self.test}: expected shares that sum to below 1")

    @property
    def several(self) -> bool:
        """Whether the task has several outputs."""
        return bool(self.outputs or self.label_set)

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Names of the label of each output, by the output's name: that of the task, where it has only one."""
        if self.label_set:
            from cbir_cli import label_sets

            known = getattr(label_sets, self.label_set.upper().replace("-", "_"))
            return {label: (label, label.replace(" ", "_")) for label in known}
        return {key: tuple(names) for key, names in self.outputs.items()} or {self.name: self.labels}

    def alone(self, label: str) -> "Task":
        """Return the task with one of its outputs; a label that was ignored then leaves the image out.

        Raises
        ------
        UsageError
            If it has no such output; the message lists those it has.
        """
        found = find_label(self.names, [label])
        if found is None:
            raise unknown(f"output of task {self.name}", label, self.names)
        uncertain, blank = (policy.replace("ignore", "drop") for policy in (self.uncertain, self.blank))
        single = {"label_set": "", "outputs": {}, "exclusive": False, "uncertain": uncertain, "blank": blank}
        return replace(self, labels=self.names[found], **single)  # type: ignore[arg-type]

    def settings(self) -> dict[str, Any]:
        """Return all values that ``--set`` reaches, those of the recipe included, under one set of names."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_SET}
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
        told = {"name": self.name, "title": self.title, **self.settings(), "sources": dict(self.sources)}
        newer = {f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.name in _NEWER}
        newer["outputs"] = ({name: list(labels) for name, labels in self.outputs.items()}, {})
        return {key: value for key, value in told.items() if key not in _NEWER} | {
            key: value for key, (value, default) in newer.items() if value != default
        }

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
            0 or 1. For a task with several outputs (N, K): 0, 1 or ``label_policy.IGNORED``, in the order of ``names``.

        Raises
        ------
        SourceError
            If the source does not have the label (the message lists those it has), or no image is left.
        """
        records = list(records)
        found = self.found(records)
        codes = np.array([[r.labels.get(label, MISSING) for label in found] for r in records], dtype=np.int64)
        if self.unit == "study":
            codes = of_studies(codes, [f"{r.patient}\0{r.study}" if r.study else "" for r in records])
        targets = collapse(codes, uncertain=self.uncertain, blank=self.blank)
        views = {view.upper() for view in self.views}
        rows = []
        for row, record in enumerate(records):
            left_out = codes[row][targets[row] == DROPPED]
            if record.view and ANY.upper() not in views and record.view.upper() not in views:
                flow.drop(f"view {record.view}")
            elif (left_out == UNCERTAIN).any():
                flow.drop("label uncertain")
            elif left_out.size or (targets[row] == IGNORED).all():
                flow.drop("label not stated")
            elif self.exclusive and (positive := int(np.sum(targets[row] == POSITIVE))) != 1:
                flow.drop("of several classes" if positive else "of no class")
            else:
                rows.append(row)
        if not rows:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in flow.dropped.most_common())
            raise SourceError(f"task {self.name}: no image is left; dropped: {reasons}")
        return [records[row] for row in rows], targets[rows] if self.several else targets[rows, 0]

    def classes(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the class (N,) of each image that ``select`` kept: 0 or 1, or the number of its output.

        Raises
        ------
        UsageError
            If an image has several labels at once.
        """
        if self.several and not self.exclusive:
            raise UsageError(
                f"task {self.name} has several labels at once: choose one with --label: {', '.join(self.names)}"
            )
        return targets.argmax(axis=1) if self.several else targets

    def found(self, records: Iterable[Record]) -> list[str]:
        """Return the source's name of the label of each output.

        Raises
        ------
        SourceError
            If it lacks one; the message lists the labels that it has.
        """
        has = sorted({name for record in records for name in record.labels})
        found = {key: find_label(has, names) for key, names in self.names.items()}
        if lacking := [key for key, label in found.items() if label is None]:
            raise SourceError(
                f"task {self.name}: the source has no label {' or '.join(map(repr, self.names[lacking[0]]))}; "
                f"it has: {', '.join(has) or 'none'}"
            )
        return [label for label in found.values() if label is not None]

    def label(self, records: Iterable[Record]) -> str:
        """Return the name under which a source has the finding.

        Raises
        ------
        SourceError
            If it does not have it; the message lists the labels that it has.
        """
        return self.found(records)[0]


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
    known = {f.name: f.default for f in fields(Task) if f.name not in ("recipe", "sources", "outputs")}
    known |= {"name": "", "labels": ("",)}
    outputs = own.get("outputs", {})
    if not (own.keys() & {"labels", "outputs", "label_set"}):
        raise UsageError("labels is missing: the names of the finding in the data sets")
    if not isinstance(outputs, Mapping):
        raise UsageError("outputs: expected a table")
    values = _checked({key: value for key, value in own.items() if key != "outputs"}, known, "task")
    values["outputs"] = _checked(outputs, dict.fromkeys(outputs, ("",)), "table [outputs]")
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
        expected = {str: "a text", int: "a whole number", float: "a number", tuple: "a list", bool: "true or false"}[
            type(like)
        ]
        raise UsageError(f"{key}: expected {expected}, found {value!r}")
    return value
