"""From score tables to tables and box plots: the part of ``cbir report`` that shows what ``cbir evaluate`` printed."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cbir_cli.artifacts import history
from cbir_cli.errors import CbirError
from cbir_cli.reports import figures
from cbir_cli.reports.tables import NONE, Table, spell
from cbir_cli.scores import metric_names
from cbir_cli.stages import explanation_sums, explanation_tables

_NUMBERS = ("mean", "min", "max", "sd", "random")


class Scores:
    """What was read of score tables.

    Attributes
    ----------
    rows : list of dict
        Scores of runs, classifiers and maps, as they are spelt in JSON.
    explained : list of explanation_sums.Row
        Sums of explanations.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.explained: list[explanation_sums.Row] = []

    def __bool__(self) -> bool:
        return bool(self.rows or self.explained)

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
            if {"file", "metric"} <= set(header):
                found = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]
            else:
                found = [dict(json.loads(line)) for line in lines]
            if found and "class" in found[0]:
                self.explained += [explanation_tables.read(row) for row in found]
                return
            if lines:
                self.rows += [_score(row) for row in found]
                return
        raise CbirError(f"{name}: expected a score table of cbir evaluate (TSV or JSON lines), or an artifact")

    def tables(self) -> list[Table]:
        """Return a table of scores with a row a metric and a column a file, and those of explanations."""
        names = _shown([row.file for row in self.explained])
        explained = explanation_tables.tables(replace(row, file=names[row.file]) for row in self.explained)
        return [*([_table(self._named())] if self.rows else []), *explained]

    def boxes(self) -> list[tuple[str, str]]:
        """Return box plots where the tables have the value of every query (JSON lines)."""
        return _boxes(self._named())

    def _named(self) -> list[dict[str, Any]]:
        """Return scores whose metrics name their label where several differ, and whose files are as they are shown."""
        called = metric_names((row["metric"], row.get("against", "")) for row in self.rows)
        names = _shown([row["file"] for row in self.rows])
        return [
            {**row, "metric": name, "file": names[row["file"]]} for row, name in zip(self.rows, called, strict=True)
        ]


def _score(row: dict[str, Any]) -> dict[str, Any]:
    """Return a score with its numbers; ValueError, KeyError or TypeError if it is none."""
    numbers = {key: None if row.get(key) in ("", None) else float(row[key]) for key in _NUMBERS}
    values = [query["value"] for query in list(row.get("queries", []))]
    words = all(isinstance(row[key], str) for key in ("file", "metric"))
    if not words or not all(number is None or math.isfinite(number) for number in (*numbers.values(), *values)):
        raise ValueError("no score")
    return {**row, **numbers}


def _shown(names: Sequence[str]) -> dict[str, str]:
    """Return what the page calls files: by their last names if those differ."""
    files = list(dict.fromkeys(names))
    stems = [Path(name).stem for name in files]
    return dict(zip(files, stems if len(set(stems)) == len(stems) else history.public_paths(files), strict=True))


def _table(scores: Sequence[Mapping[str, Any]]) -> Table:
    metrics = list(dict.fromkeys(row["metric"] for row in scores))
    methods = list(dict.fromkeys(row["file"] for row in scores))
    cells = {(row["metric"], row["file"]): spell(row["mean"], row["min"], row["max"], digits=2) for row in scores}
    random = {row["metric"]: row["random"] for row in scores if row["random"] is not None}
    rows = [
        (metric, *(cells.get((metric, method), NONE) for method in methods), spell(random.get(metric), digits=2))
        for metric in metrics
    ]
    columns = ("metric", *methods, "random")
    return Table("Scores", columns, rows, "mean [smallest, largest]; random is the exact mean by chance")


def _boxes(scores: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    panels: dict[str, dict[str, list[float]]] = {}
    random: dict[str, float] = {}
    for row in scores:
        if row.get("queries"):
            values = [q["value"] for q in row["queries"]]
            panels.setdefault(row["metric"], {})[row["file"]] = values
            if row.get("random") is not None:
                random[row["metric"]] = row["random"]
    graded = {metric: values for metric, values in panels.items() if metric.startswith("ndcg")}
    other = {metric: values for metric, values in panels.items() if metric not in graded}
    drawn = []
    if graded:
        drawn.append(("nDCG of each query by method", figures.box_plot(graded, random, ylabel="nDCG")))
    if other:
        drawn.append(("Class agreement of each query by method", figures.box_plot(other, random, ylabel="score")))
    return drawn
