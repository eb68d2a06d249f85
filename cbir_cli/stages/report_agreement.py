"""Agreement of raters, as ``cbir evaluate --agreement`` prints it, read back for the tables of the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cbir_cli.agreement import Agreement
from cbir_cli.reports.tables import Table
from cbir_cli.stages import agreement_tables, report_names

_WORDS = ("first", "second", "statistic")
_RUNS = (".tsv", ".json", ".jsonl", ".trec", ".run")
"""What a file's name ends with; other names are raters'."""
_NUMBERS = {"value": "value", "low": "low", "high": "high", "min": "minimum", "max": "maximum", "random": "random"}


def is_one(row: Mapping[str, Any]) -> bool:
    """Say whether a row, of TSV or of JSON, is an agreement."""
    return row.keys() >= set(_WORDS)


def tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables of some rows: one of ranks and one of severities.

    Raises
    ------
    KeyError, ValueError, TypeError
        If a row is none.
    """
    runs = report_names.of_files([str(row["first"]) for row in rows if str(row["first"]).endswith(_RUNS)])
    made = []
    for row in rows:
        numbers: dict[str, Any] = {
            to: None if row.get(name) in ("", None) else float(row[name]) for name, to in _NUMBERS.items()
        }
        if not all(number is None or math.isfinite(number) for number in numbers.values()):
            raise ValueError("no finite number")
        images = None if row.get("images") in ("", None) else int(row["images"])
        first, second, statistic = (str(row[name]) for name in _WORDS)
        made.append(
            Agreement(runs.get(first, first), second, statistic, int(row["n"]), int(row["left_out"]), images, **numbers)
        )
    found = agreement_tables.tables(made)
    return [Table(f"Agreement: {t.title.lower()}", ("between", *t.columns[1:]), t.rows, t.note) for t in found]
