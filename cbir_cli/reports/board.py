"""What a page shows of saliency maps: images below each other, and for each the maps of several methods side by side.

Images come as the pixels to be shown, maps as the numbers to be coloured; ``page`` does the colouring, so that the maps
of one column share one scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports.gallery import Tile
from cbir_cli.reports.look import check_map


@dataclass(frozen=True)
class Column:
    """The maps of one file.

    Parameters
    ----------
    title : str
        Name of the method, unlike any other column's.
    note : str
        Said under the title, for instance the parameters that tell it from another column.
    """

    title: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class Line:
    """One image with its maps.

    Parameters
    ----------
    tile : Tile
        The image.
    maps : sequence of ndarray (h, w), float
        One a column; each on any finite scale and of any size, stretched over the image.
    notes : sequence of str
        One a column, said under the map; may be empty.

    Raises
    ------
    ShapeError
        If a map cannot be coloured.
    """

    tile: Tile
    maps: Sequence[np.ndarray]
    notes: Sequence[str]

    def __post_init__(self) -> None:
        for values in self.maps:
            check_map(values, self.tile.id)


@dataclass(frozen=True, eq=False)
class Board:
    """Images by methods.

    Parameters
    ----------
    columns : sequence of Column
    lines : sequence of Line
        In the order shown.
    chosen : str
        How the images were chosen, in a sentence.

    Raises
    ------
    ShapeError
        If a line has not one map and one note for each column.
    """

    columns: Sequence[Column]
    lines: Sequence[Line]
    chosen: str = ""

    def __post_init__(self) -> None:
        for line in self.lines:
            if not len(line.maps) == len(line.notes) == len(self.columns):
                raise ShapeError(
                    f"{line.tile.id}: {len(line.maps)} maps and {len(line.notes)} notes for {len(self.columns)} columns"
                )
