"""The grammar of ``--where``: a small one of its own, read by recursive descent; nothing is ever run.

====================================  ==================================================================
``view == 'PA'``                      compares a column and a value: ``== != < <= > >=``, either side first
``40 <= age < 60``                    comparisons in a chain: all have to hold
``sex in ('F', 'M')``, ``not in``     one of some values, or none of them
``age is missing``, ``is not``        whether the value is known
``not``, ``and``, ``or``, ``( )``     the first is the strongest, as in Python
====================================  ==================================================================

Columns: ``id path patient study series view source split sex seen`` are texts, and case counts; ``age part position
examination`` and ``label:NAME`` are numbers. A label's name of other characters than letters, digits and ``_ . -`` is
quoted: ``label:"Pleural Effusion"``. In quotes a backslash makes the next character plain. Patients, studies and series
are compared as the table holds them: stand-ins, unless identifiers were kept. Labels are raw codes: 1 positive, 0
negative, -1 uncertain, or missing. What missing values do is said in ``where``.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import NoReturn

from cbir_cli.errors import UsageError
from cbir_cli.registry import unknown
from cbir_cli.where import LABEL, NUMBERS, TEXTS, Among, And, Compare, Missing, Not, Or, Tree, Value

_LENGTH = 65_536  # of an expression, in characters
_DEPTH = 64  # parentheses and negations in each other
_DIGITS = 15  # of a number: what a float64 holds

_FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_WORDS = frozenset(("and", "or", "not", "in", "is", "missing"))
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<label>label:(?:[\w.\-]+|(?P<quote>["'])(?:\\.|(?!(?P=quote))[^\\])+(?P=quote)))
      | (?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
      | (?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?!\w))
      | (?P<name>[^\W\d]\w*)
      | (?P<sign>==|!=|<=|>=|<|>|\(|\)|,)""",
    re.VERBOSE | re.DOTALL,
)


def parse(text: str, columns: Iterable[str]) -> Tree:
    """Return the tree of an expression.

    Parameters
    ----------
    text : str
    columns : iterable of str
        What the table has: those that cannot be asked for (see the module) are not known here.

    Raises
    ------
    UsageError
        One line that names the place: where the text is no expression, names a column that the table does not have, or
        compares a text with a number; or is longer than 65,536 characters or nested deeper than 64.
    """
    return _Parser(text, columns).whole()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


@dataclass(frozen=True)
class _Column:
    name: str
    token: _Token


@dataclass(frozen=True)
class _Literal:
    value: Value
    token: _Token


