"""The files of a reading study: what its codes stand for, and what the raters send back.

``key.tsv``
    Header ``study label case seed set role code id``: for each case (a query with its catalogue) one row with the role
    ``query`` and one for each image of the ``catalogue``. ``study`` is the code of the study and ``label`` the label
    that is asked for, empty where none is, in every row. Nothing of this is on a rater's page but the codes.
``RATER-STUDY.csv``
    What a page saves: header ``study rater case finished rank image query_severity severity query_label label
    seconds``, a row for each image of each case. ``finished`` is 1 once the rater has confirmed the order of the case.
    Severity is 0 none, 1 mild, 2 moderate, 3 severe; a label is 1 present, 0 absent, -1 uncertain; an empty cell is
    not given. ``seconds`` is empty unless the study records times. As people open such files in spreadsheets, comma,
    semicolon or tab separate.

Both together make a rank table (see ``ranks``).
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cbir_cli.artifacts import _text
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.errors import ArtifactError, SourceError

KEY = ("study", "label", "case", "seed", "set", "role", "code", "id")
EXPORT = tuple("study rater case finished rank image query_severity severity query_label label seconds".split())
SEVERITIES = ("none", "mild", "moderate", "severe")
"""What the severities 0 to 3 mean."""
LABELS = {"present": 1, "absent": 0, "uncertain": -1}
"""What a rater may say of a label."""

_RATER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_SEVERITY = ("", *map(str, range(len(SEVERITIES))))
_LABEL = ("", *map(str, LABELS.values()))


@dataclass(frozen=True)
class Case:
    """A query with its catalogue: codes, and the ids that they stand for."""

    code: str
    seed: int
    set: int
    query: tuple[str, str]
    images: Mapping[str, str]


@dataclass(frozen=True)
class Key:
    """What the codes of a study stand for; cases by code."""

    study: str
    label: str
    cases: Mapping[str, Case]


@dataclass(frozen=True)
class Rating:
    """What one rater said of one case.

    Attributes
    ----------
    rater : str
    case : str
        Code.
    order : tuple of str
        Codes of the images, the most similar first.
    severity, label : mapping of str to int
        By code, that of the query among them; only those that were given.
    finished : bool
        Whether the rater confirmed the order.
    seconds : int or None
    place : str
        File and line of its first row, for messages.
    """

    rater: str
    case: str
    order: tuple[str, ...]
    severity: Mapping[str, int]
    label: Mapping[str, int]
    finished: bool
    seconds: int | None = field(compare=False, default=None)
    place: str = field(compare=False, default="")


def check_rater(name: str) -> str:
    """Return a rater's name that can be a file's.

    Raises
    ------
    ValueError
        If it has other characters than letters, digits, - and _, or too many.
    """
    if not _RATER.fullmatch(name):
        raise ValueError(f"rater: expected up to 32 letters, digits, - and _, found {name!r}")
    return name


def key_tsv(key: Key) -> Iterator[str]:
    """Write a key, line by line.

    Raises
    ------
    ArtifactError
        If an id holds a tab or line break.
    """
    yield "\t".join(KEY) + "\n"
    for case in key.cases.values():
        images = (("query", *case.query), *(("catalogue", code, name) for code, name in case.images.items()))
        for role, code, name in images:
            cells = (key.study, key.label, case.code, case.seed, case.set, role, code, _text.plain(name))
            yield "\t".join(map(str, cells)) + "\n"


def read_key(path: Path | str) -> Key:
    """Read the key of a study.

    Raises
    ------
    ArtifactError
        If the file breaks a rule of the schema; the message names file and line.
    """
    name, found = _text.lines(path, "the key of a study")
    columns = _text.header(name, found[0].split("\t"), KEY)
    study, label = "", ""
    cases: dict[str, Case] = {}
    images: dict[str, dict[str, str]] = {}
    for line, text in enumerate(_text.whole(name, found)[1:], start=2):
        try:
            cells = _text.cells(text.split("\t"), columns)
            case, code, role = (_text.name(cells, column) for column in ("case", "code", "role"))
            if line == 2:
                study, label = _text.name(cells, "study"), cells["label"]
            if (cells["study"], cells["label"]) != (study, label):
                raise ValueError("another study or label than in line 2")
            place = _text.integer(cells, "seed"), _text.integer(cells, "set")
            if role == "query" and case not in cases:
                images[case] = {}
                cases[case] = Case(case, *place, (code, _text.name(cells, "id")), images[case])
            elif role != "catalogue" or case not in cases or place != (cases[case].seed, cases[case].set):
                raise ValueError(f"case {case}: expected one query before its catalogue, in one set")
            elif code in images[case] or code == cases[case].query[0]:
                raise ValueError(f"code {code} is there twice in case {case}")
            else:
                images[case][code] = _text.name(cells, "id")
        except ValueError as error:
            raise ArtifactError(f"{name}, line {line}: {error}") from None
    if not cases or not all(images.values()):
        raise ArtifactError(f"{name}: expected cases with images, found none")
    return Key(study, label, cases)


def read_export(path: Path | str, key: Key) -> list[Rating]:
    """Read what a rater sent back, the unfinished cases too.

    Parameters
    ----------
    path : Path or str
        ``-`` is stdin.
    key : Key
        Of the study that it must be from.

    Raises
    ------
    SourceError
        If it is of another study, or a row breaks a rule; the message names file and line.
    """
    try:
        name, lines = _text.lines(path, "ratings that a page has saved")
        table = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count), strict=True)
        cases: dict[str, list[tuple[int, dict[str, str]]]] = {}
        rater = ""
        try:
            columns = _text.header(name, [cell.strip() for cell in next(table)], EXPORT)
            for found in table:
                if not any(cell.strip() for cell in found):
                    continue
                row = _text.cells([cell.strip() for cell in found], columns)
                rater = rater or check_rater(row["rater"])
                _check_row(row, key, rater)
                cases.setdefault(row["case"], []).append((table.line_num, row))
        except (ValueError, csv.Error) as error:
            raise SourceError(f"{name}, line {table.line_num}: {error}") from None
    except ArtifactError as error:  # made by people, not by a stage
        raise SourceError(str(error)) from None
    if not cases:
        raise SourceError(f"{name}: holds no ratings")
    return [_rating(name, rows, key.cases[case]) for case, rows in cases.items()]


def _check_row(row: Mapping[str, str], key: Key, rater: str) -> None:
    if row["study"] != key.study:
        raise ValueError(f"is of the study {row['study']!r}, expected {key.study!r}")
    if row["rater"] != rater:
        raise ValueError(f"rater: expected {rater!r} in the whole file, found {row['rater']!r}")
    if row["case"] not in key.cases:
        raise ValueError(f"case: the study has no {row['case']!r}")
    if row["image"] not in key.cases[row["case"]].images:
        raise ValueError(f"image: case {row['case']} has no {row['image']!r}")
    labels = _LABEL if key.label else ("",)
    allowed = {"finished": ("0", "1"), "severity": _SEVERITY, "query_severity": _SEVERITY}
    for column, values in (allowed | {"label": labels, "query_label": labels}).items():
        if row[column] not in values:
            raise ValueError(
                f"{column}: expected {', '.join(filter(None, values)) or 'nothing'}, found {row[column]!r}"
            )
    _text.integer(row, "rank", least=1)
    if row["seconds"]:
        _text.integer(row, "seconds")


def _rating(name: str, rows: Sequence[tuple[int, Mapping[str, str]]], case: Case) -> Rating:
    first, head = rows[0]
    ranks: dict[int, str] = {}
    for line, row in rows:
        for column in ("finished", "query_severity", "query_label", "seconds"):
            if row[column] != head[column]:
                raise SourceError(f"{name}, line {line}: {column}: another one than in line {first}, of the same case")
        if row["image"] in ranks.values():
            raise SourceError(f"{name}, line {line}: case {case.code} has image {row['image']} twice")
        if int(row["rank"]) in ranks:
            raise SourceError(f"{name}, line {line}: case {case.code} has rank {row['rank']} twice")
        ranks[int(row["rank"])] = row["image"]
    if sorted(ranks) != [*range(1, len(case.images) + 1)]:
        raise SourceError(
            f"{name}, line {rows[-1][0]}: case {case.code}: expected the ranks 1 to {len(case.images)}, found "
            f"{', '.join(map(str, sorted(ranks)))}"
        )
    said = [(case.query[0], head["query_severity"], head["query_label"])]
    said += [(row["image"], row["severity"], row["label"]) for _, row in rows]
    return Rating(
        rater=head["rater"],
        case=case.code,
        order=tuple(ranks[rank] for rank in sorted(ranks)),
        severity={code: int(level) for code, level, _ in said if level},
        label={code: int(answer) for code, _, answer in said if answer},
        finished=head["finished"] == "1",
        seconds=int(head["seconds"]) if head["seconds"] else None,
        place=f"{name}, line {first}",
    )


def ranks_of(key: Key, ratings: Iterable[Rating]) -> Iterator[RankRow]:
    """Return ratings as rows of a rank table: by case as the key has them, and by rater."""
    places = {code: place for place, code in enumerate(key.cases)}
    for rating in sorted(ratings, key=lambda rating: (places[rating.case], rating.rater)):
        case = key.cases[rating.case]
        code, query = case.query
        labels = {one: {key.label: answer} for one, answer in rating.label.items()}
        for rank, image in enumerate(rating.order, start=1):
            yield RankRow(
                query=query,
                rater=rating.rater,
                rank=rank,
                id=case.images[image],
                seed=case.seed,
                set=case.set,
                query_severity=rating.severity.get(code),
                severity=rating.severity.get(image),
                query_labels=labels.get(code, {}),
                labels=labels.get(image, {}),
            )
