"""Which images of an engine may answer a query: guards against finding himself, as expressions that it evaluates.

They leave out what ``cbir query`` on a file leaves out. What has to be known of the catalogue for that (whose image it
is that has the same content, in which studies the patient is) is asked for all queries together.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from cbir_cli.artifacts.index import Index
from cbir_cli.records import MISSING
from cbir_cli.stages import guards
from cbir_cli.stages.query import Queries
from cbir_cli.where import Among, And, Compare, Not, Or, Tree

_ASKED = 1000  # values in one expression


class StoreGuard:
    """What may answer each query, and what is kept away.

    Parameters
    ----------
    store : Store
    index : Index
        As ``stages.store_search.opened`` gives it.
    queries : Queries
    level : str
        What of the query's own is left out: ``none``, ``image``, ``study``, ``patient`` or ``source``, each with the
        ones before it.
    only : str or None
        Nothing but the same ``patient``, ``study`` or ``series`` answers, or the patient's ``earlier`` examinations.
    where : Tree or None
        What every result has to be.
    """

    def __init__(
        self,
        store: Any,
        index: Index,
        queries: Queries,
        *,
        level: str = "patient",
        only: str | None = None,
        where: Tree | None = None,
    ) -> None:
        self._store, self._items, self._level, self._where = store, queries.items, level, where
        self._people = index.embedding.items.pseudonyms == queries.items.pseudonyms
        self._same_source = bool(queries.source) and queries.source == index.embedding.space.source
        self._columns = store.columns()
        self._later = 0
        if level != "none" or only:
            self._read(only)
        self._own = [self._left_out(row) for row in range(len(queries.items.ids))]
        self._among = [_all(where, self._may(row, only) if only else None) for row in range(len(queries.items.ids))]
        self._warn(only)

    def tree(self, query: int) -> Tree | None:
        """Return what a result of a query has to be; None where anything may be one."""
        own = self._own[query]
        return self._among[query] if own is None else _all(self._among[query], Not(own))

    def say(self) -> None:
        """Say how many were kept away, of those that would answer."""
        count = 0
        for (own, among), times in Counter(zip(self._own, self._among, strict=True)).items():
            if own is not None:
                count += times * self._store.count(_all(among, own))
        guards.say(self._level, count, self._later)

    def _read(self, only: str | None) -> None:
        """Ask for the copies of the queries, and for the studies of their patients."""
        names = [name for name in ("patient", "study", "series", "source") if name in self._columns]
        self._copies: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for content, *values in self._rows("content", self._items["content"].tolist(), ("content", *names)):
            for name, value in zip(names, values, strict=True):
                self._copies[content][name].add(value)
        self._studies: dict[str, set[str]] = defaultdict(set)
        everyone = range(len(self._items.ids))
        if self._level in ("patient", "source"):
            patients = set().union(*(self._values(row, "patient") for row in everyone))
            for patient, study in self._rows("patient", patients, ("patient", "study")):
                self._studies[patient].add(study)
        self._examinations: dict[str, set[int]] = defaultdict(set)
        self._visits: dict[str, set[tuple[int, str]]] = defaultdict(set)
        if only == "earlier":
            patients = set().union(*(self._values(row, "patient") for row in everyone))
            for patient, *visit in self._rows("patient", patients, ("patient", "examination", "study")):
                self._visits[patient].add((visit[0], visit[1]))
            studies = set().union(*(self._values(row, "study") for row in everyone))
            for study, examination in self._rows("study", studies, ("study", "examination")):
                self._examinations[study].add(examination)

    def _values(self, row: int, column: str) -> set[str]:
        """Return the patients, studies, series or sources of a query: as its table says, and its copies here."""
        comparable = column == "source" or self._people
        own = {str(self._items[column][row])} if comparable and column in list(self._items) else set()
        copies = self._copies.get(str(self._items["content"][row]), {})
        return {*own, *copies.get(column, ())} - {""}

    def _left_out(self, row: int) -> Tree | None:
        if self._level == "none":
            return None
        content = str(self._items["content"][row])
        parts: list[Tree] = []
        if content and self._level == "image" and "part" in self._columns:
            # Of a file that is one image the part is below 0, which no comparison knows.
            part = int(self._items.parts[row])
            which = Compare("part", "==", part) if part >= 0 else Not(Compare("part", ">=", 0))
            parts.append(And((Among("content", (content,)), which)))
        elif content:
            parts.append(Among("content", (content,)))
        if self._level in ("patient", "source"):
            parts += _among("patient", patients := self._values(row, "patient"))
            parts += _among("study", self._values(row, "study").union(*(self._studies[p] for p in patients)))
        if self._level == "study":
            parts += _among("study", self._values(row, "study"))
        if self._level == "source":
            parts += _among("source", self._values(row, "source"))
        if self._same_source:
            parts += _among("id", {str(self._items.ids[row])})
        return _any(parts)

    def _may(self, row: int, only: str) -> Tree:
        """Return the expression of the same patient, study or series; one that never holds if they are not known."""
        kind = "patient" if only == "earlier" else only
        parts = _among(kind, self._values(row, kind)) if kind in self._columns else []
        content = str(self._items["content"][row])
        if only == "series" and content and self._items.parts[row] >= 0:
            parts += _among("content", {content})  # the slices of one file
        same = _any(parts) or Among("id", ())
        if only != "earlier":
            return same
        known = set().union(*(self._examinations[study] for study in self._values(row, "study")))
        known = {examination for examination in known if examination != MISSING}
        if known:
            guards.check_order(set().union(*(self._visits[patient] for patient in self._values(row, kind))))
        self._later += not known
        return And((same, Compare("examination", "<", min(known)))) if known else same

    def _warn(self, only: str | None) -> None:
        guards.warn(
            self._level,
            only,
            sources=lambda: self._store.record()["sources"] and self._items.stated_anywhere("source"),
            apart=lambda: (
                not self._people and self._store.record()["patients"] and self._items.stated_anywhere("patient")
            ),
        )

    def _rows(self, column: str, values: Collection[str], columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        listed = sorted(set(values) - {""})
        for start in range(0, len(listed), _ASKED):
            yield from self._store.rows(Among(column, tuple(listed[start : start + _ASKED])), columns)


def _among(column: str, values: Collection[str]) -> list[Tree]:
    known = tuple(sorted(set(values) - {""}))
    return [Among(column, known)] if known else []


def _any(parts: list[Tree]) -> Tree | None:
    return None if not parts else parts[0] if len(parts) == 1 else Or(tuple(parts))


def _all(first: Tree | None, second: Tree | None) -> Tree | None:
    return And((first, second)) if first and second else first or second
