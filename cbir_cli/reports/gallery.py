"""What a retrieval page shows: queries, and for each method the images it put next to them.

Images come as the pixels to be shown, maps as the numbers to be coloured; ``page`` does the colouring, so that the maps
of one method share one scale.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Fig. 4.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.records import NEGATIVE, POSITIVE, UNCERTAIN

_WORDS = {POSITIVE: "", NEGATIVE: "no ", UNCERTAIN: "possibly "}
EXPERT = "Expert"  # a row by this name is the ground truth: it is never counted as failing


@dataclass(frozen=True, eq=False)
class Tile:
    """One image with its name.

    Parameters
    ----------
    id : str
        Name in the catalogue.
    image : ndarray (H, W) or (H, W, 3), uint8
        Pixels as they are shown.
    map : ndarray (h, w), float, or None
        What the method attended to, any finite scale and any size; stretched over the image.
    label : str
        In words, for instance ``Effusion``; empty where it is not known.

    Raises
    ------
    ShapeError
        If an array has another shape or dtype, or a map is not finite.
    """

    id: str
    image: np.ndarray
    map: np.ndarray | None = None
    label: str = ""

    def __post_init__(self) -> None:
        shape = self.image.shape
        if self.image.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            raise ShapeError(f"{self.id}: expected (H, W) or (H, W, 3) uint8 pixels, found {self.image.dtype} {shape}")
        check_map(self.map, self.id)


@dataclass(frozen=True, eq=False)
class Neighbour:
    """One result of a query.

    Parameters
    ----------
    tile : Tile
        The catalogue image, with the map of the method it was found by.
    rank : int
        Place in the method's order, from 1.
    distance : float or None
        To the query, in the method's own unit; None in a row that has no distances, such as the expert's.
    agrees : bool or None
        Whether it has the label of the query; None where either label is unknown.
    expert_rank : int or None
        Place in the expert's order, from 1.

    Raises
    ------
    ShapeError
        If the distance is not finite.
    """

    tile: Tile
    rank: int
    distance: float | None = None
    agrees: bool | None = None
    expert_rank: int | None = None

    def __post_init__(self) -> None:
        if self.distance is not None and not math.isfinite(self.distance):
            raise ShapeError(f"{self.tile.id}: expected a finite distance, found {self.distance}")


@dataclass(frozen=True, eq=False)
class Row:
    """What one method retrieved for one query, nearest first.

    Parameters
    ----------
    method : str
        Name shown; ``EXPERT`` is the ground-truth order.
    query_map : ndarray (h, w), float, or None
        The method's map on the query.
    neighbours : sequence of Neighbour
        In the order shown.
    note : str
        Said under the name, for instance the score of this row.
    """

    method: str
    query_map: np.ndarray | None
    neighbours: Sequence[Neighbour]
    note: str = ""

    def __post_init__(self) -> None:
        check_map(self.query_map, f"{self.method}: map on the query")

    @property
    def agreement(self) -> str:
        """Agreement with the query's label in words, ``3 of 4 same label``; empty if no label is known."""
        known = [n.agrees for n in self.neighbours if n.agrees is not None]
        unknown = len(self.neighbours) - len(known)
        rest = f", {unknown} unknown" if unknown else ""
        return f"{sum(known)} of {len(known)} same label{rest}" if known else ""


@dataclass(frozen=True, eq=False)
class Case:
    """One query with a row per method.

    Parameters
    ----------
    query : Tile
        The image asked about. Its own ``map`` is shown beside the rows' ``query_map`` unless it equals one of them.
    query_label : str
        Label that ``Neighbour.agrees`` refers to.
    rows : sequence of Row
        In the order shown.
    """

    query: Tile
    query_label: str
    rows: Sequence[Row]

    @property
    def failures(self) -> int:
        """How many neighbours have another label than the query, over all rows but the expert's."""
        return sum(n.agrees is False for row in self.rows if row.method != EXPERT for n in row.neighbours)


def words(codes: Mapping[str, int]) -> str:
    """Spell raw label codes: ``Effusion, no Edema, possibly Mass``; of many, those that are not negative."""
    told = codes if len(codes) <= 2 else {name: code for name, code in codes.items() if code != NEGATIVE}
    return ", ".join(f"{_WORDS[code]}{name}" for name, code in told.items()) or (
        f"none of {len(codes)} labels" if codes else ""
    )


def check_map(values: np.ndarray | None, name: str) -> None:
    """Refuse a map that cannot be coloured.

    Raises
    ------
    ShapeError
        If it is not a finite, non-empty, two-dimensional array of real numbers.
    """
    if values is None:
        return
    if values.ndim != 2 or values.size == 0 or not np.issubdtype(values.dtype, np.floating):
        raise ShapeError(f"{name}: expected a (H, W) floating-point map, found {values.dtype} {values.shape}")
    if not np.isfinite(values).all():
        raise ShapeError(f"{name}: the map has values that are not finite")
