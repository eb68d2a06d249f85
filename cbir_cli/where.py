"""Expressions over the item table, as ``--where`` takes them: the tree that one becomes, and for which rows it holds.

How one is written is in ``where_grammar``. Every comparison with a missing value is false, ``!=`` and ``not in`` too;
``not`` turns true into false and false into true, so ``not age > 50`` holds where the age is missing. Missing are an
empty text, a number that is not stated, and the ``part`` of a file that is one image. Texts are compared by code point.

Whoever translates a tree for another engine, where a comparison with NULL is neither true nor false, writes each
comparison as "is known, and compares".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from cbir_cli.records import MISSING

TEXTS = ("id", "path", "patient", "study", "series", "view", "source", "split", "sex", "seen")
NUMBERS = ("age", "part", "position", "examination")
LABEL = "label:"
"""Columns that can be asked for; labels, which are numbers, are ``label:NAME``."""

Value = str | int | float

_FEW = 16  # values that are compared one by one; more are sorted


@dataclass(frozen=True)
class Compare:
    """One column against a value: ``operator`` is one of ``== != < <= > >=``."""

    column: str
    operator: str
    value: Value


@dataclass(frozen=True)
class Among:
    """Whether a column has one of some values; with ``negated``, whether it is known and has none of them."""

    column: str
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True)
class Missing:
    """Whether the value of a column is not known."""

    column: str


@dataclass(frozen=True)
class Not:
    """The opposite."""

    inner: "Tree"


@dataclass(frozen=True)
class And:
    """All of two or more."""

    parts: tuple["Tree", ...]


@dataclass(frozen=True)
class Or:
    """Any of two or more."""

    parts: tuple["Tree", ...]


Tree = Compare | Among | Missing | Not | And | Or


def evaluate(tree: Tree, columns: Mapping[str, ndarray]) -> ndarray:
    """Return for which rows an expression holds.

    Parameters
    ----------
    tree : Tree
    columns : mapping of str to ndarray (N,)
        Those of ``used``: text, as str or as UTF-8 bytes; integers with ``MISSING``, and ``part`` below 0 for none.

    Returns
    -------
    ndarray (N,), bool
    """
    match tree:
        case Compare(column, operator, value):
            found = columns[column]
            return _COMPARE[operator](found, _like(found, value)) & ~_missing(column, found)
        case Among(column, values, negated):
            found = columns[column]
            there = _among(found, [_like(found, value) for value in values])
            return (~there if negated else there) & ~_missing(column, found)
        case Missing(column):
            return _missing(column, columns[column])
        case Not(inner):
            return ~evaluate(inner, columns)
        case And(parts):
            return _join(np.logical_and, parts, columns)
        case Or(parts):
            return _join(np.logical_or, parts, columns)


def used(tree: Tree) -> set[str]:
    """Return the columns that an expression reads."""
    if isinstance(tree, Not):
        return used(tree.inner)
    if isinstance(tree, And | Or):
        return set().union(*map(used, tree.parts))
    return {tree.column}


_COMPARE: dict[str, Callable[[ndarray, Value | bytes], ndarray]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _join(how: np.ufunc, parts: Iterable[Tree], columns: Mapping[str, ndarray]) -> ndarray:
    """Join the parts one at a time: thousands of them at once would fill the memory."""
    each = (evaluate(part, columns) for part in parts)
    joined = next(each)
    for found in each:
        how(joined, found, out=joined)
    return joined


def _like(column: ndarray, value: Value) -> Value | bytes:
    return value.encode() if isinstance(value, str) and column.dtype.kind == "S" else value


def _among(column: ndarray, values: list[Value | bytes]) -> ndarray:
    if len(values) > _FEW:
        return np.isin(column, values)
    found = np.zeros(len(column), dtype=bool)
    for value in values:
        found |= column == value
    return found


def _missing(name: str, column: ndarray) -> ndarray:
    if column.dtype.kind in "SU":
        return column == _like(column, "")
    return column < 0 if name == "part" else column == MISSING
