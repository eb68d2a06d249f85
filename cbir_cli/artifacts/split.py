"""Split table: which image has which role in which set, as text.

TSV with the header ``seed set role id``; UTF-8, every line ended by a line feed. ``role`` is query, catalogue, train,
validation or test (``cbir_cli.splits``); ``set`` numbers the catalogues of one seed from 1 and is 0 for train,
validation and test. An image has one role in a set, and a set that has a query has a catalogue.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from cbir_cli.artifacts import _text
from cbir_cli.errors import ArtifactError
from cbir_cli.splits import ROLES, SplitRow

COLUMNS = ("seed", "set", "role", "id")


def split_tsv(rows: Iterable[SplitRow]) -> Iterator[str]:
    """Write a split table, line by line.

    Raises
    ------
    ArtifactError
        If an id holds a tab or line break.
    """
    yield "\t".join(COLUMNS) + "\n"
    for row in rows:
        yield f"{row.seed}\t{row.set}\t{row.role}\t{_text.plain(row.id)}\n"


def read_split(path: Path | str) -> list[SplitRow]:
    """Read a split table.

    Parameters
    ----------
    path : Path or str
        ``-`` is stdin.

    Returns
    -------
    list of SplitRow
        In the order of the file.

    Raises
    ------
    ArtifactError
        If the file breaks a rule of the schema; the message names file and line.
    """
    name, found = _text.lines(path, "a split table")
    columns = _text.header(name, found[0].split("\t"), COLUMNS)
    rows: list[SplitRow] = []
    seen: set[tuple[int, int, str]] = set()
    for line, text in enumerate(_text.whole(name, found)[1:], start=2):
        try:
            cells = _text.cells(text.split("\t"), columns)
            row = SplitRow(
                _text.integer(cells, "seed"), _text.integer(cells, "set"), cells["role"], _text.name(cells, "id")
            )
            if row.role not in ROLES:
                raise ValueError(f"role: expected one of {', '.join(ROLES)}, found {row.role!r}")
            if (row.seed, row.set, row.id) in seen:
                raise ValueError(f"{row.id!r} has two roles in set {row.set} of seed {row.seed}")
        except ValueError as error:
            raise ArtifactError(f"{name}, line {line}: {error}") from None
        rows.append(row)
        seen.add((row.seed, row.set, row.id))
    _check_sets(name, rows)
    return rows


def _check_sets(name: str, rows: list[SplitRow]) -> None:
    roles: dict[tuple[int, int], set[str]] = defaultdict(set)
    for row in rows:
        roles[row.seed, row.set].add(row.role)
    for (seed, number), found in roles.items():
        if len(found & {"query", "catalogue"}) == 1:
            lacking = "catalogue" if "query" in found else "query"
            raise ArtifactError(f"{name}: set {number} of seed {seed} has no {lacking}")
