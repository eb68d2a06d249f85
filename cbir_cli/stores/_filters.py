"""Expressions of ``--where`` and guards in an engine's own language.

Every comparison is written "is known, and compares", as ``cbir_cli.where`` defines it, so ``not`` is plain negation.
Values reach the engine only through ``Language.value``, which quotes or binds them, and columns only as fields of the
collection.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cbir_cli.records import MISSING
from cbir_cli.stores._columns import Column
from cbir_cli.where import Among, And, Compare, Missing, Not, Or, Tree, Value

_FARTHEST = 1 << 40  # beyond every column of at most 32 bits, and within what engines can read


@dataclass(frozen=True)
class Language:
    """How an engine spells what expressions are made of.

    Attributes
    ----------
    equal : str
        ``==`` or ``=``.
    field : callable
        Field to text.
    value : callable
        Value to text, quoted; or a placeholder, when the value is bound.
    among : callable
        Field and values to text.
    never : str
        What is always false.
    """

    equal: str
    field: Callable[[str], str]
    value: Callable[[Value], str]
    among: Callable[[str, Sequence[Value]], str]
    never: str


def write(tree: Tree, columns: Mapping[str, Column], language: Language) -> str:
    """Return an expression in an engine's language; its columns have to be those of the collection."""
    match tree:
        case Not(inner):
            return f"not ({write(inner, columns, language)})"
        case And(parts) | Or(parts):
            word = " and " if isinstance(tree, And) else " or "
            return "(" + word.join(write(part, columns, language) for part in parts) + ")"
        case Missing(name):
            return _missing(name, columns[name], language)
        case Compare(name, operator, value):
            known = _known(name, columns[name], language)  # first: values are bound in the order of the text
            return f"({known} and {_compare(columns[name], operator, value, language)})"
        case Among(name, values, negated):
            column, known = columns[name], _known(name, columns[name], language)
            listed = [v for v in map(_number, values) if isinstance(v, int)] if column.bits else values
            among = language.among(column.field, listed) if listed else language.never
            return f"({known} and {f'not ({among})' if negated else among})"


def _compare(column: Column, operator: str, value: Value, language: Language) -> str:
    if column.bits:
        value = _number(value)
        if isinstance(value, float):  # whole numbers compare with the next whole number; none equals it
            if operator in ("==", "!="):
                return language.never if operator == "==" else f"not ({language.never})"
            value = math.floor(value) if operator in ("<=", ">") else math.ceil(value)
    return f"{language.field(column.field)} {language.equal if operator == '==' else operator} {language.value(value)}"


def _number(value: Value) -> Value:
    """Return a whole number as int, within what engines can read, and any other as float."""
    if isinstance(value, str) or not -_FARTHEST < value < _FARTHEST:
        return value if isinstance(value, str) else int(math.copysign(_FARTHEST, value))
    return int(value) if value == int(value) else value


def _missing(name: str, column: Column, language: Language) -> str:
    field = language.field(column.field)
    if not column.bits:
        return f"{field} {language.equal} {language.value('')}"
    if name == "part":
        return f"{field} < {language.value(0)}"
    return f"{field} {language.equal} {language.value(MISSING)}"


def _known(name: str, column: Column, language: Language) -> str:
    return f"not ({_missing(name, column, language)})"
