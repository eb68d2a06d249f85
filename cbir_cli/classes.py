"""Which classes an image is of, by the labels that a task is about.

An image is of every class whose label is positive. Where all labels are stated and none is positive it is of the class
``no LABEL`` of a task with one label, of ``none`` of a task with several. A label that is uncertain or not stated puts
an image in no class.
"""

from collections.abc import Mapping, Sequence

from cbir_cli.records import NEGATIVE, POSITIVE

ALL = "all"
"""Not a class: all images together."""


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
