"""A run table read row by row, whoever wrote it: what is wrong is said with its line (see ``run``)."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from cbir_cli.artifacts import _text, _trec
from cbir_cli.errors import ArtifactError
from cbir_cli.ranked_lists import Key
from cbir_cli.records import NEGATIVE, POSITIVE, UNCERTAIN

COLUMNS = ("query", "rank", "id", "distance", "query_labels", "labels")
PROBABILITY = "probability"
CODES = (POSITIVE, NEGATIVE, UNCERTAIN)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One result of one query.

    Attributes
    ----------
    query, id : str
        The query image and the result.
    rank : int
        1 for the nearest.
    distance : float
        In the units of the index's metric; finite.
    query_labels, labels : mapping of str to int
        Raw codes of the labels that are stated for the query and for the result.
    seed, set : int or None
        The query's place in a split table.
    probability : float or None
        That the result is of the query's class, if asked for.
    unlike : bool
        Whether the query is unlike anything in the catalogue; known only together with a probability.
    """

    query: str
    rank: int
    id: str
    distance: float
    query_labels: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    seed: int | None = None
    set: int | None = None
    probability: float | None = None
    unlike: bool = False

    @property
    def key(self) -> Key:
        """Which query this result belongs to."""
        return self.seed, self.set, self.query


def of_lines(name: str, lines: list[str]) -> list[RunRow]:
    """Read a run table in any of its three spellings.

    Parameters
    ----------
    name : str
        For messages.
    lines : list of str
        At least one; the last is empty where the file ends with a line feed.

    Raises
    ------
    ArtifactError
        If it is no run table, or breaks a rule of the schema; the message names file and line.
    """
    ended = lines if lines[-1] else lines[:-1]
    first = lines[0].split("\t")
    if lines[0].startswith("{"):
        numbered = _parsed(name, ended, 1, _from_json)
    elif set(first) & set(COLUMNS):
        columns = _text.header(name, first, COLUMNS + (PROBABILITY,) * (PROBABILITY in first), _text.SET_COLUMNS)
        known: dict[str, dict[str, int]] = {}
        numbered = _parsed(name, _text.whole(name, lines), 2, lambda text: _from_tsv(text, columns, known))
    elif len(lines[0].split()) == 6:
        numbered = _parsed(name, ended, 1, _from_trec)
    else:
        known_as = f"header {' '.join(COLUMNS)}, JSON lines or TREC"
        raise ArtifactError(f"{name}: expected a run table ({known_as}), found {lines[0][:60]!r}")
    _check(name, numbered)
    return [row for _, row in numbered]


def _parsed(name: str, lines: list[str], start: int, parse: Callable[[str], RunRow]) -> list[tuple[int, RunRow]]:
    numbered = []
    for line, text in enumerate(lines[start - 1 :], start=start):
        try:
            numbered.append((line, parse(text)))
        except ValueError as error:
            raise ArtifactError(f"{name}, line {line}: {error}") from None
    return numbered


def _from_tsv(text: str, columns: list[str], known: dict[str, dict[str, int]]) -> RunRow:
    row = _text.cells(text.split("\t"), columns)
    for column in ("query_labels", "labels"):
        if row[column] not in known:  # millions of rows share a few label cells
            known[row[column]] = labels_of(row[column])
    return RunRow(
        _text.name(row, "query"),
        _text.integer(row, "rank", least=1),
        _text.name(row, "id"),
        _text.finite(row["distance"], "distance"),
        known[row["query_labels"]],
        known[row["labels"]],
        *_text.sets(row),
        _probability(float(row[PROBABILITY])) if PROBABILITY in row else None,
    )


def _from_json(text: str) -> RunRow:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"expected a JSON object, found {text[:60]!r}") from None
    keys = set(row) if isinstance(row, dict) else set()
    if {PROBABILITY, "unlike"} <= keys:
        keys -= {PROBABILITY, "unlike"}
    if keys not in ({*COLUMNS}, {*COLUMNS, *_text.SET_COLUMNS}):
        raise ValueError(f"expected an object with {' '.join(COLUMNS)} (and seed set), found {text[:60]!r}")
    for column, value in row.items():
        if column in ("query", "id"):
            fits = isinstance(value, str) and value != ""
        elif column in ("distance", PROBABILITY):
            fits = type(value) in (int, float)
        elif column == "unlike":
            fits = isinstance(value, bool)
        elif column in ("rank", *_text.SET_COLUMNS):
            fits = type(value) is int and value >= (column == "rank")
        else:
            fits = isinstance(value, dict) and all(type(code) is int and code in CODES for code in value.values())
        if not fits:
            raise ValueError(f"{column}: found {value!r}, which does not fit")
    numbers = {"distance": _text.finite(row["distance"], "distance")}
    if PROBABILITY in row:
        numbers[PROBABILITY] = _probability(row[PROBABILITY])
    return RunRow(**{**row, **numbers})


def _probability(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"probability: expected a number from 0 to 1, found {value}")
    return value


def _from_trec(text: str) -> RunRow:
    row = _text.cells(re.split(r"[ \t]+", text.strip(" \t")), ("query", "Q0", "id", "rank", "score", "tag"))
    seed, number, query = _trec.key(row["query"])
    rank, distance = _text.integer(row, "rank", least=1), 0.0 - _text.finite(row["score"], "score")
    return RunRow(query, rank, unquote(row["id"]), distance, seed=seed, set=number)


def _check(name: str, numbered: list[tuple[int, RunRow]]) -> None:
    ranks: dict[Key, dict[int, int]] = defaultdict(dict)
    ids: dict[Key, set[str]] = defaultdict(set)
    labels: dict[Key, Mapping[str, int]] = {}
    for line, row in numbered:
        place = f"{name}, line {line}: query {row.query!r}"
        if row.rank in ranks[row.key]:
            raise ArtifactError(f"{place} has rank {row.rank} twice")
        if row.id in ids[row.key]:
            raise ArtifactError(f"{place} has the result {row.id!r} twice")
        if labels.setdefault(row.key, row.query_labels) != row.query_labels:
            raise ArtifactError(f"{place} has other query_labels than before")
        ranks[row.key][row.rank] = line
        ids[row.key].add(row.id)
    for (_, _, query), found in ranks.items():
        if (highest := max(found)) != len(found):
            raise ArtifactError(
                f"{name}, line {found[highest]}: query {query!r} has {len(found)} results: expected the ranks 1 to "
                f"{len(found)}, found {highest}"
            )


def labels_of(text: str, column: str = "labels") -> dict[str, int]:
    """Read a label cell, ``name=code|name=code``; empty where nothing is stated.

    Raises
    ------
    ValueError
        If it is none.
    """
    labels: dict[str, int] = {}
    for part in text.split("|") if text else ():
        label, equals, code = part.partition("=")
        if not label or not equals or code not in map(str, CODES) or label in labels:
            raise ValueError(f"{column}: expected name=code joined by |, with codes 1, 0 or -1, found {text!r}")
        labels[label] = int(code)
    return labels
