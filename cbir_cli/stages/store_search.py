"""Asking a catalogue in an engine: the library behind ``cbir query --uri``.

An engine's candidates are ordered by the distances of a file's index, computed from the vectors that come with them.
"""

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from cbir_cli import where_grammar
from cbir_cli.artifacts.embeddings import Embedding, Space
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import CbirError
from cbir_cli.stages import searchers
from cbir_cli.stages.guards import Filters
from cbir_cli.stages.query import Answer, Found, Queries, Wanted, finish
from cbir_cli.stages.store_guard import StoreGuard
from cbir_cli.stores._columns import ID, Column

log = logging.getLogger("cbir")

_SPARE = 16  # candidates beyond those that are wanted: an engine rounds otherwise where two are as far
_TOGETHER = 64  # queries without a filter of their own that are sent at once


def opened(store: Any) -> Index:
    """Return a collection as an index without rows: its space, its columns, and whose patients they are.

    Raises
    ------
    CbirError
        If there is no such collection (the message names those that are there), or it is not whole.
    """
    record = store.record()
    if record is None:
        there = store.names()
        known = f"there are {', '.join(there[:10])}" if there else "there is none"
        raise CbirError(f"{store.where}: there is no such collection; {known}")
    if not store.whole():
        raise CbirError(
            f"{store.where}: the collection is not complete ({store.count(None):,} of {record['count']:,} vectors): "
            "go on with the cbir index that began it"
        )
    space = Space(**record["space"])
    empty = Items(np.empty(0, "U1"), {n: _column([], c) for n, c in _described(store)}, record["pseudonyms"])
    vectors = np.empty((0, record["width"]), np.float32)
    embedding = Embedding(vectors, empty, space, None, {}, record["embedding"], record["history"], store.where)
    return Index(embedding, "exact", {"metric": space.similarity}, {})


def check_filters(store: Any, index: Index, filters: Filters) -> None:
    """Refuse filters that cannot be, before anything is computed.

    Raises
    ------
    UsageError
        As ``Filters.check`` does.
    """
    if filters.only == "series" and store.record()["parts"]:  # the slices of a file are one
        filters = replace(filters, exclude=filters.level, only="study")
    filters.check(index.embedding.items)


def search(store: Any, index: Index, queries: Queries, k: int, wanted: Wanted) -> Found:
    """Find the k nearest images of each query.

    Parameters
    ----------
    store : Store
    index : Index
        As ``opened`` gave it.
    queries : Queries
    k : int
    wanted : Wanted
        All but diversity.

    Returns
    -------
    Found
        With a table of the results alone.

    Raises
    ------
    CbirError
        If the engine fails, or the queries are of another width than the collection.
    """
    width, asked = index.embedding.vectors.shape[1], queries.vectors.shape[1]
    if width != asked:
        raise CbirError(f"{store.where}: holds vectors of {width} values, the query has {asked}")
    filters = wanted.filters
    tree = None if filters.where is None else where_grammar.parse(filters.where, index.embedding.items)
    if tree is not None:
        log.info("--where: %d of %d images", store.count(tree), store.record()["count"])
    guard = StoreGuard(store, index, queries, level=filters.level, only=filters.only, where=tree)
    results = _Results(store, index)
    trees = [guard.tree(row) for row in range(len(queries.items.ids))]
    wide = k if k > store.largest_k else min(store.largest_k, k + _SPARE)
    start = 0
    while start < len(trees):
        stop = start + 1
        while stop < len(trees) and stop - start < _TOGETHER and trees[stop] == trees[start]:
            stop += 1
        vectors = np.ascontiguousarray(queries.vectors[start:stop])
        for row, candidates in enumerate(store.search(vectors, wide, trees[start]), start=start):
            results.add(row, vectors[row - start], k, *candidates)
        start = stop
    guard.say()
    items, answers = results.sorted()
    return Found(items, index.embedding.space.targets, finish(items, answers, wanted))


class _Results:
    """The results of all queries, each image once."""

    def __init__(self, store: Any, index: Index) -> None:
        self._store, self._index = store, index
        self._rows: dict[str, int] = {}
        self._cells: dict[str, list[Any]] = {name: [] for name in index.embedding.items}
        self._answers: list[Answer] = []

    def add(
        self, query: int, vector: np.ndarray, k: int, ids: list[str], vectors: np.ndarray, columns: dict[str, list[Any]]
    ) -> None:
        """Order the candidates of a query as an exact search of a file would, and keep the first k."""
        order = np.argsort(np.array(ids, dtype=np.str_), kind="stable") if ids else np.empty(0, np.int64)
        rows, distances = np.empty(0, np.int64), np.empty(0, np.float32)
        if ids:
            near = np.ascontiguousarray(vectors[order])
            metric = self._index.embedding.space.similarity
            found, places = searchers.exactly(near, metric).search(
                np.ascontiguousarray(vector[None], dtype=np.float32), min(k, len(ids))
            )
            rows, distances = order[places[0]], found[0]
        for row in rows.tolist():
            if ids[row] not in self._rows:
                self._rows[ids[row]] = len(self._rows)
                for name, cells in self._cells.items():
                    cells.append(columns[name][row])
        self._answers.append(Answer(query, np.array([self._rows[ids[r]] for r in rows], np.int64), distances))

    def sorted(self) -> tuple[Items, list[Answer]]:
        """Return the table of what was found, sorted by id as that of an index is, and the answers with its rows."""
        ids = np.array(list(self._rows), dtype=np.str_)
        columns = {name: _column(self._cells[name], column) for name, column in _described(self._store)}
        order = np.argsort(ids, kind="stable")
        places = np.argsort(order)
        items = Items(ids, columns, self._index.embedding.items.pseudonyms).take(order)
        return items, [replace(answer, rows=places[answer.rows]) for answer in self._answers]


def _described(store: Any) -> list[tuple[str, Column]]:
    """Return the columns of a collection that an item table has."""
    return [(name, column) for name, column in store.columns().items() if name != ID]


def _column(cells: list[Any], column: Column) -> np.ndarray:
    return np.array(cells, dtype=f"i{column.bits // 8}" if column.bits else np.str_)
