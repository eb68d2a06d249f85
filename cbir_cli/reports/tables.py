"""Score tables, for a terminal and for a page.

A score stands as the papers print it, mean [smallest, largest], beside the score of a random ranking.

Reference
---------
Silva et al. Interpretability-guided Content-based Medical Image Retrieval. MICCAI 2020, Table 1.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cbir_cli.errors import ShapeError

if TYPE_CHECKING:
    from rich.console import Console

NONE = "–"  # a score that does not exist
MARK = "\N{WHITE UP-POINTING TRIANGLE}"  # a cell that begins with it is a warning
_NUMBER = re.compile(rf"\s*(?:[-+−]?[\d.].*|{NONE}|n/a|)\s*$", re.DOTALL)


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


def interval(values: Sequence[float], digits: int = 2) -> str:
    """Spell scores as ``0.95 [0.75, 1.00]``: mean, smallest and largest; one value alone; ``–`` for none.

    Scores that are not finite are left out, and the count of those that remain is added.
    """
    finite = [float(v) for v in values if math.isfinite(v)]
    if not finite:
        return NONE
    mean = f"{sum(finite) / len(finite):.{digits}f}"
    if len(values) == 1:
        return mean
    count = f" ({len(finite)} of {len(values)})" if len(finite) < len(values) else ""
    return f"{mean} [{min(finite):.{digits}f}, {max(finite):.{digits}f}]{count}"


def scores(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    random: Mapping[str, float] | None = None,
    *,
    title: str = "Scores",
    note: str = "mean [smallest, largest]",
    digits: int = 2,
) -> Table:
    """Lay scores out, one row per metric and one column per method, the random baseline last.

    Parameters
    ----------
    values : mapping
        ``values[metric][method]`` are the scores, one for each seed or query. Order is kept.
    random : mapping, optional
        For each metric the mean score of a random ranking.
    title, note : str
        Of the table.
    digits : int
        After the point.

    Returns
    -------
    Table
    """
    methods = list(dict.fromkeys(method for by_method in values.values() for method in by_method))
    rows = []
    for metric, by_method in values.items():
        row = [metric, *(interval(by_method.get(method, ()), digits) for method in methods)]
        if random is not None:
            row.append(interval([random[metric]], digits) if metric in random else NONE)
        rows.append(tuple(row))
    columns = ("metric", *methods, *(("random",) if random is not None else ()))
    return Table(title, columns, tuple(rows), note)


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
    for column, right in zip(table.columns, table.numeric, strict=True):
        grid.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        grid.add_row(*map(Text, row))
    console.print(grid)
