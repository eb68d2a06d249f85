"""Tables for a person at a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cbir_cli.artifacts.run import RunRow
from cbir_cli.records import POSITIVE, UNCERTAIN

if TYPE_CHECKING:
    from rich.console import Console

    from cbir_cli.comparisons import Comparison
    from cbir_cli.reports.tables import Table
    from cbir_cli.scores import Score

_DOUBT = "°"
_INTERVAL = "  95 %"
_SPREADS = {
    None: "mean [smallest, largest], below it the 95 % interval of the mean",
    "range": "mean [smallest, largest]",
    "sd": "mean ± standard deviation",
    "ci": "mean [95 % interval]",
    "box": "median [first, third quartile]",
}


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


def show_scores(scores: "Sequence[Score]", spread: str | None = None) -> None:
    """Print scores as the papers do: a row for each metric, a column for each file, chance last.

    Parameters
    ----------
    scores : sequence of Score
    spread : str, optional
        What stands behind the mean: ``range`` (smallest and largest), ``sd``, or ``ci`` (95 % interval); ``box`` for
        the median with quartiles. By default the range, with a row of intervals below where there are any.
    """
    from cbir_cli.reports import tables
    from cbir_cli.scores import metric_names
    from cbir_cli.stages import report_names

    files = report_names.of_files([score.method for score in scores])
    rows = []
    called = [
        f"{name}  {' '.join(score.group.split())}".rstrip()
        for name, score in zip(metric_names((score.metric, score.against) for score in scores), scores, strict=True)
    ]
    for metric in dict.fromkeys(called):
        of_metric = {s.method: s for s, name in zip(scores, called, strict=True) if name == metric}
        cells = [_spell(of_metric.get(name), spread) for name in files]
        rows.append((metric, *cells, spell_random(of_metric.values())))
        if spread is None and any(score.low is not None for score in of_metric.values()):
            rows.append((_INTERVAL, *(_ends(of_metric.get(name)) for name in files), ""))
    console = _console()
    if not console.is_terminal:
        console.width = 200  # a file has no edge to wrap at
    counts = sorted({score.n for score in scores})
    shown = "range" if spread is None and all(score.low is None for score in scores) else spread
    note = f"{_SPREADS[shown]}; n = {', '.join(map(str, counts))}; random: exact mean by chance"
    if any(_by_chance(score) for score in scores):
        note += f"; {_DOUBT}: so do random rankings in more than 5 % of cases"
    tables.show(tables.Table("", ("metric", *files.values(), "random"), rows, note), console)


def spell_random(scores: "Iterable[Score]") -> str:
    """Return the means by chance of scores of several files, which may differ."""
    from cbir_cli.reports import tables

    return from_to(sorted({f"{s.random:.2f}" for s in scores if s.random is not None})) or tables.NONE


def from_to(texts: Iterable[str]) -> str:
    """Return the first and the last of some texts, or the only one; nothing where there is none."""
    every = list(texts)
    return every[0] if len(every) == 1 else f"{every[0]} to {every[-1]}" if every else ""


def show_comparisons(found: "Sequence[Comparison]") -> None:
    """Print how methods differ, a row for each pair and metric."""
    from cbir_cli import comparisons
    from cbir_cli.reports import tables

    note = (
        "difference: mean of a less mean of b, with its 95 % interval; p: paired permutation test; "
        "p_holm: corrected for all rows of the metric"
    )
    console = _console()
    if not console.is_terminal:
        console.width = 200
    grouped = any(one.group for one in found)  # without groups the column only takes room
    shown = [place for place, name in enumerate(comparisons.COLUMNS) if grouped or name != "group"]
    rows = [[row[place] for place in shown] for row in comparisons.cells(found)]
    tables.show(tables.Table("", [comparisons.COLUMNS[place] for place in shown], rows, note), console)


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


def _spell(score: "Score | None", spread: str | None) -> str:
    from cbir_cli.reports import tables
    from cbir_cli.scores import quartiles

    if score is None or score.mean is None:
        return tables.NONE
    if spread == "sd":
        text = f"{score.mean:.2f}" + ("" if score.sd is None else f" ± {score.sd:.2f}")
    elif spread == "box" and (box := quartiles(score)):
        text = tables.spell(box[1], box[0], box[2], digits=2)
    else:
        ends = {"ci": (score.low, score.high), "box": (None, None)}.get(spread or "", (score.minimum, score.maximum))
        text = tables.spell(score.mean, *ends, digits=2)
    return f"{text} {_DOUBT}" if _by_chance(score) else text


def _ends(score: "Score | None") -> str:
    known = score is not None and score.low is not None and score.high is not None
    return f"{score.low:.2f} to {score.high:.2f}" if known else ""  # type: ignore[union-attr]


def _by_chance(score: "Score") -> bool:
    """Whether random rankings do as well too often to tell the score from chance."""
    return score.p_random is not None and score.p_random > 0.05


def _positive(labels: Mapping[str, int]) -> str:
    words = [name if code == POSITIVE else f"{name}?" for name, code in labels.items() if code in (POSITIVE, UNCERTAIN)]
    return ", ".join(words) or ("none" if labels else "")
