"""What a reader says about one image, and how many it left out and why."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

POSITIVE = 1
NEGATIVE = 0
UNCERTAIN = -1
MISSING = -128
"""Raw label codes. They are collapsed only by a named policy, at the stage that needs it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image and everything its data set says about it.

    Attributes
    ----------
    id : str
        Unique in its source.
    path : Path
        The file to open.
    relative : str
        Path below the source's root, with forward slashes: all that an artifact keeps. Names in it may be hidden.
    labels : mapping of str to int
        Raw codes (``POSITIVE``, ``NEGATIVE``, ``UNCERTAIN``) under the data set's own label names; a label that the
        data set does not state for this image is left out.
    patient, study : str
        The data set's own identifiers, empty where unknown. Never written to an artifact as they are.
    view, source, split, sex : str
        Empty where unknown. ``view`` is AP, PA, LATERAL or as the data set spells it; ``sex`` is F, M or empty.
    age : int or None
        Years.
    part : int or None
        Which image of a file that holds several, from 0: the frame of a multi-frame file, or the slice along the third
        axis of a volume after its reorientation. None for a file that is one image.
    series : str
        As patient and study: the series of slices that a file of one slice is of. Empty where unknown.
    position : int or None
        The place of a slice in its series, from 0.
    examination : int or None
        The place of the study among those of its patient in time, from 0: told instead of a date.
    mask : Path or None
        Mask of the lesion beside the data set, an image or a volume; of a volume the slice ``part`` counts.
    boxes : tuple of tuple of 4 floats
        Findings marked by boxes: x and y of the upper left corner, width and height, in pixels of the original image.
    """

    id: str
    path: Path
    relative: str
    labels: Mapping[str, int] = field(default_factory=dict)
    patient: str = ""
    study: str = ""
    view: str = ""
    source: str = ""
    split: str = ""
    sex: str = ""
    age: int | None = None
    part: int | None = None
    mask: Path | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    series: str = ""
    position: int | None = None
    examination: int | None = None

    @property
    def place(self) -> str:
        """Path below the source, with the number of the part where the file holds several: no two images share it."""
        return self.relative if self.part is None else f"{self.relative}#{self.part}"

    def of_file(self, error: Exception) -> str:
        """Return what an error says of the file, under the name that may be written instead of the file's own."""
        name = self.relative.rpartition("/")[2]
        said = str(error)
        for own in (name, self.path.name, ascii(self.path.name)):
            said = said.removeprefix(f"{own}: ")
        if name != self.path.name:
            said = said.replace(str(self.path), name)
            said = said.replace(self.path.name, name) if len(self.path.name) > 3 else said
        return f"{name if name.isprintable() else ascii(name)}: {said}"


def images(count: int) -> str:
    """Return a number of images in words: ``1 image``, ``1,200 images``."""
    return f"{count:,} image{'' if count == 1 else 's'}"


@dataclass
class Flow:
    """How many rows were read from a source, and how many were dropped for which reason."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    shown: Callable[..., str] = field(default=lambda path, *known, every=False: path, repr=False, compare=False)
    """What may be written of a path below the source; where they are known, its patient and study follow."""

    def drop(self, reason: str, count: int = 1) -> None:
        """Count rows that were left out."""
        self.dropped[reason] += count

    @property
    def kept(self) -> int:
        """Rows that are left."""
        return self.read - self.dropped.total()

    def lines(self) -> list[str]:
        """Return the table as lines of text: read, each reason, kept."""
        rows = [
            ("read", self.read),
            *(("dropped: " + r, n) for r, n in self.dropped.most_common()),
            ("kept", self.kept),
        ]
        width = max(len(name) for name, _ in rows)
        return [f"{name:<{width}}  {count:>8,}" for name, count in rows] + self.notes
