"""Tables for a person at a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cbir_cli.artifacts.run import RunRow
from cbir_cli.records import POSITIVE, UNCERTAIN

if TYPE_CHECKING:
    from rich.console import Console

    from cbir_cli.reports.tables import Table
    from cbir_cli.scores import Score


def show_run(rows: Iterable[RunRow]) -> None:
    """Print a ranked list, a block for each query."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    rows = list(rows)
    likely = any(row.probability is not None for row in rows)
    numbers = [("rank", True), ("distance", True), *[("probability", True)] * likely]
    for name, right in (("query", False), *numbers, ("id", False), ("labels", False)):
        grid.add_column(name, justify="right" if right else "left", overflow="fold")
    last = None
    for row in rows:
        first = row.key != last
        asked = f"{row.query} ({_positive(row.query_labels)})" if row.query_labels else row.query
        chance = [] if row.probability is None else [f"{row.probability:.2f}"]
        far = f"{row.distance:.4g}"
        cells = (asked if first else "", str(row.rank), far, *chance, row.id, _positive(row.labels))
        if first and last is not None:
            grid.add_section()
        grid.add_row(*map(Text, cells))
        last = row.key
    _console().print(grid)


def show_scores(scores: "Sequence[Score]") -> None:
    """Print scores as the papers do: a row for each metric, a column for each file, chance last."""
    from pathlib import Path

    from cbir_cli.reports import tables
    from cbir_cli.scores import metric_names

    files = list(dict.fromkeys(score.method for score in scores))
    stems = [Path(name).stem for name in files]
    names = dict(zip(files, stems if len(set(stems)) == len(stems) else files, strict=True))
    rows = []
    called = metric_names((score.metric, score.against) for score in scores)
    for metric in dict.fromkeys(called):
        of_metric = {s.method: s for s, name in zip(scores, called, strict=True) if name == metric}
        random = sorted({f"{s.random:.2f}" for s in of_metric.values() if s.random is not None})
        cells = [_spell(of_metric.get(name)) for name in files]
        chance = tables.NONE if not random else random[0] if len(random) == 1 else f"{random[0]} to {random[-1]}"
        rows.append((metric, *cells, chance))
    console = _console()
    if not console.is_terminal:
        console.width = 200  # a file has no edge to wrap at
    counts = sorted({score.n for score in scores})
    note = f"mean [smallest, largest]; n = {', '.join(map(str, counts))}; random: exact mean by chance"
    tables.show(tables.Table("", ("metric", *names.values(), "random"), rows, note), console)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under the names of their columns."""
    from cbir_cli.reports import tables

    tables.show(tables.Table("", columns, rows), _console())


def show_tables(found: Sequence["Table"]) -> None:
    """Print tables one below the other."""
    from cbir_cli.reports import tables

    console = _console()
    if not console.is_terminal:
        console.width = 200  # a file has no edge to wrap at
    for table in found:
        tables.show(table, console)


def _console() -> "Console":
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            """Leave a closed pipe to the program, where Rich would exit with status 1."""
            raise BrokenPipeError

    return Terminal()


def _spell(score: "Score | None") -> str:
    from cbir_cli.reports import tables

    return tables.NONE if score is None else tables.spell(score.mean, score.minimum, score.maximum, digits=2)


def _positive(labels: Mapping[str, int]) -> str:
    words = [name if code == POSITIVE else f"{name}?" for name, code in labels.items() if code in (POSITIVE, UNCERTAIN)]
    return ", ".join(words) or ("none" if labels else "")
