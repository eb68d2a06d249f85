"""Comparisons of two methods, as ``cbir evaluate --compare`` prints them, in a table of the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cbir_cli.reports.tables import NONE, Table, probability, spell
from cbir_cli.stages import report_names

_COLUMNS = {"a", "b", "metric", "difference"}
_LEVEL = 0.05


def is_one(row: Mapping[str, Any]) -> bool:
    """Say whether a row, of TSV or of JSON, is a comparison."""
    return row.keys() >= _COLUMNS


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return comparisons as a table, in their order.

    Parameters
    ----------
    rows : sequence of mapping
        ``a``, ``b``, ``metric``, ``group``, ``n``, ``difference`` (the mean of a less that of b), ``low``, ``high``
        (its 95 % interval), ``p`` and ``p_holm``; numbers as text or as numbers, empty where not known.

    Raises
    ------
    KeyError, ValueError, TypeError
        If a row is none.
    """
    names = report_names.of_files([str(row[side]) for row in rows for side in ("a", "b")])
    lines: list[tuple[str, ...]] = []
    for row in rows:
        difference, low, high, p, holm = (_number(row.get(key)) for key in ("difference", "low", "high", "p", "p_holm"))
        decisive = p if holm is None else holm
        verdict = NONE if decisive is None else "differ" if decisive < _LEVEL else "no difference shown"
        words = (str(row["metric"]), names[str(row["a"])], names[str(row["b"])], str(row.get("group") or ""))
        lines.append(
            (*words, str(row.get("n", NONE)), spell(difference, low, high), probability(p), probability(holm), verdict)
        )
    columns: tuple[str, ...] = ("metric", "a", "b", "group", "n", "a \N{MINUS SIGN} b", "p", "p (Holm)", "verdict")
    if not any(line[3] for line in lines):
        columns, lines = columns[:3] + columns[4:], [line[:3] + line[4:] for line in lines]
    note = (
        "Mean difference over the same queries [95 % interval]; p by a paired permutation test, and by Holm's "
        f"correction for all tests of the file. No difference shown (p at least {_LEVEL:g}) does not mean that there "
        "is none, least of all with few queries."
    )
    return Table("Comparisons", columns, lines, note)


def _number(value: Any) -> float | None:
    if value in ("", None):
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number
