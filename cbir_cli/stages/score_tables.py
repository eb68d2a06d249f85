"""From score tables to tables and box plots: the part of ``cbir report`` that shows what ``cbir evaluate`` printed.

Several score tables are shown together. Where they score the same file by the same metric, as for two conditions, each
is named after its own file.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cbir_cli import registry
from cbir_cli.errors import CbirError
from cbir_cli.metric_names import ANOMALY, CLASSIFICATION
from cbir_cli.reports.drawing import Drawing
from cbir_cli.reports.tables import MARK, NONE, Table, probability, spell
from cbir_cli.scores import RATER, metric_names
from cbir_cli.stages import (
    comparison_tables,
    explanation_sums,
    explanation_tables,
    report_agreement,
    report_names,
    score_boxes,
)

_NUMBERS = ("mean", "low", "high", "min", "max", "sd", "random", "p_random")
_JUDGED = (CLASSIFICATION, ANOMALY)
"""Folders of metrics some of which are better the smaller they are."""


class Scores:
    """What was read of score tables.

    Attributes
    ----------
    rows : list of dict
        Scores of runs, classifiers and maps, as they are spelt in JSON.
    explained : list of explanation_sums.Row
        Sums of explanations.
    others : list of Table
        Comparisons of methods, and agreement of raters.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.explained: list[explanation_sums.Row] = []
        self.others: list[Table] = []

    def __bool__(self) -> bool:
        return bool(self.rows or self.explained or self.others)

    def read(self, path: str, name: str) -> None:
        """Add what ``cbir evaluate`` printed, TSV or JSON lines; the name is for messages.

        Raises
        ------
        CbirError
            If the file is neither.
        """
        try:
            lines = [line for line in Path(path).read_text("utf-8").split("\n") if line.strip()]
        except UnicodeDecodeError as error:
            raise CbirError(f"{name}: expected a score table, found binary data") from error
        except OSError as error:
            raise CbirError(f"{name}: {error.strerror}") from error
        header = lines[0].split("\t") if lines else []
        with suppress(ValueError, KeyError, TypeError):
            if len(header) > 1 and {"metric", "statistic"} & set(header):
                found = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]
            else:
                found = [dict(json.loads(line)) for line in lines]
            if found and "class" in found[0]:
                self.explained += [explanation_tables.read(row) for row in found]
                return
            if found and comparison_tables.is_one(found[0]):
                self.others.append(comparison_tables.table(found))
                return
            if found and report_agreement.is_one(found[0]):
                self.others += report_agreement.tables(found)
                return
            if lines:
                self.rows += _unknown([{**_score(row), "table": Path(name).stem} for row in found], self.rows)
                return
        raise CbirError(f"{name}: expected a score table of cbir evaluate (TSV or JSON lines), or an artifact")

    def tables(self) -> list[Table]:
        """Return the scores as the papers print them and in full, groups, comparisons, and those of explanations."""
        names = report_names.of_files([row.file for row in self.explained])
        explained = explanation_tables.tables(replace(row, file=names[row.file]) for row in self.explained)
        named = self._named()
        every = [row for row in named if not row["group"]]
        made = [_short(every), _full(every)] if every else []
        return [*made, *_groups(named), *self.others, *explained]

    def boxes(self) -> list[tuple[str, Drawing]]:
        """Return box plots where the tables have the value of every query (JSON lines)."""
        return score_boxes.figures_of([row for row in self._named() if not row["group"]])

    def _named(self) -> list[dict[str, Any]]:
        """Return scores whose metrics name their label where several differ, and whose files are as they are shown."""
        called = metric_names((row["metric"], row.get("against", "")) for row in self.rows)
        names = report_names.of_files([row["file"] for row in self.rows])
        named = [
            {**row, "metric": name, "file": names[row["file"]]} for row, name in zip(self.rows, called, strict=True)
        ]
        places = [(row["metric"], row["file"], row["group"]) for row in named]
        if len(set(places)) == len(places):
            return named
        # The same file and metric in two tables: two conditions, beside each other metric by metric.
        metrics = list(dict.fromkeys(row["metric"] for row in named))
        told = [{**row, "metric": f"{row['metric']} {row['table']}"} for row in named]
        order = sorted(range(len(told)), key=lambda i: metrics.index(named[i]["metric"]))
        return [told[i] for i in order]


def _score(row: dict[str, Any]) -> dict[str, Any]:
    """Return a score with its numbers; ValueError, KeyError or TypeError if it is none."""
    numbers = {key: None if row.get(key) in ("", None) else float(row[key]) for key in _NUMBERS}
    values = [query["value"] for query in list(row.get("queries", []))]
    words = all(isinstance(row[key], str) for key in ("file", "metric"))
    n = None if row.get("n") in ("", None) else int(row["n"])
    group = row.get("group") or ""
    words = words and isinstance(group, str)
    if not words or not all(number is None or math.isfinite(number) for number in (*numbers.values(), *values)):
        raise ValueError("no score")
    return {**row, **numbers, "n": n, "group": group}


_Scores = Sequence[Mapping[str, Any]]


