"""A task: which images, what is learnt from them, by which network and recipe."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import windows
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.images import COLOURS
from cbir_cli.label_policy import BLANK_POLICIES, DROPPED, IGNORED, UNCERTAIN_POLICIES, collapse, of_studies
from cbir_cli.recipe import NEWER, Recipe
from cbir_cli.records import MISSING, POSITIVE, UNCERTAIN, Flow, Record
from cbir_cli.registry import load as load_method
from cbir_cli.registry import parameters, unknown

ANY = "any"
"""The view that stands for all views."""

POLICIES = {"uncertain": UNCERTAIN_POLICIES, "blank": BLANK_POLICIES, "unit": ("image", "study")}

LABEL_SETS = ("chexpert-5", "chexpert-13", "chexpert-14")

_NOT_SET = ("name", "title", "recipe", "loss", "sources", "outputs", "exclusive")
"""Fields that ``--set`` does not reach."""
_NEWER = ("unit", "label_set", "outputs", "exclusive", "embedding", "colour", "normalise")
"""Fields that are stored only where they say something: models of a single label stay as they were."""

NORMALISATIONS = ("imagenet", "none")


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
        Views to keep, or ``any``. An image without a view is kept only where no image of the source has one: in a data
        set that states views a blank is not one of them.
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
    colour : str
        ``grey``, or ``rgb`` where the colours matter.
    normalise : str
        ``imagenet``: less the mean and over the standard deviation of ImageNet's channels. ``none``: from 0 to 1.
    embedding : int
        Width of a linear layer at the network's end, whose output is the vector; 0 for none. Only for objectives that
        train vectors.
    validation : float
        Share of the patients that are held out to choose the epoch by; 0 for none.
    test : float
        Share of the patients that are held out altogether, beside those of the data set's own held-out splits.
    recipe : Recipe
    loss : mapping of str to value
        Parameters of the objective's loss that are not its defaults.
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
    embedding: int = 0
    colour: str = "grey"
    normalise: str = "imagenet"
    loss: Mapping[str, Any] = field(default_factory=dict)

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
        if self.embedding < 0:
            raise UsageError(f"embedding={self.embedding}: expected a width, or 0 for none")
        for name, choices in (("colour", COLOURS), ("normalise", NORMALISATIONS)):
            if getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices)
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
        return own | asdict(self.recipe) | loss_parameters(self.objective) | dict(self.loss)

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
        # A value that was changed is no longer the paper's.
        sources = {name: text for name, text in self.sources.items() if name not in changes}
        of_recipe = {f.name for f in fields(Recipe)} & changes.keys()
        recipe = replace(self.recipe, **{name: changes.pop(name) for name in of_recipe})
        of_loss = loss_parameters(changes.get("objective", self.objective))
        loss = self.loss if changes.get("objective", self.objective) == self.objective else {}
        loss = {**loss, **{name: changes.pop(name) for name in of_loss if name in changes}}
        return replace(self, recipe=recipe, loss=loss, sources=sources, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON values, for an artifact; ``from_dict`` reads it back."""
        told = {"name": self.name, "title": self.title, **self.settings(), "sources": dict(self.sources)}
        newer = {f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.name in _NEWER}
        newer["outputs"] = ({name: list(labels) for name, labels in self.outputs.items()}, {})
        newer |= {name: (getattr(self.recipe, name), default) for name, default in NEWER.items()}
        return {key: value for key, value in told.items() if key not in newer} | {
            key: value for key, (value, default) in newer.items() if value != default
        }

    def select(
        self, records: Iterable[Record], flow: Flow, *, labelled: bool = True
    ) -> tuple[list[Record], NDArray[np.int64]]:
        """Return the images to learn from and their targets.

        Parameters
        ----------
        records : iterable of Record
        flow : Flow
            Images that are left out are counted here, by reason.
        labelled : bool
            False where nothing is learnt from labels: then no image is left out for the sake of its label, and a target
            that is not 0 or 1 is ``label_policy.IGNORED``.

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
        found = self.found(records) if labelled else self._among(records)
        codes = np.array([[r.labels.get(label or "", MISSING) for label in found] for r in records], dtype=np.int64)
        if self.unit == "study":
            codes = of_studies(codes, [f"{r.patient}\0{r.study}" if r.study else "" for r in records])
        targets = collapse(codes, uncertain=self.uncertain, blank=self.blank)
        if not labelled:
            targets[targets < 0] = IGNORED
        views = {view.upper() for view in self.views}
        stated = any(record.view for record in records)
        rows = []
        for row, record in enumerate(records):
            left_out = codes[row][targets[row] == DROPPED]
            if stated and ANY.upper() not in views and record.view.upper() not in views:
                flow.drop(f"view {record.view}" if record.view else "view not stated")
            elif not labelled:
                rows.append(row)
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
        """Return the class (N,) of each image that ``select`` kept: 0 or 1, the number of its output, or ``IGNORED``.

        Raises
        ------
        UsageError
            If an image has several labels at once.
        """
        if self.several and not self.exclusive:
            raise UsageError(
                f"task {self.name} has several labels at once: choose one with --label: {', '.join(self.names)}"
            )
        if not self.several:
            return targets
        return np.where((targets == POSITIVE).sum(axis=1) == 1, targets.argmax(axis=1), IGNORED)

    def found(self, records: Iterable[Record]) -> list[str]:
        """Return the source's name of the label of each output.

        Raises
        ------
        SourceError
            If it lacks one; the message lists the labels that it has.
        """
        records = list(records)
        found = self._among(records)
        if None in found:
            has = sorted({name for record in records for name in record.labels})
            names = list(self.names.values())[found.index(None)]
            raise SourceError(
                f"task {self.name}: the source has no label {' or '.join(map(repr, names))}; "
                f"it has: {', '.join(has) or 'none'}"
            )
        return [label for label in found if label is not None]

    def _among(self, records: Iterable[Record]) -> list[str | None]:
        """Return the source's name of the label of each output, None where it has none."""
        has = {name for record in records for name in record.labels}
        return [find_label(has, names) for names in self.names.values()]

    def label(self, records: Iterable[Record]) -> str:
        """Return the name under which a source has the finding.

        Raises
        ------
        SourceError
            If it does not have it; the message lists the labels that it has.
        """
        return self.found(records)[0]


def loss_parameters(objective: str) -> dict[str, Any]:
    """Return the parameters of an objective's loss and their defaults.

    Raises
    ------
    UsageError
        If there is no such objective.
    """
    known = parameters(load_method("objectives", objective).loss)
    return {name: default for name, default in known.items() if name != "weights"}


def find_label(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """Return the first wanted label that is among some names, upper and lower case alike, as the names spell it."""
    has = sorted(names)
    for label in wanted:
        if alike := [name for name in has if name.casefold() == label.casefold()]:
            return label if label in alike else alike[0]
    return None