class _Parser:
    """One token ahead."""

    def __init__(self, text: str, columns: Iterable[str]) -> None:
        self._text = text
        self._known = [
            name for name in dict.fromkeys(["id", *columns]) if name in (*TEXTS, *NUMBERS) or name.startswith(LABEL)
        ]
        if len(text) > _LENGTH:
            raise UsageError(f"--where: expected at most {_LENGTH:,} characters, found {len(text):,}")
        self._tokens = self._split()
        self._next = next(self._tokens)
        self._depth = 0

    def whole(self) -> Tree:
        tree = self._any()
        if self._next.kind != "end":
            self._wrong("and, or, or the end")
        return tree

    def _split(self) -> Iterator[_Token]:
        place = 0
        while place < len(self._text):
            match = _TOKEN.match(self._text, place)
            if match is None:
                self._refuse(self._hint(place), place)
            kind, start, place = match.lastgroup or "", place, match.end()
            if match["label"]:
                kind = "label"
            if kind == "name" and match[0] in _WORDS:
                kind = "word"
            if kind != "space":
                yield _Token(kind, match[0], start)
        yield _Token("end", "", place)

    def _hint(self, place: int) -> str:
        rest = self._text[place:]
        for wrong, right in {"=": "==", "&": "and", "|": "or", "!": "not"}.items():
            if rest.startswith(wrong):
                return f"expected {right}, found {wrong}"
        if rest.startswith(("'", '"')):
            return "a text that is not ended"
        return "expected a column or a value"

    def _any(self) -> Tree:
        parts = [self._all()]
        while self._takes("or"):
            parts.append(self._all())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _all(self) -> Tree:
        parts = [self._negation()]
        while self._takes("and"):
            parts.append(self._negation())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _negation(self) -> Tree:
        token = self._next
        if not (self._takes("not") or self._takes("(")):
            return self._comparison()
        self._depth += 1
        if self._depth > _DEPTH:
            self._refuse(f"nested deeper than {_DEPTH}", token.start)
        if token.text == "not":
            tree: Tree = Not(self._negation())
        else:
            tree = self._any()
            self._expect(")")
        self._depth -= 1
        return tree

    def _comparison(self) -> Tree:
        left = self._operand()
        if self._takes("is"):
            negated = self._takes("not")
            self._expect("missing")
            missing = Missing(self._column(left))
            return Not(missing) if negated else missing
        if self._next.text in ("in", "not") and self._next.kind == "word":
            negated = self._takes("not")
            self._expect("in")
            return Among(self._column(left), self._list(left), negated)
        parts: list[Tree] = []
        while self._next.text in _FLIPPED and self._next.kind == "sign":
            operator = self._advance()
            right = self._operand()
            parts.append(self._pair(left, operator, right))
            left = right
        if not parts:
            self._wrong("a comparison (== != < <= > >=, in, is missing)")
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _pair(self, left: _Column | _Literal, operator: _Token, right: _Column | _Literal) -> Compare:
        if isinstance(left, _Column) and isinstance(right, _Literal):
            return Compare(left.name, operator.text, self._fitting(left.name, right))
        if isinstance(left, _Literal) and isinstance(right, _Column):
            return Compare(right.name, _FLIPPED[operator.text], self._fitting(right.name, left))
        self._refuse(f"expected a column on one side of {operator.text} and a value on the other", operator.start)

    def _list(self, left: _Column | _Literal) -> tuple[Value, ...]:
        self._expect("(")
        values: list[Value] = []
        while True:
            item = self._operand()
            if isinstance(item, _Column):
                self._refuse("expected a value", item.token.start)
            values.append(self._fitting(self._column(left), item))
            if not self._takes(",") or self._next.text == ")":
                break
        self._expect(")")
        return tuple(values)

    def _operand(self) -> _Column | _Literal:
        token = self._next
        if token.kind == "number":
            return _Literal(self._number(self._advance()), token)
        if token.kind == "text":
            return _Literal(self._unquoted(self._advance(), token.text), token)
        if token.kind == "label":
            name = token.text.removeprefix(LABEL)
            name = self._unquoted(token, name) if name[0] in "'\"" else name
            return self._named(self._advance(), LABEL + name.replace("/", "-"))
        if token.kind == "name":
            return self._named(self._advance(), token.text)
        self._wrong("a column or a value")

    def _named(self, token: _Token, name: str) -> _Column:
        if name not in self._known:
            shown = [n if re.fullmatch(r"[\w.\-]+", n.removeprefix(LABEL)) else _quoted(n) for n in self._known]
            error = unknown("column", name[:60], self._known, shown)
            raise UsageError(f"--where: {error}; a text is quoted")
        return _Column(name, token)

    def _column(self, operand: _Column | _Literal) -> str:
        if isinstance(operand, _Literal):
            self._refuse("expected a column", operand.token.start)
        return operand.name

    def _fitting(self, column: str, literal: _Literal) -> Value:
        """Return the value, if it is of the column's kind."""
        text = isinstance(literal.value, str)
        if text and literal.value == "":
            self._refuse(f"an empty text is a missing one: write {column} is missing", literal.token.start)
        if text != (column in TEXTS):
            holds, wanted = ("numbers", "a number") if text else ("texts", "a text in quotes")
            self._refuse(f"{column} holds {holds}: expected {wanted}", literal.token.start)
        return literal.value

    def _number(self, token: _Token) -> int | float:
        if len(re.sub(r"\D", "", token.text)) > _DIGITS:
            self._refuse(f"a number of more than {_DIGITS} digits", token.start)
        if re.fullmatch(r"[+-]?[0-9]+", token.text):
            return int(token.text)
        value = float(token.text)
        if not isfinite(value):
            self._refuse("a number that is too large", token.start)
        return value

    def _unquoted(self, token: _Token, text: str) -> str:
        value = re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
        if "\0" in value or not _encodes(value):
            self._refuse("a text that is not valid Unicode", token.start)
        return value

    def _advance(self) -> _Token:
        token, self._next = self._next, next(self._tokens)
        return token

    def _takes(self, text: str) -> bool:
        """Go past a word or sign, if it comes next."""
        found = self._next.text == text and self._next.kind in ("word", "sign")
        if found:
            self._advance()
        return found

    def _expect(self, text: str) -> None:
        if not self._takes(text):
            self._wrong(text)

    def _wrong(self, wanted: str) -> NoReturn:
        found = self._next.text[:20] or "the end"
        self._refuse(f"expected {wanted}, found {found}", self._next.start)

    def _refuse(self, what: str, place: int) -> NoReturn:
        before, after = self._text[max(0, place - 20) : place], self._text[place : place + 20]
        said = f"--where: {what}, at character {place + 1}: {before}>>>{after}"
        raise UsageError("".join(c if c.isprintable() else "?" for c in said))


def _quoted(column: str) -> str:
    return f'{LABEL}"{column.removeprefix(LABEL)}"'


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
