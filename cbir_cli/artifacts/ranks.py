"""Rank table: experts' (raters') orders of the catalogue of a query, as text.

Written by people and by reading pages, so comma, semicolon or tab separate; blanks around cells and a byte order mark
are ignored. Header with the columns ``query rater rank id`` in any order, and ``seed set`` where one query has several
catalogues. Each rater ranks the images of a query 1, 2, ..., N, each rank and each image once; 1 is the most similar
image.

Tied ranks are refused: graded relevance is defined by a strict order (``cbir_cli.relevance``).

What else a rater may say of the images stands in columns of which each may be there or not, and whose cells may be
blank:

query_severity, severity
    Of the query and of the image of the row: 0 none, 1 mild, 2 moderate, 3 severe. Another scale is refused: agreement
    is counted in steps of it, and the reading pages write this one.
query_labels, labels
    Findings as in runs, ``name=code|name=code``: 1 positive, 0 negative, -1 uncertain. These are the rater's own, not
    those of the data set.

What a rater says of a query is the same in all rows of it.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cbir_cli.artifacts import _text
from cbir_cli.artifacts.run import labels_of, labels_text
from cbir_cli.errors import ArtifactError, SourceError
from cbir_cli.ranked_lists import Key

COLUMNS = ("query", "rater", "rank", "id")
SAID = ("query_severity", "severity", "query_labels", "labels")
"""Columns that a table may have or not, each by itself."""

SEVEREST = 3


@dataclass(frozen=True, slots=True)
class RankRow:
    """The rank that one rater gave to one image of a query's catalogue; 1 is the most similar.

    Attributes
    ----------
    query, rater, id : str
    rank : float
        Whole in a table; the order of a panel (``cbir_cli.raters``) has ranks between, where images are tied.
    seed, set : int or None
        The query's place in a split table.
    query_severity, severity : int or None
        0 to 3, as this rater sees the query and the image; None where not given.
    query_labels, labels : mapping of str to int
        Raw codes of the findings that this rater states.
    """

    query: str
    rater: str
    rank: float
    id: str
    seed: int | None = None
    set: int | None = None
    query_severity: int | None = None
    severity: int | None = None
    query_labels: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Which query this rank belongs to."""
        return self.seed, self.set, self.query


def read_ranks(path: Path | str) -> list[RankRow]:
    """Read a table of expert ranks.

    Parameters
    ----------
    path : Path or str
        ``-`` is stdin.

    Returns
    -------
    list of RankRow
        In the order of the file, at least one.

    Raises
    ------
    SourceError
        If a column is lacking, if a rater's ranks of a query are not 1 to N with each rank and image once, if a
        severity is not 0 to 3 or a label cell not as in runs, or if a rater says two things of one query; the message
        names file and line.
    """
    try:
        name, lines = _text.lines(path, "a rank table")
        numbered = _rows(name, lines)
    except ArtifactError as error:  # made by people, not by a stage
        raise SourceError(str(error)) from None
    if not numbered:
        raise SourceError(f"{name}: the rank table has no rows")
    _check(name, numbered)
    return [row for _, row in numbered]


def csv_lines(rows: Iterable[RankRow]) -> Iterator[str]:
    """Write a rank table, line by line; ``seed set`` and each further column only if a row needs it.

    Raises
    ------
    ArtifactError
        If a label cannot be written, or a rank is not whole.
    """
    rows = list(rows)
    said = [column for column in SAID if any(getattr(row, column) not in (None, {}) for row in rows)]
    columns = [*COLUMNS, *said, *(_text.SET_COLUMNS if any(row.seed is not None for row in rows) else ())]
    yield _line(columns)
    for row in rows:
        if row.rank != int(row.rank):
            raise ArtifactError(f"rank {row.rank} of {row.id!r} cannot be written to a rank table: it is not whole")
        yield _line([_cell(getattr(row, column)) for column in columns])


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return labels_text(value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _rows(name: str, lines: list[str]) -> list[tuple[int, RankRow]]:
    separator = max(",;\t", key=lines[0].count)
    table = csv.reader(lines, delimiter=separator, strict=True)
    numbered = []
    try:
        found = [cell.strip() for cell in next(table)]
        said = [column for column in SAID if column in found]
        columns = _text.header(name, found, [*COLUMNS, *said], _text.SET_COLUMNS)
        for cells in table:
            if any(cell.strip() for cell in cells):  # spreadsheets leave empty lines behind
                numbered.append((table.line_num, _row(_text.cells([cell.strip() for cell in cells], columns))))
    except (ValueError, csv.Error) as error:
        raise ArtifactError(f"{name}, line {table.line_num}: {error}") from None
    return numbered


def _row(row: Mapping[str, str]) -> RankRow:
    query, rater, image = (_text.name(row, column) for column in ("query", "rater", "id"))
    rank = _text.integer(row, "rank", least=1)
    return RankRow(
        query,
        rater,
        rank,
        image,
        *_text.sets(row),
        query_severity=_severity(row, "query_severity"),
        severity=_severity(row, "severity"),
        query_labels=labels_of(row.get("query_labels", ""), "query_labels"),
        labels=labels_of(row.get("labels", ""), "labels"),
    )


def _severity(row: Mapping[str, str], column: str) -> int | None:
    text = row.get(column, "")
    if not text:
        return None
    if text not in map(str, range(SEVEREST + 1)):
        raise ValueError(f"{column}: expected 0 (none), 1 (mild), 2 (moderate), 3 (severe) or nothing, found {text!r}")
    return int(text)


def _check(name: str, numbered: list[tuple[int, RankRow]]) -> None:
    ranks: dict[tuple[Key, str], set[float]] = defaultdict(set)
    images: dict[tuple[Key, str], set[str]] = defaultdict(set)
    first: dict[tuple[Key, str], RankRow] = {}
    for line, row in numbered:
        group = (row.key, row.rater)
        if row.rank in ranks[group]:
            raise SourceError(
                f"{name}, line {line}: rater {row.rater} gives rank {row.rank:g} of query {row.query!r} twice; ties "
                "are not allowed, since relevance needs a strict order"
            )
        if row.id in images[group]:
            raise SourceError(f"{name}, line {line}: rater {row.rater} ranks {row.id!r} twice for query {row.query!r}")
        before = first.setdefault(group, row)
        for column in ("query_severity", "query_labels"):
            if getattr(row, column) != getattr(before, column):
                raise SourceError(
                    f"{name}, line {line}: rater {row.rater} has another {column} for query {row.query!r} than before"
                )
        ranks[group].add(row.rank)
        images[group].add(row.id)
    for (key, rater), found in ranks.items():
        if max(found) != len(found):
            raise SourceError(
                f"{name}: rater {rater} ranks {len(found)} images of query {key[2]!r}: expected the ranks 1 to "
                f"{len(found)}, found {max(found):g}"
            )
