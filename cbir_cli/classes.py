"""Which classes an image is of, by the labels that a task is about.

An image is of every class whose label is positive. Where all labels are stated and none is positive it is of the class
``no LABEL`` of a task with one label, of ``none`` of a task with several. A label that is uncertain or not stated puts
an image in no class.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.records import NEGATIVE, POSITIVE
from cbir_cli.registry import unknown

ALL = "all"
"""Not a class: all images together. In place of a label: each of them."""


class Labelled(Protocol):
    """What has labels, as an item table."""

    @property
    def label_names(self) -> Sequence[str]:
        """Names of the labels."""


def labels_of(items: Labelled, targets: Sequence[str], label: str | None = None, *others: Labelled) -> list[str]:
    """Return the labels that images are told apart by.

    Parameters
    ----------
    items : Labelled
        The images.
    targets : sequence of str
        Labels of the task; where there is none, all that the images have stand for them.
    label : str, optional
        The only one, instead of those of the task; ``all`` for all that the images have.
    *others : Labelled
        Images that may have the label in place of ``items``, as results where queries have no labels.

    Returns
    -------
    list of str
        Those that ``items`` have, in the order of the task or else of the table; maybe none.

    Raises
    ------
    UsageError
        If no image has the label.
    """
    known = list(items.label_names)
    if label is None:
        return [name for name in targets if name in known] if targets else known
    if label == ALL:
        return known
    every = dict.fromkeys(name for one in (items, *others) for name in one.label_names)
    if label not in every:
        raise unknown("label", label, every)
    return [label] if label in known else []


def names(labels: Sequence[str]) -> list[str]:
    """Return the classes that some labels make, the positive ones first."""
    return [*labels, f"no {labels[0]}" if len(labels) == 1 else "none"] if labels else []


def of(codes: Mapping[str, int], labels: Sequence[str]) -> list[str]:
    """Return the classes of an image.

    Parameters
    ----------
    codes : mapping of str to int
        Raw code of each label that is stated.
    labels : sequence of str
        What the task is about.

    Examples
    --------
    >>> of({"normal": 0, "pneumonia": 1}, ["normal", "pneumonia"])
    ['pneumonia']
    >>> of({"Effusion": 0}, ["Effusion"])
    ['no Effusion']
    """
    positive = [label for label in labels if codes.get(label) == POSITIVE]
    rest = names(labels)[len(labels) :]
    return positive or (rest if all(codes.get(label) == NEGATIVE for label in labels) else [])


NO_CLASS = -1
"""Number of an image that is of no class, or of several."""


def single(codes: ArrayLike) -> NDArray[np.int64]:
    """Return the number of the only class of each image, among ``names`` of its labels.

    Parameters
    ----------
    codes : array (L, N) of int
        Codes of each label.

    Returns
    -------
    ndarray (N,), int64
        ``NO_CLASS`` for an image of no class, or of several.

    Examples
    --------
    >>> single([[1, 0, 0, 1, -1], [0, 1, 0, 1, 0]]).tolist()  # normal, pneumonia
    [0, 1, 2, -1, -1]
    """
    given = np.asarray(codes, dtype=np.int64)
    positive = given == POSITIVE
    number = np.where(positive.sum(axis=0) == 1, positive.argmax(axis=0), NO_CLASS)
    return np.where((given == NEGATIVE).all(axis=0), len(given), number)
