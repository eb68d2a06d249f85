"""Run table: ranked lists as text, one line for each result of each query.

Written by ``query``; read by ``evaluate`` and ``report``. UTF-8, every line ended by a line feed. The same rows in
three spellings, told apart by their first line when read:

tsv
    Header ``query rank id distance query_labels labels``, tab-separated, with ``seed set`` at the end if the catalogues
    come from a split table, and ``probability`` before these if that was asked for: how likely the result is of the
    query's class, by a calibrated index. ``rank`` is 1, 2, ... for each query (of each seed and set), and an id occurs
    once in its list. Smaller ``distance`` is nearer; it is finite and has nine digits, all that float32 holds. Label
    cells are ``name=code|name=code`` with the labels that the data set states: 1 positive, 0 negative, -1 uncertain; a
    missing one is left out. Ids and label names hold no tab or line break, and label names no ``=`` or ``|``: such a
    row is refused when written. ``json`` takes them.
json
    One object a line with the same keys; label cells are objects, ``seed`` and ``set`` are there only if they apply.
    With ``probability`` comes ``unlike``: whether the query is unlike anything in the catalogue.
trec
    Six columns ``query Q0 id rank score cbir`` without header, for trec_eval and its kin; ``score = -distance``. With a
    split table the query is ``seed:set:query``. Blanks separate columns, so blanks and percent signs in names are
    written as in URLs (``%20``, ``%25``), and so is the first colon of a query whose own name looks like
    ``seed:set:query``. Holds no labels.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cbir_cli.artifacts import _run_columns, _text, _trec
from cbir_cli.errors import ArtifactError
from cbir_cli.ranked_lists import Key, RankedLists
from cbir_cli.records import NEGATIVE, POSITIVE, UNCERTAIN

COLUMNS = ("query", "rank", "id", "distance", "query_labels", "labels")
PROBABILITY = "probability"
_CODES = (POSITIVE, NEGATIVE, UNCERTAIN)


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


def tsv(rows: Iterable[RunRow]) -> Iterator[str]:
    """Write a run as TSV, line by line; the first row decides which of the columns there are that may be left out.

    Raises
    ------
    ArtifactError
        If a name, label or distance cannot be written.
    """
    sets: bool | None = None
    for row in rows:
        if sets is None:
            sets, likely = row.seed is not None, row.probability is not None
            yield "\t".join(COLUMNS + (PROBABILITY,) * likely + _text.SET_COLUMNS * sets) + "\n"
        if not sets == (row.seed is not None) == (row.set is not None):
            raise ArtifactError(f"query {row.query!r}: seed and set are known for some rows of the run only")
        cells = [_text.plain(row.query), str(row.rank), _text.plain(row.id), _text.number(row.distance)]
        cells += [labels_text(row.query_labels), labels_text(row.labels)]
        cells += [] if row.probability is None else [f"{row.probability:.4f}"]
        yield "\t".join(cells + [str(row.seed), str(row.set)] * sets) + "\n"
    if sets is None:
        yield "\t".join(COLUMNS) + "\n"


def check_names(names: Iterable[str]) -> None:
    """Check, before the first line is written, that TSV can hold all names.

    Raises
    ------
    ArtifactError
        If it cannot.
    """
    for name in sorted(names):
        try:
            _text.plain(name)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; --format json can hold it") from None


def json_lines(rows: Iterable[RunRow]) -> Iterator[str]:
    """Write a run as JSON, one object a line.

    Raises
    ------
    ArtifactError
        If a distance is not finite.
    """
    for row in rows:
        cells: dict[str, Any] = {"query": row.query, "rank": row.rank, "id": row.id}
        cells["distance"] = float(_text.number(row.distance))
        cells |= {"query_labels": dict(row.query_labels), "labels": dict(row.labels)}
        if row.probability is not None:
            cells |= {PROBABILITY: round(row.probability, 4), "unlike": row.unlike}
        yield json.dumps(cells if row.seed is None else cells | {"seed": row.seed, "set": row.set}) + "\n"


def trec(rows: Iterable[RunRow]) -> Iterator[str]:
    """Write a run as a TREC run, ``query Q0 id rank score cbir``.

    Raises
    ------
    ArtifactError
        If a name is empty or not valid Unicode, or a distance is not finite.
    """
    for row in rows:
        score = _text.number(0.0 - row.distance)
        yield f"{_trec.query(row.key)} Q0 {_trec.name(row.id)} {row.rank} {score} cbir\n"


WRITERS: dict[str, Callable[[Iterable[RunRow]], Iterator[str]]] = {"tsv": tsv, "json": json_lines, "trec": trec}


def read_run(path: Path | str, name: str = "") -> list[RunRow]:
    """Read a run table in any of its three spellings.

    Parameters
    ----------
    path : Path or str
        ``-`` is stdin.
    name : str
        For messages, where the path is that of a copy.

    Returns
    -------
    list of RunRow
        In the order of the file; empty if the file has a header only.

    Raises
    ------
    ArtifactError
        If the file is no run table, or breaks a rule of the schema; the message names file and line.
    """
    return _rows(*_text.lines(path, "a run table", name))


def read_lists(path: Path | str, name: str = "") -> RankedLists:
    """Read a run table as arrays; as ``read_run``, and faster by far for millions of rows."""
    name, text = _text.text(path, "a run table", name)
    first = text[: text.find("\n")]
    columns = first.split("\t")
    found = None
    if sorted(columns) in (sorted(COLUMNS), sorted(COLUMNS + _text.SET_COLUMNS)):
        found = _run_columns.tsv(text, columns, labels_of)
    elif not first.startswith("{") and len(first.split()) == 6:
        found = _run_columns.trec(text, _trec.key, unquote)
    return RankedLists.of(_rows(name, _text.split(text))) if found is None else found


def _rows(name: str, lines: list[str]) -> list[RunRow]:
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
            fits = isinstance(value, dict) and all(type(code) is int and code in _CODES for code in value.values())
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
        if not label or not equals or code not in map(str, _CODES) or label in labels:
            raise ValueError(f"{column}: expected name=code joined by |, with codes 1, 0 or -1, found {text!r}")
        labels[label] = int(code)
    return labels


def labels_text(labels: Mapping[str, int]) -> str:
    """Write a label cell.

    Raises
    ------
    ArtifactError
        If a name or code cannot be written.
    """
    for label, code in labels.items():
        if set(label) & {"=", "|"} or code not in _CODES:
            raise ArtifactError(f"label {label!r} with code {code} cannot be written as name=code")
    return "|".join(f"{_text.plain(label)}={int(code)}" for label, code in labels.items())
