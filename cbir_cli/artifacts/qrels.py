"""Qrels: which images are relevant to a query, and how much, as text in TREC's form.

Written by ``evaluate --format qrels``; read by ``evaluate --qrels``, trec_eval, ir_measures and ranx. A line for each
judged image, without header: ``query 0 id grade``, between blanks. Queries and ids are spelt as in a TREC run:
``seed:set:query`` with a split table, blanks and percent signs as in URLs.

The grade is an integer, larger for the more relevant. 0 is not relevant. Below 0 is not judged, which counts as not
relevant too, as does an image that is not listed. A query and an id stand together once.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from cbir_cli.artifacts import _text, _trec
from cbir_cli.errors import ArtifactError, SourceError
from cbir_cli.ranked_lists import Key

_GRADE = re.compile(r"[+-]?[0-9]{1,9}")

Qrels = dict[Key, dict[str, int]]
"""Grade of each judged image, for each query."""


def lines(rows: Iterable[tuple[Key, str, int]]) -> Iterator[str]:
    """Write query, image and grade, line by line.

    Raises
    ------
    ArtifactError
        If a name is empty or not valid Unicode.
    """
    last, query = None, ""
    for key, image, grade in rows:
        if key != last:
            last, query = key, _trec.query(key)
        yield f"{query} 0 {_trec.name(image)} {grade}\n"


def read_qrels(path: Path | str) -> Qrels:
    """Read qrels.

    Parameters
    ----------
    path : Path or str
        ``-`` is stdin.

    Returns
    -------
    dict of Key to dict of str to int
        Grades of at least 0, in the order of the file; what is not judged is left out.

    Raises
    ------
    SourceError
        If a line has not four columns or no integer as grade, or an image is judged twice; the message names the line.
    """
    try:
        name, found = _text.lines(path, "qrels")
    except ArtifactError as error:
        raise SourceError(str(error)) from None
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    for number, line in enumerate(found, start=1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != 4 or not _GRADE.fullmatch(cells[3]):
            what = f"a grade that is an integer, found {cells[3][:40]!r}" if len(cells) == 4 else f"found {line[:60]!r}"
            raise SourceError(f"{name}, line {number}: expected query 0 id grade, {what}")
        query, _, image, grade = cells
        if image in (its := judged[query]):
            raise SourceError(f"{name}, line {number}: query {query!r} has the image {image!r} twice")
        its[image] = int(grade)
    return {
        _trec.key(query): {unquote(image): grade for image, grade in its.items() if grade >= 0}
        for query, its in judged.items()
    }
