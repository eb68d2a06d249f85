"""Runs, scores, ranks and items of embeddings to one SQLite database."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from cbir_cli.artifacts import embeddings, files, history
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.ranks import COLUMNS as RANKS
from cbir_cli.artifacts.ranks import read_ranks
from cbir_cli.artifacts.run import read_run
from cbir_cli.errors import UsageError
from cbir_cli.exchange import sqlite
from cbir_cli.records import MISSING
from cbir_cli.stages.score_tables import Scores

_ITEMS = ("path", "patient", "study", "view", "source", "split", "sex")
_NO_PLACE = "comparisons, agreement and scores of explanations have no place in the database"
_SCORE = ("n", "left_out", "mean", "low", "high", "min", "max", "sd", "random", "p_random")

_SCORED = re.compile(r'"(metric|statistic)":')

Rows = Iterable[Sequence[object]]


def write(names: Sequence[str], output: str) -> None:
    """Write a database of some files.

    Parameters
    ----------
    names : sequence of str
        Embeddings and indexes, runs, rank tables and score tables; what a file is shows in itself.
    output : str

    Raises
    ------
    UsageError
        If a file is an artifact of another kind, or the output is an input.
    CbirError
        If a file cannot be read.
    """
    files.check_output(output, *names)
    if output == files.STDIO:
        raise UsageError("-o -: a database cannot go through a pipe")
    tables: dict[str, list[Rows]] = {name: [] for name in sqlite.TABLES}
    for name, shown in zip(names, history.public_paths(names), strict=True):
        for table, rows in _rows(name, shown).items():
            tables[table].append(rows)
    with files.replacing(output) as temporary:
        sqlite.write(Path(temporary), {table: chain.from_iterable(parts) for table, parts in tables.items()})


def _rows(name: str, shown: str) -> dict[str, Rows]:
    """Return what a file adds to which table."""
    if files.is_artifact(Path(name)):
        with files.open_artifact(name, embeddings.KIND, "cbir-index") as artifact:
            items = embeddings.read(artifact).items
            table = items.take(range(items.count))  # the file is closed before the rows are written
        return {"items": _items(shown, table), "labels": _labels(shown, table)}
    head = _head(name)
    if set(RANKS) <= set(head.replace(";", ",").replace("\t", ",").replace(" ", "").strip("\ufeff").split(",")):
        return {
            "ranks": [
                (
                    *(shown, r.seed, r.set, r.query, r.rater, r.rank, r.id, r.query_severity, r.severity),
                    *(_told(r.query_labels), _told(r.labels)),
                )
                for r in read_ranks(name)
            ]
        }
    columns = set(head.split("\t"))
    if "metric" in columns or "statistic" in columns or (head.startswith("{") and _SCORED.search(head)):
        scores = Scores()
        scores.read(name, files.spelt(name))
        if not scores.rows:
            raise UsageError(f"{name}: {_NO_PLACE}")
        return {
            "scores": [
                (r["file"], r["metric"], r.get("against", ""), r.get("group", ""), *map(r.get, _SCORE))
                for r in scores.rows
            ],
            "query_scores": [
                (r["file"], r["metric"], r.get("against", ""), r.get("group", ""), *_query(q))
                for r in scores.rows
                for q in (*r.get("queries", ()), *r.get("images", ()))
            ],
        }
    return {
        "results": [
            (shown, r.seed, r.set, r.query, r.rank, r.id, r.distance, _told(r.query_labels), _told(r.labels))
            for r in read_run(name)
        ]
    }


def _head(name: str) -> str:
    """Return the first line of a text, or nothing: whoever reads it whole says what is wrong with it."""
    try:
        with open(name, encoding="utf-8-sig") as file:
            return file.readline(1 << 16).rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return ""


def _items(shown: str, table: Items) -> Iterator[Sequence[object]]:
    text = [table[name].tolist() for name in _ITEMS]
    ages = [None if age == MISSING else age for age in table["age"].tolist()]
    return zip([shown] * table.count, table.ids.tolist(), *text, ages, table["seen"].tolist(), strict=True)


def _labels(shown: str, table: Items) -> Iterator[Sequence[object]]:
    for name in table.label_names:
        for key, code in zip(table.ids.tolist(), table.label(name).tolist(), strict=True):
            if code != MISSING:
                yield shown, key, name, code


def _query(entry: dict[str, object]) -> Sequence[object]:
    image = entry.get("query", entry.get("image"))
    return entry.get("seed"), entry.get("set"), image, entry["value"], entry.get("random")


def _told(labels: object) -> str:
    return json.dumps(labels, sort_keys=True) if labels else ""
