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
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cbir_cli.artifacts import _run_columns, _run_rows, _text, _trec
from cbir_cli.artifacts._run_rows import CODES, COLUMNS, PROBABILITY, RunRow, labels_of
from cbir_cli.errors import ArtifactError
from cbir_cli.ranked_lists import RankedLists


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
    return _run_rows.of_lines(*_text.lines(path, "a run table", name))


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
    return RankedLists.of(_run_rows.of_lines(name, _text.split(text))) if found is None else found


def labels_text(labels: Mapping[str, int]) -> str:
    """Write a label cell.

    Raises
    ------
    ArtifactError
        If a name or code cannot be written.
    """
    for label, code in labels.items():
        if set(label) & {"=", "|"} or code not in CODES:
            raise ArtifactError(f"label {label!r} with code {code} cannot be written as name=code")
    return "|".join(f"{_text.plain(label)}={int(code)}" for label, code in labels.items())