def _unknown(found: list[dict[str, Any]], known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a table's scores without those read before, as where the same runs were scored once more for groups.

    Other values of the same file and metric are another condition's, whose scores all stay.
    """
    places = [{key: row.get(key) for key in ("file", "metric", "against", "group")} for row in found]
    before = [[one for one in known if place.items() <= one.items()] for place in places]
    again = [
        any({**one, "table": row["table"]} == row for one in ones) for row, ones in zip(found, before, strict=True)
    ]
    if any(ones and not same for ones, same in zip(before, again, strict=True)):
        return found
    return [row for row, same in zip(found, again, strict=True) if not same]


def _methods(scores: _Scores) -> list[str]:
    """Return files in their order, then raters by name: not every rater has every metric."""
    return sorted(dict.fromkeys(row["file"] for row in scores), key=report_names.place)


def _short(scores: _Scores) -> Table:
    """Return a row a metric and a column a method, each score with its range, as the papers print it."""
    metrics = list(dict.fromkeys(row["metric"] for row in scores))
    methods = _methods(scores)
    cells = {(row["metric"], row["file"]): spell(row["mean"], row["min"], row["max"], digits=2) for row in scores}
    random = {row["metric"]: row["random"] for row in scores if row["random"] is not None}
    rows = [
        (metric, *(cells.get((metric, method), NONE) for method in methods), spell(random.get(metric), digits=2))
        for metric in metrics
    ]
    columns = ("metric", *methods, "random")
    note = "mean [smallest, largest], over seeds where there are seeds, else over queries; random: exact mean by chance"
    return Table("Scores", columns, rows, note + _against(scores))


def _against(scores: _Scores) -> str:
    """Return whose order methods are scored against, if that of one rater."""
    found = {str(row.get("against", "")) for row in scores}
    people = [name for name in found if name.startswith(RATER)]
    return f"; expert ranks are those of {people[0]}" if len(people) == 1 else ""


def _full(scores: _Scores) -> Table:
    """Return a row for each metric and method with all that is known of it."""
    metrics = list(dict.fromkeys(row["metric"] for row in scores))
    methods, rows = _methods(scores), []
    for row in sorted(scores, key=lambda row: (metrics.index(row["metric"]), methods.index(row["file"]))):
        sd = "" if row["sd"] is None or row["mean"] is None else f" ± {row['sd']:.3f}"
        rows.append(
            (
                row["metric"],
                row["file"],
                NONE if row["n"] is None else str(row["n"]),
                spell(row["mean"]) + sd,
                _ends(row["low"], row["high"]),
                _ends(row["min"], row["max"]),
                spell(row["random"]),
                probability(row["p_random"]),
            )
        )
    columns = ("metric", "method", "n", "mean ± sd", "95 % interval", "smallest to largest", "random", "p random")
    note = (
        "n: queries or images that were scored; sd and range are over seeds where there are seeds, else over them. "
        "95 % interval: of the mean, over patients where they are known, else over queries or images. "
        "p random: how often random rankings have a mean at least as high."
    )
    return Table("Scores in full", columns, rows, note)


def _groups(scores: _Scores) -> list[Table]:
    """Return a table for each way to group queries, with a row for each group and metric; the worst one is marked."""
    grouped = [row for row in scores if row["group"]]
    tables = []
    for kind in dict.fromkeys(row["group"].partition("=")[0] for row in grouped):
        some = [row for row in grouped if row["group"].partition("=")[0] == kind]
        methods = _methods(some)
        cells = {(row["metric"], row["group"], row["file"]): row for row in some}
        worst = {(metric, method): _worst(some, metric, method) for metric, _, method in cells}
        rows = [
            (
                metric,
                group.partition("=")[2] or group,
                *(_cell(cells.get((metric, group, m)), marked=worst.get((metric, m)) == group) for m in methods),
            )
            for metric, group in dict.fromkeys((metric, group) for metric, group, _ in cells)
        ]
        note = (
            f"mean [95 % interval], and how many; {MARK} the worst group of a method by its mean. Groups of few "
            "queries differ by chance: look at the intervals."
        )
        tables.append(Table(f"Scores by {kind}", ("metric", kind, *methods), rows, note))
    return tables


def _worst(scores: _Scores, metric: str, method: str) -> str | None:
    """Return the group with the worst mean of at least two; None where there is no other or all are alike."""
    means = {
        row["group"]: row["mean"]
        for row in scores
        if row["metric"] == metric and row["file"] == method and row["mean"] is not None
    }
    if len(set(means.values())) < 2:
        return None
    return (max if _smaller_is_better(metric) else min)(means, key=lambda group: means[group])


def _smaller_is_better(metric: str) -> bool:
    """Say so of a metric as a table names it, with its setting and its label behind it."""
    name = metric.partition(" ")[0].partition("@")[0]
    folder = next((folder for folder in _JUDGED if name in registry.names(folder)), None)
    return folder is not None and getattr(registry.load(folder, name), "BEST", 1.0) == 0


def _cell(row: Mapping[str, Any] | None, *, marked: bool) -> str:
    if row is None:
        return NONE
    n = "" if row["n"] is None else f" (n {row['n']})"
    return (f"{MARK} " if marked else "") + spell(row["mean"], row["low"], row["high"]) + n


def _ends(low: float | None, high: float | None) -> str:
    return NONE if low is None or high is None else f"{low:.3f} to {high:.3f}"
