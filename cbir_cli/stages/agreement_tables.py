"""How far raters agree, as text: TSV, JSON lines, and tables for a person."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cbir_cli.agreement import Agreement
from cbir_cli.reports.tables import NONE, Table

COLUMNS = ("first", "second", "statistic", "n", "left_out", "images", "value", "low", "high", "min", "max", "random")


def cells(row: Agreement) -> tuple[str, ...]:
    """Return an agreement as text, one cell for each of ``COLUMNS``; four decimals, empty where not defined."""
    numbers = (row.value, row.low, row.high, row.minimum, row.maximum, row.random)
    names = (" ".join(text.split()) for text in (row.first, row.second))  # a tab would shift the columns
    images = "" if row.images is None else str(row.images)
    said = ("" if number is None else f"{number:.4f}" for number in numbers)
    return (*names, row.statistic, str(row.n), str(row.left_out), images, *said)


def tsv(rows: Iterable[Agreement]) -> Iterator[str]:
    """Write agreement as TSV with a header, line by line."""
    yield "\t".join(COLUMNS) + "\n"
    for row in rows:
        yield "\t".join(cells(row)) + "\n"


def json_lines(rows: Iterable[Agreement]) -> Iterator[str]:
    """Write agreement as JSON, one object a line, unrounded and with the value of every query."""
    for row in rows:
        said: dict[str, Any] = {"first": row.first, "second": row.second, "statistic": row.statistic, "n": row.n}
        said |= {"left_out": row.left_out, "images": row.images, "value": row.value, "low": row.low, "high": row.high}
        said |= {"min": row.minimum, "max": row.maximum, "random": row.random}
        said["queries"] = [{"seed": k[0], "set": k[1], "query": k[2], "value": v} for k, v in row.values.items()]
        yield json.dumps(said) + "\n"


def tables(found: Sequence[Agreement]) -> list[Table]:
    """Return a table of ranks and one of severities for a person: a row for each pair, a column for each statistic."""
    made = []
    for title, note, rows in (
        ("Ranks", "mean over n queries", [row for row in found if row.images is None]),
        ("Severities", "n images", [row for row in found if row.images is not None]),
    ):
        names = list(dict.fromkeys(row.statistic for row in rows))
        pairs: dict[tuple[str, str], dict[str, Agreement]] = defaultdict(dict)
        for row in rows:
            pairs[row.first, row.second][row.statistic] = row
        cells = []
        for (first, second), of in pairs.items():
            counts = {row.n if row.images is None else row.images for row in of.values()}
            who = f"{first} – {second}" if second else first
            cells.append((who, "/".join(map(str, sorted(counts))), *(_spelt(of.get(name)) for name in names)))
        if cells:
            made.append(Table(title, ("", "n", *names), cells, f"{note} [95 % interval over queries, from six on]"))
    return made


def _spelt(row: Agreement | None) -> str:
    if row is None or row.value is None:
        return NONE
    return f"{row.value:.2f}" + (f" [{row.low:.2f}, {row.high:.2f}]" if row.low is not None else "")
