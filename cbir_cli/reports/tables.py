"""Score tables, for a terminal and for a page.

A score stands as the papers print it, mean [smallest, largest] with two decimals, beside that of a random ranking; a
measure of explanations as mean [interval] with three.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Table 1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cbir_cli.errors import ShapeError

if TYPE_CHECKING:
    from rich.console import Console

NONE = "–"  # a score that does not exist
MARK = "\N{WHITE UP-POINTING TRIANGLE}"  # a cell that begins with it is a warning
_NUMBER = re.compile(rf"\s*(?:{MARK} )?(?:(?:< ?)?[-+−]?[\d.].*|{NONE}|n/a|)\s*$", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """Strings in rows.

    Parameters
    ----------
    title : str
        Heading.
    columns : sequence of str
        Column names, the first one over the row names.
    rows : sequence of sequences of str
        As many cells each as there are columns.
    note : str
        Said under the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ShapeError(f"table {self.title!r}: {len(self.columns)} columns, but a row of {len(row)} cells")

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column, whether it holds numbers, which align right."""
        cells = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        return tuple(i > 0 and all(_NUMBER.match(cell) for cell in column) for i, column in enumerate(cells))


def spell(mean: float | None, low: float | None = None, high: float | None = None, *, digits: int = 3) -> str:
    """Spell a score as ``0.950 [0.750, 1.000]``: mean and its ends, where it has any; ``–`` for none."""
    if mean is None:
        return NONE
    ends = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean:.{digits}f}{ends}"


def probability(p: float | None) -> str:
    """Spell a probability: ``0.034``, ``< 0.001``; ``–`` for none."""
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def show(table: Table, console: "Console") -> None:
    """Print a table on a terminal.

    Parameters
    ----------
    table : Table
        Its text is printed as it is: square brackets are no markup.
    console : rich.console.Console
        Where to.
    """
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(
        title=Text(table.title) if table.title else None,
        caption=Text(table.note) if table.note else None,
        box=box.SIMPLE_HEAD,
        collapse_padding=True,  # five methods with intervals need every column of a terminal
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    for place, (column, right) in enumerate(zip(table.columns, table.numeric, strict=True)):
        # A name may be folded; a number that is goes on in the next line as another one.
        words = [word for row in table.rows for word in row[place].split()] if right else []
        least = max(map(len, words), default=None)
        grid.add_column(Text(column), justify="right" if right else "left", overflow="fold", min_width=least)
    for row in table.rows:
        grid.add_row(*map(Text, row))
    console.print(grid)
