"""Leaks between sets of images: the same patient, the same image, or nearly the same image on both sides.

An image leaks in one way only, the gravest: its patient is on the other side; else its very image is, under another
patient's name; else one that looks nearly the same (``phash``). The first two are certain. The third is a reason to
look, since among enough images some look alike by chance; it never stops a command by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cbir_cli import phash
from cbir_cli.errors import ShapeError

Kind = Literal["patient", "identical", "near"]
KINDS: tuple[Kind, ...] = ("patient", "identical", "near")
CERTAIN: tuple[Kind, ...] = ("patient", "identical")


@dataclass(frozen=True)
class Side:
    """One of two sets of images.

    Attributes
    ----------
    name : str
        For the reader: ``train``, ``catalogue``.
    ids, patients, contents : sequence of str, (N,)
        Of each image; patient and content hash are empty where unknown. An image without patient is its own: the same
        id on both sides is then the same patient.
    hashes : ndarray (N,), uint64
        Perceptual hashes, 0 where unknown.
    """

    name: str
    ids: Sequence[str]
    patients: Sequence[str]
    contents: Sequence[str]
    hashes: NDArray[np.uint64]

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.patients), len(self.contents), len(self.hashes)}
        if len(lengths) > 1:
            raise ShapeError(f"side {self.name}: columns of {sorted(lengths)} images")

    @property
    def owners(self) -> list[str]:
        """Whom each image shows: the patient, or the image itself."""
        return [f"patient {who}" if who else f"image {key}" for key, who in zip(self.ids, self.patients, strict=True)]


@dataclass(frozen=True, slots=True)
class Leak:
    """Images of one side that leak from another in one way.

    Attributes
    ----------
    kind : str
        One of ``KINDS``.
    first, second : str
        Names of the sides; the images are those of the second.
    images : int
        How many.
    patients : int
        Whom they show: so many patients, an image without patient being its own.
    size : int
        Images of the second side.
    example : str
        Id of the first of them, in the order of the side.
    seed, set : int or None
        Which set of a split table.
    """

    kind: Kind
    first: str
    second: str
    images: int
    patients: int
    size: int
    example: str
    seed: int | None = None
    set: int | None = None

    @property
    def certain(self) -> bool:
        """Whether it is more than a likeness."""
        return self.kind in CERTAIN

    def __str__(self) -> str:
        people = "1 patient" if self.patients == 1 else f"{self.patients} patients"
        what = {
            "patient": f"are of patients of {self.first} ({people})",
            "identical": f"are the same as images of {self.first}",
            "near": f"look nearly the same as images of {self.first}",
        }
        return f"{self.images} of {self.size} {self.second} images {what[self.kind]}"


def compare(first: Side, second: Side, *, near: int = phash.NEAR) -> list[Leak]:
    """Find the images of the second side that leak from the first.

    Parameters
    ----------
    first, second : Side
    near : int
        Distance of perceptual hashes up to which images count as nearly the same.

    Returns
    -------
    list of Leak
        At most one of each kind, gravest first; an image counts in one of them.
    """
    owners = second.owners
    shared = _among(owners, set(first.owners))
    identical = _among(second.contents, set(first.contents) - {""}) & ~shared
    left = np.flatnonzero(~(shared | identical))
    rows, _ = phash.nearest(first.hashes, second.hashes[left], near)
    alike = np.zeros(len(owners), dtype=bool)
    alike[left[rows >= 0]] = True
    leaks = []
    for kind, which in zip(KINDS, (shared, identical, alike), strict=True):
        if places := np.flatnonzero(which).tolist():
            people = len({owners[i] for i in places})
            leaks.append(Leak(kind, first.name, second.name, len(places), people, len(owners), second.ids[places[0]]))
    return leaks


def identities(patients: Sequence[str], contents: Sequence[str]) -> int:
    """Count the images that are there under the names of several patients: the names cannot all be right.

    Parameters
    ----------
    patients, contents : sequence of str, (N,)
        Of each image; empty where unknown, and then not counted.
    """
    names: dict[str, set[str]] = {}
    for who, content in zip(patients, contents, strict=True):
        if who and content:
            names.setdefault(content, set()).add(who)
    several = {content for content, who in names.items() if len(who) > 1}
    return sum(content in several and bool(who) for who, content in zip(patients, contents, strict=True))


def _among(values: Iterable[str], known: set[str]) -> NDArray[np.bool_]:
    return np.fromiter((value in known for value in values), dtype=bool)
