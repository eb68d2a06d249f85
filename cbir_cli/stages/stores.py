"""Catalogues in an engine: loading one, and asking it; the library behind ``--uri`` of ``index`` and ``query``.

A load goes through the rows in the order of their ids, a batch at a time, and sends what the engine does not hold. So
it goes on where it was interrupted, whichever side ended, and the same command is the way to do that. An engine's
candidates are ordered by the distances of a file's index, computed from their vectors.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from cbir_cli import registry, where_grammar
from cbir_cli.artifacts.embeddings import Embedding, Space
from cbir_cli.artifacts.history import Entry
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError, CbirError, UsageError
from cbir_cli.progress import Progress
from cbir_cli.stages.guards import Filters
from cbir_cli.stages.query import Answer, Found, Queries, Wanted, finish
from cbir_cli.stages.store_guard import StoreGuard
from cbir_cli.stores._columns import ID, Column, of_table

log = logging.getLogger("cbir")

_BATCH = 8 << 20  # bytes of vectors sent at once: an eighth of what Milvus takes
_ROWS = 4096
_SPARE = 16  # candidates beyond those that are wanted: an engine rounds otherwise where two are as far
_TOGETHER = 64  # queries without a filter of their own that are sent at once


def kind_of(uri: str, kind: str | None = None) -> str:
    """Return the module of ``stores/`` that a URI belongs to.

    Raises
    ------
    UsageError
        If it is none's, or not that of the kind that is named.
    """
    for name in registry.names("stores"):
        if registry.load("stores", name).recognise(uri):
            if kind and registry.canonical(kind) != name:
                raise UsageError(f"--kind {kind}: the URI is one of {name}")
            return name
    raise UsageError(
        "--uri: expected FILE.db or http://HOST:PORT for Milvus, or postgresql://HOST/DATABASE for pgvector"
    )


def connect(uri: str, collection: str, *, kind: str | None = None, make: bool = False) -> Any:
    """Return the store of a collection.

    Parameters
    ----------
    uri, collection : str
    kind : str, optional
        Which engine it has to be.
    make : bool
        Make what a first load needs: the file, or the extension.
    """
    return registry.load("stores", kind_of(uri, kind)).open(uri, collection, make=make)


def check(stored: Embedding) -> None:
    """Refuse an embedding that is no catalogue.

    Raises
    ------
    ArtifactError
        If it was fed as queries are.
    """
    if stored.space.compat != "none":
        raise ArtifactError(
            f"{stored.name}: embedded with compat={stored.space.compat}, which is for queries; "
            "a catalogue is embedded without it"
        )


def load(
    store: Any, stored: Embedding, history: list[Entry], parameters: Mapping[str, Any], *, replace: bool = False
) -> int:
    """Bring an embedding into a collection; go on if some of it is there.

    Parameters
    ----------
    store : Store
    stored : Embedding
    history : list of dict
        Goes into the collection's record.
    parameters : mapping
        Of the store's ``create``.
    replace : bool
        Remove another catalogue of this name first; else it is refused.

    Returns
    -------
    int
        Vectors that were sent.

    Raises
    ------
    ArtifactError
        If the collection holds another catalogue.
    CbirError
        If the engine fails, or does not hold every vector once at the end.
    """
    items, space = stored.items, stored.space
    columns = of_table(items.ids, items)
    known = store.record()
    wanted = {"embedding": stored.fingerprint, "parameters": dict(parameters)}
    if known is not None and {name: known.get(name) for name in wanted} != wanted:
        if not replace:
            what = "other parameters" if known.get("embedding") == stored.fingerprint else "another embedding"
            raise ArtifactError(
                f"{store.where}: the collection was made of {what}; give another --collection, or --set replace=true"
            )
        store.drop()
        known = None
    if known is None:
        record = {
            **wanted,
            "count": len(items.ids),
            "width": int(stored.vectors.shape[1]),
            "space": asdict(space),
            "pseudonyms": items.pseudonyms,
            "patients": bool((items["patient"] != "").any()),
            "parts": bool((items.parts >= 0).any()),
            "history": history,
        }
        store.create(record, columns, stored.vectors.shape[1], **parameters)
    elif store.whole():
        log.info("%s: is complete: %s vectors", store.where, f"{len(items.ids):,}")
        return 0
    sent = _send(store, stored, resuming=known is not None)
    if (count := store.count(None)) != len(items.ids):
        raise CbirError(f"{store.where}: holds {count:,} vectors, the embedding {len(items.ids):,}")
    store.finish()
    return sent


def _send(store: Any, stored: Embedding, *, resuming: bool) -> int:
    items, sent = stored.items, 0
    order = np.argsort(items.ids, kind="stable")
    if resuming and (there := store.count(None)):
        log.info("%s: %s of %s vectors are there: going on", store.where, f"{there:,}", f"{len(order):,}")
    else:
        resuming = False
    size = max(1, min(_ROWS, _BATCH // (4 * stored.vectors.shape[1])))
    done = Progress(len(order), "vectors")
    try:
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            if resuming:
                there_already = store.present(items.ids[rows].tolist())
                rows = rows[[key not in there_already for key in items.ids[rows].tolist()]]
            if len(rows):
                vectors = np.ascontiguousarray(stored.vectors[rows])
                if not np.isfinite(vectors).all():
                    raise ArtifactError(f"{stored.name}: a vector holds NaN or infinity")
                store.insert(items.ids[rows], vectors, {name: items[name][rows] for name in items})
                sent += len(rows)
            done.advance(min(size, len(order) - start))
    finally:
        done.close()
    return sent


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
        self._backend = registry.load("index", "exact")
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
            searcher = self._backend.open(near, self._backend.build(near, metric=metric), metric=metric)
            found, places = searcher.search(np.ascontiguousarray(vector[None], dtype=np.float32), min(k, len(ids)))
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
