"""How ``cbir evaluate`` prints what it found: lines for programs, tables for a person."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cbir_cli.cli import asking, terminal

if TYPE_CHECKING:
    from cbir_cli.comparisons import Comparison
    from cbir_cli.reports.tables import Table
    from cbir_cli.scores import Score
    from cbir_cli.stages.explanation_sums import Row

LOWEST = " *"
_NOTE = f"mean [smallest, largest];{LOWEST} lowest mean of its kind of group"


def scores(found: "Sequence[Score]", format: str, spread: str | None = None) -> None:
    """Print scores; as a table those of groups stand apart, below."""
    from cbir_cli import scores as writing

    if format == "table":
        terminal.show_scores([score for score in found if not score.group], spread)
        if any(score.group for score in found):
            terminal.show_tables(group_tables(found))
    else:
        asking.write_lines({"tsv": writing.tsv, "json": writing.json_lines}[format](found))


def comparisons(found: "Sequence[Comparison]", format: str) -> None:
    """Print how methods differ."""
    from cbir_cli import comparisons as writing

    if format == "table":
        terminal.show_comparisons(found)
    else:
        asking.write_lines({"tsv": writing.tsv, "json": writing.json_lines}[format](found))


def explanations(rows: "Sequence[Row]", format: str) -> None:
    """Print the sums of explanations."""
    from cbir_cli.stages import explanation_tables as writing

    if format == "table":
        terminal.show_tables(writing.tables(rows))
    else:
        asking.write_lines({"tsv": writing.tsv, "json": writing.json_lines}[format](rows))


def group_tables(found: "Sequence[Score]") -> "list[Table]":
    """Return a table for each metric: a row for each group, a column for each file, the lowest of each kind marked."""
    from cbir_cli import groups
    from cbir_cli.reports import tables
    from cbir_cli.scores import metric_names
    from cbir_cli.stages import report_names

    files = report_names.of_files([score.method for score in found])
    lowest = {id(score) for score in groups.lowest(found)}
    called = metric_names((score.metric, score.against) for score in found)
    made = []
    for metric in dict.fromkeys(called):
        of_metric = [score for score, name in zip(found, called, strict=True) if name == metric]
        rows = []
        for group in dict.fromkeys(score.group for score in of_metric):
            its = {score.method: score for score in of_metric if score.group == group}
            counts = map(str, sorted({score.n for score in its.values()}))
            cells = [tables.NONE] * len(files)
            for place, name in enumerate(files):
                if (one := its.get(name)) is not None:
                    mark = LOWEST if id(one) in lowest else " " * len(LOWEST)
                    cells[place] = tables.spell(one.mean, one.minimum, one.maximum, digits=2) + mark
            rows.append((group or "all", terminal.from_to(counts), *cells, terminal.spell_random(its.values())))
        made.append(tables.Table(metric, ("group", "n", *files.values(), "random"), rows, _NOTE))
    return made
