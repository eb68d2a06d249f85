"""Rank table: experts' (raters') orders of the catalogue of a query, as text.

Written by people, so comma, semicolon or tab separate; blanks around cells and a byte order mark are ignored. Header
with the columns ``query rater rank id`` in any order, and ``seed set`` where one query has several catalogues. Each
rater ranks the images of a query 1, 2, ..., N, each rank and each image once; 1 is the most similar image.

Tied ranks are refused: graded relevance is defined by a strict order (``cbir_cli.relevance``).
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from cbir_cli.artifacts import _text
from cbir_cli.artifacts.run import Key
from cbir_cli.errors import ArtifactError, SourceError

COLUMNS = ("query", "rater", "rank", "id")


@dataclass(frozen=True, slots=True)
class RankRow:
    """The rank that one rater gave to one image of a query's catalogue; 1 is the most similar."""

    query: str
    rater: str
    rank: int
    id: str
    seed: int | None = None
    set: int | None = None

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
        If a column is lacking, or a rater's ranks of a query are not 1 to N with each rank and image once; the message
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


def _rows(name: str, lines: list[str]) -> list[tuple[int, RankRow]]:
    separator = max(",;\t", key=lines[0].count)
    table = csv.reader(lines, delimiter=separator, strict=True)
    numbered = []
    try:
        columns = _text.header(name, [cell.strip() for cell in next(table)], COLUMNS, _text.SET_COLUMNS)
        for found in table:
            if any(cell.strip() for cell in found):  # spreadsheets leave empty lines behind
                row = _text.cells([cell.strip() for cell in found], columns)
                query, rater, image = (_text.name(row, column) for column in ("query", "rater", "id"))
                rank = _text.integer(row, "rank", least=1)
                numbered.append((table.line_num, RankRow(query, rater, rank, image, *_text.sets(row))))
    except (ValueError, csv.Error) as error:
        raise ArtifactError(f"{name}, line {table.line_num}: {error}") from None
    return numbered


def _check(name: str, numbered: list[tuple[int, RankRow]]) -> None:
    ranks: dict[tuple[Key, str], set[int]] = defaultdict(set)
    images: dict[tuple[Key, str], set[str]] = defaultdict(set)
    for line, row in numbered:
        group = (row.key, row.rater)
        if row.rank in ranks[group]:
            raise SourceError(
                f"{name}, line {line}: rater {row.rater} gives rank {row.rank} of query {row.query!r} twice; ties are "
                "not allowed, since relevance needs a strict order"
            )
        if row.id in images[group]:
            raise SourceError(f"{name}, line {line}: rater {row.rater} ranks {row.id!r} twice for query {row.query!r}")
        ranks[group].add(row.rank)
        images[group].add(row.id)
    for (key, rater), found in ranks.items():
        if max(found) != len(found):
            raise SourceError(
                f"{name}: rater {rater} ranks {len(found)} images of query {key[2]!r}: expected the ranks 1 to "
                f"{len(found)}, found {max(found)}"
            )
