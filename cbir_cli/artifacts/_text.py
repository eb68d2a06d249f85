"""Lines, headers and cells: what the readers and writers of text tables share.

Functions on single cells raise ValueError; the readers add file and line to it.
"""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cbir_cli.errors import ArtifactError

SET_COLUMNS = ("seed", "set")


def text(path: Path | str, what: str, name: str = "") -> tuple[str, str]:
    """Return a text file's name for messages and what it holds, its lines ended by line feeds.

    The name is that of the path, unless one is given.

    Raises
    ------
    ArtifactError
        If the file cannot be read, is empty, or is not UTF-8.
    """
    name = "stdin" if (name or str(path)) == "-" else name or str(path)
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        found = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ArtifactError(f"{name}: expected {what}, found data that is not UTF-8 text") from None
    if not found or found.isspace():
        raise ArtifactError(f"{name}: expected {what}, found an empty file")
    return name, found.replace("\r\n", "\n")


def lines(path: Path | str, what: str, name: str = "") -> tuple[str, list[str]]:
    """Return a text file's name for messages and its lines; the last item is empty if the last line is ended.

    As ``text``.
    """
    name, found = text(path, what, name)
    return name, split(found)


def split(found: str) -> list[str]:
    """Return the lines of a text: only line feeds end one, where str.splitlines would split at more."""
    return found.split("\n")  # file names may hold the others


def whole(name: str, found: list[str]) -> list[str]:
    """Return the lines without the empty last one; a last line that is not ended may be cut in mid-cell.

    Raises
    ------
    ArtifactError
        If the last line has no line feed.
    """
    if found[-1]:
        raise ArtifactError(f"{name}, line {len(found)}: the last line is not ended, so the file may be cut off")
    return found[:-1]


def header(name: str, found: Sequence[str], needed: Sequence[str], optional: Sequence[str] = ()) -> list[str]:
    """Check a table's columns: all that are needed, all or none of the optional ones, nothing else, any order.

    Raises
    ------
    ArtifactError
        Naming the first column that is lacking or wrong.
    """
    wanted = [*needed, *(optional if set(optional) & set(found) else ())]
    lacking = [column for column in wanted if column not in found]
    wrong = [column for i, column in enumerate(found) if column not in wanted or column in found[:i]]
    if lacking or wrong:
        problem = f"no column {lacking[0]!r}" if lacking else f"column {wrong[0]!r}"
        extra = f" (and {' '.join(optional)})" if optional else ""
        raise ArtifactError(f"{name}, line 1: expected the columns {' '.join(needed)}{extra}, found {problem}")
    return list(found)


def cells(found: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Name the cells of one line."""
    if len(found) != len(columns):
        raise ValueError(f"expected {len(columns)} columns, found {len(found)}")
    return dict(zip(columns, found, strict=True))


def integer(row: Mapping[str, str], column: str, least: int = 0) -> int:
    """Read an integer in plain digits."""
    text = row[column]
    if not re.fullmatch(r"[0-9]+", text) or int(text) < least:
        raise ValueError(f"{column}: expected an integer of at least {least}, found {text!r}")
    return int(text)


def sets(row: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Read seed and set, None where the table has no such columns."""
    return (integer(row, "seed"), integer(row, "set")) if "seed" in row else (None, None)


def name(row: Mapping[str, str], column: str) -> str:
    """Read an id or another name, which cannot be empty."""
    if not row[column]:
        raise ValueError(f"{column}: expected a name, found nothing")
    return row[column]


def finite(text: str | float, column: str) -> float:
    """Read a number that is neither NaN nor infinite."""
    try:
        value = float(text)
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column}: expected a finite number, found {str(text)[:40]!r}")
    return value


def plain(text: str) -> str:
    """Check a name that is written to a tab-separated table.

    Raises
    ------
    ArtifactError
        If it is empty, holds a tab or line break, or is not valid Unicode (a file name in another encoding).
    """
    if not text or "\t" in text or text.splitlines() != [text]:
        raise ArtifactError(f"{text!r} cannot be written to a text table: it is empty or holds a tab or line break")
    return unicode(text)


def unicode(text: str) -> str:
    """Return a name that UTF-8 can hold.

    Raises
    ------
    ArtifactError
        If it cannot: file names in other encodings come as lone surrogates.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ArtifactError(f"{text!r} cannot be written to a text table: it is not valid Unicode") from None
    return text


def number(value: float) -> str:
    """Write a number with nine digits, all that float32 holds.

    Raises
    ------
    ArtifactError
        If it is not finite.
    """
    if not math.isfinite(value):
        raise ArtifactError(f"{value} cannot be written to a text table: expected a finite number")
    return f"{value:.9g}"
