"""SQLite: tables for browsing, with any viewer or ``sqlite3``."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

ENDINGS = (".sqlite", ".sqlite3", ".db")

TABLES: Mapping[str, Sequence[str]] = {
    "items": (
        *("file TEXT", "id TEXT", "path TEXT", "patient TEXT", "study TEXT", "view TEXT", "source TEXT", "split TEXT"),
        *("sex TEXT", "age INTEGER", "seen TEXT"),
    ),
    "labels": ("file TEXT", "id TEXT", "label TEXT", "code INTEGER"),
    "results": (
        *("file TEXT", "seed INTEGER", "set_number INTEGER", "query TEXT", "rank INTEGER", "id TEXT", "distance REAL"),
        *("query_labels TEXT", "labels TEXT"),
    ),
    "ranks": (
        *("file TEXT", "seed INTEGER", "set_number INTEGER", "query TEXT", "rater TEXT", "rank INTEGER", "id TEXT"),
        *("query_severity INTEGER", "severity INTEGER", "query_labels TEXT", "labels TEXT"),
    ),
    "scores": (
        *("file TEXT", "metric TEXT", "against TEXT", "population TEXT", "n INTEGER", "left_out INTEGER", "mean REAL"),
        *("low REAL", "high REAL", "min REAL", "max REAL", "sd REAL", "random REAL", "p_random REAL"),
    ),
    "query_scores": (
        *("file TEXT", "metric TEXT", "against TEXT", "population TEXT", "seed INTEGER", "set_number INTEGER"),
        *("query TEXT", "value REAL", "random REAL"),
    ),
}
"""Columns of each table. ``file`` is what a row came from, ``set_number`` the set of a split table (``set`` is a word
of SQL), and ``population`` the group of queries that a score is of."""

_INDEXES = {
    "items": "id",
    "labels": "id",
    "results": "query, rank",
    "ranks": "query",
    "scores": "metric",
    "query_scores": "query",
}

_VIEW = """
CREATE VIEW results_and_ranks AS
SELECT results.*, ranks.rater, ranks.rank AS expert_rank FROM results LEFT JOIN ranks
ON ranks.query = results.query AND ranks.id = results.id
AND ranks.seed IS results.seed AND ranks.set_number IS results.set_number
"""


def write(path: Path, rows: Mapping[str, Iterable[Sequence[object]]]) -> None:
    """Write a database with all of ``TABLES``, and a view of results beside the experts' ranks.

    Parameters
    ----------
    path : Path
        Empty or not there.
    rows : mapping of str to iterable of sequence
        Rows of some of the tables, with a value for each column.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            holes = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} VALUES ({holes})", rows.get(table, ()))
            connection.execute(f"CREATE INDEX {table}_by ON {table} ({_INDEXES[table]})")
        connection.execute(_VIEW)
