"""What a retrieval page shows: queries, and for each method the images it put next to them.

Images come as the pixels to be shown, maps as the numbers to be coloured; ``page`` does the colouring, so that the maps
of one method share one scale.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Fig. 4.
Silva et al. Computer-aided diagnosis through medical image retrieval in radiology. Scientific Reports, 2022: Fig. 1,
the least and the most similar images; Figs. 6 and 8, raters as rows, orange where the first rater and the label differ.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.records import NEGATIVE, POSITIVE, UNCERTAIN
from cbir_cli.reports.look import Look

_WORDS = {POSITIVE: "", NEGATIVE: "no ", UNCERTAIN: "possibly "}
EXPERT = "Expert"  # said before the name of a rater


@dataclass(frozen=True, eq=False)
class Tile:
    """One image with its name.

    Parameters
    ----------
    id : str
        Name in the catalogue.
    image : ndarray (H, W) or (H, W, 3), uint8, or None
        Pixels as they are shown; None where no picture is at hand, and the name stands alone.
    label : str
        In words, for instance ``Effusion``; empty where it is not known.
    looks : mapping of str to Look
        What explainers say of the image, by their names.
    disputed : str
        What an expert says otherwise than the label, for instance ``R1: no Effusion``; empty where they agree.
    hounsfield : ndarray (H, W), int16, or None
        The image of a CT in Hounsfield units, for other windows.

    Raises
    ------
    ShapeError
        If the image has another shape or dtype.
    """

    id: str
    image: np.ndarray | None
    label: str = ""
    looks: Mapping[str, Look] = field(default_factory=dict)
    disputed: str = ""
    hounsfield: np.ndarray | None = None

    def __post_init__(self) -> None:
        units = self.hounsfield
        if units is not None and (units.dtype != np.int16 or self.image is None or units.shape != self.image.shape[:2]):
            raise ShapeError(f"{self.id}: expected int16 Hounsfield units of the image's size, found {units.dtype}")
        if self.image is None:
            return
        shape = self.image.shape
        if self.image.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            raise ShapeError(f"{self.id}: expected (H, W) or (H, W, 3) uint8 pixels, found {self.image.dtype} {shape}")


@dataclass(frozen=True, eq=False)
class Neighbour:
    """One result of a query.

    Parameters
    ----------
    tile : Tile
        The catalogue image, with its maps.
    rank : int
        Place in the method's order, from 1; 0 for the query itself, explained with itself.
    distance : float or None
        To the query, in the method's own unit; None in a row that has no distances, such as the expert's.
    agrees : bool or None
        Whether it has the label of the query; None where either label is unknown.
    expert_rank : float or None
        Place in the expert's order, from 1; halves in a panel's.
    query_looks : mapping of str to Look
        What explainers say of the query in view of this result, where that is not what the row says of it.
    far : bool
        One of the least similar images, shown at the end of the row: that it has another label is no failure.

    Raises
    ------
    ShapeError
        If the distance is not finite.
    """

    tile: Tile
    rank: int
    distance: float | None = None
    agrees: bool | None = None
    expert_rank: float | None = None
    query_looks: Mapping[str, Look] = field(default_factory=dict)
    far: bool = False

    def __post_init__(self) -> None:
        if self.distance is not None and not math.isfinite(self.distance):
            raise ShapeError(f"{self.tile.id}: expected a finite distance, found {self.distance}")


@dataclass(frozen=True, eq=False)
class Row:
    """What one method retrieved for one query, or how one rater ordered the catalogue, nearest first.

    Parameters
    ----------
    method : str
        Name shown.
    neighbours : sequence of Neighbour
        In the order shown.
    note : str
        Said under the name, for instance the score of this row.
    query_looks : mapping of str to Look
        What explainers say of the query, by their names.
    query_looks_of : str
        The method of an earlier row whose ``query_looks`` are this one's, too: they are shown once.
    rater : bool
        Whether it is a rater's order, which is never counted as failing.
    reference : bool
        Whether the expert ranks above the images of other rows are those of this row.
    """

    method: str
    neighbours: Sequence[Neighbour]
    note: str = ""
    query_looks: Mapping[str, Look] = field(default_factory=dict)
    query_looks_of: str = ""
    rater: bool = False
    reference: bool = False

    @property
    def explainers(self) -> list[str]:
        """Names of those whose maps the row shows."""
        seen = [*(n.tile.looks for n in self.neighbours), self.query_looks, *(n.query_looks for n in self.neighbours)]
        return list(dict.fromkeys(name for looks in seen for name in looks))

    @property
    def agreement(self) -> str:
        """Agreement with the query's label in words, ``3 of 4 same label``; empty if no label is known."""
        near = [n.agrees for n in self.neighbours if not n.far]
        known = [agrees for agrees in near if agrees is not None]
        unknown = len(near) - len(known)
        rest = f", {unknown} unknown" if unknown else ""
        return f"{sum(known)} of {len(known)} same label{rest}" if known else ""


@dataclass(frozen=True, eq=False)
class Case:
    """One query with a row per method.

    Parameters
    ----------
    query : Tile
        The image asked about; its maps are those of the rows.
    query_label : str
        Label that ``Neighbour.agrees`` refers to.
    rows : sequence of Row
        In the order shown.
    """

    query: Tile
    query_label: str
    rows: Sequence[Row]

    @property
    def expert(self) -> str:
        """Who gave the expert ranks, where there are several raters, whose rows have ranks of their own; else empty."""
        raters = [row for row in self.rows if row.rater]
        return next((row.method for row in raters if row.reference), "") if len(raters) > 1 else ""

    @property
    def failures(self) -> int:
        """How many neighbours have another label than the query, over all rows but the raters'."""
        return sum(n.agrees is False for n in self._found)

    @property
    def judged(self) -> int:
        """How many neighbours have a label that can be compared, over all rows but the raters'."""
        return sum(n.agrees is not None for n in self._found)

    @property
    def _found(self) -> list[Neighbour]:
        return [n for row in self.rows if not row.rater for n in row.neighbours if not n.far]

    def badness(self) -> tuple[float, float]:
        """Return what to sort by for failures first, worst lowest.

        First the share of compared neighbours with the query's label: 1 where nothing failed or could be compared.
        Then the distance of the nearest neighbour with another label, in the first row that has one: what was thought
        most alike and is not, comes first.
        """
        precision = 1 - self.failures / self.judged if self.judged else 1.0
        for row in self.rows:
            wrong = [n.distance for n in row.neighbours if n.agrees is False and n.distance is not None and not n.far]
            if wrong and not row.rater:
                return precision, min(wrong)
        return precision, math.inf


def worst_first(cases: Sequence[Case]) -> list[int]:
    """Return the places of queries in the order of failures first; those that fail alike keep their order."""
    return sorted(range(len(cases)), key=lambda place: cases[place].badness())


def words(codes: Mapping[str, int]) -> str:
    """Spell raw label codes: ``Effusion, no Edema, possibly Mass``; of many, those that are not negative."""
    told = codes if len(codes) <= 2 else {name: code for name, code in codes.items() if code != NEGATIVE}
    return ", ".join(f"{_WORDS[code]}{name}" for name, code in told.items()) or (
        f"none of {len(codes)} labels" if codes else ""
    )
