"""The queries of a reading study and the catalogue of each: drawn from an index, or those of a split table."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir_cli import splits
from cbir_cli.artifacts import items
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.reading import content_of
from cbir_cli.records import Flow, Record, images
from cbir_cli.splits import SplitRow
from cbir_cli.stages import pictures
from cbir_cli.stages import split as splitting
from cbir_cli.stages.guards import Filters, Guard
from cbir_cli.stages.query import Queries

log = logging.getLogger("cbir")

MOST = 50
"""Images in a catalogue: nobody puts more into an order by looking at them."""


@dataclass(frozen=True)
class Asked:
    """The query images of a study: their item table, the file of each id, and the source they come from."""

    items: Items
    paths: Mapping[str, Path]
    source: str = ""


@dataclass(frozen=True)
class Drawn:
    """Queries with their catalogues.

    Attributes
    ----------
    rows : list of SplitRow
        As they were drawn or given.
    sets : list of (int, int, str, list of str)
        Seed, set, query and the images that may answer it.
    """

    rows: list[SplitRow]
    sets: list[tuple[int, int, str, list[str]]]


def asked_of(records: Sequence[Record], hide: Pseudonyms, source: str, split: Sequence[SplitRow] | None) -> Asked:
    """Return the query images of a source; with a split table only those that it names as queries."""
    if split is not None:
        wanted = {row.id for row in split if row.role == "query"}
        records = [record for record in records if record.id in wanted]
    table = items.from_records(records, [content_of(record) for record in records], hide)
    return Asked(table, {record.id: record.path for record in records}, source)


def asked_of_embedding(embedding: Embedding, root: str | None, split: Sequence[SplitRow] | None) -> Asked:
    """Return the query images of an embedding; with a split table only those that it names as queries."""
    queries = Queries(embedding.vectors, embedding.items, embedding.space.source)
    if split is not None:
        wanted = {row.id for row in split if row.role == "query"}
        queries = queries.take(np.flatnonzero([name in wanted for name in embedding.items.ids.tolist()]))
    return Asked(queries.items, pictures.paths_of_queries(queries, root), queries.source)


def label_of(index: Index, chosen: str | None) -> str:
    """Return the label that raters are asked for and catalogues keep the proportion of; empty for none.

    Raises
    ------
    UsageError
        If the index does not have it, or has several and none is chosen.
    """
    names = index.embedding.items.label_names
    if chosen is not None:
        if chosen and chosen not in names:
            raise UsageError(f"--label {chosen}: the index has no such label; it has {', '.join(names) or 'none'}")
        return _writable(chosen)
    aims = [name for name in index.embedding.space.targets if name in names] or names
    if len(aims) > 1:
        raise UsageError(f"which label? give --label, or --label '' for none; there are: {', '.join(aims)}")
    return _writable(aims[0]) if aims else ""


def _writable(label: str) -> str:
    if set(label) & set("=|\t\r\n"):
        raise UsageError(f"label {label!r}: a name with = or | cannot stand in a rank table")
    return label


def draw(
    index: Index,
    asked: Asked,
    *,
    label: str,
    catalogue: int = 10,
    seed: int = 0,
    split: Sequence[SplitRow] | None = None,
    where: str | None = None,
) -> Drawn:
    """Draw a catalogue for each query, or take those of a split table.

    Parameters
    ----------
    index : Index
    asked : Asked
    label : str
        Catalogues keep its proportion in the index, and leave out images of which it is uncertain or not stated; if
        empty, the images come as they fall.
    catalogue : int
        Images in each.
    seed : int
        Draws them.
    split : sequence of SplitRow, optional
        Take these instead.
    where : str, optional
        Only images of which this holds.

    Raises
    ------
    SourceError
        If images do not suffice, or one of the table is not there.
    UsageError
        If there are more images than anyone can rank.
    """
    same = bool(asked.source) and asked.source == index.embedding.space.source
    table, filters = index.embedding.items, Filters(where)
    guard = Guard(table, asked.items, filters, same_source=same)
    keys = table.ids.tolist()
    places = {name: row for row, name in enumerate(keys)}
    numbers = {name: place for place, name in enumerate(asked.items.ids.tolist())}

    def allowed(query: str, within: np.ndarray | None = None) -> set[str]:
        return {keys[row] for row in guard.allowed(numbers[query], within).rows(table.count)}

    if split is None:
        rows = _drawn(table, filters, list(numbers), allowed, label, catalogue, seed)
    else:
        rows = _given(split, set(keys), set(numbers))
    sets = []
    for one in dict.fromkeys((row.seed, row.set) for row in rows):
        members = [row for row in rows if (row.seed, row.set) == one]
        within = np.array(sorted(places[row.id] for row in members if row.role == "catalogue"), dtype=np.int64)
        for query in (row.id for row in members if row.role == "query"):
            free = allowed(query, within)
            found = [row.id for row in members if row.role == "catalogue" and row.id in free]
            if not 2 <= len(found) <= MOST:
                raise UsageError(f"{query}: expected a catalogue of 2 to {MOST} images to rank, found {len(found)}")
            sets.append((*one, query, found))
    if split is not None:
        guard.say()
    return Drawn(rows, sets)


def _drawn(
    table: Items,
    filters: Filters,
    queries: list[str],
    allowed: Callable[[str], set[str]],
    label: str,
    catalogue: int,
    seed: int,
) -> list[SplitRow]:
    records = table.records()
    if (some := filters.rows(table)) is not None:
        records = [records[row] for row in some]
    if not records:
        raise SourceError("no image of the index is left to draw catalogues from")
    if label:
        pool = splitting.pool_of(records, Flow(read=len(records)), task=None, label=label)
    else:
        names = [record.id for record in records]
        pool = splitting.Pool(names, [0] * len(names), [r.patient or r.id for r in records], list(records))
    own = [set(pool.ids) - allowed(query) for query in queries]
    if label:
        log.info("catalogues of %d from %s, %d with %s", catalogue, images(len(pool.ids)), sum(pool.labels), label)
    columns = pool.ids, pool.labels, pool.patients
    return splits.catalogues_for(queries, own, *columns, catalogue=catalogue, seed=seed, stratify=bool(label))


def _given(split: Sequence[SplitRow], there: set[str], asked: set[str]) -> list[SplitRow]:
    places = {(row.seed, row.set) for row in split if row.role == "query"}
    rows = [row for row in split if (row.seed, row.set) in places and row.role in ("query", "catalogue")]
    if not rows:
        raise SourceError("the split table names no query")
    for row in rows:
        if row.id not in (asked if row.role == "query" else there):
            where = "the query images" if row.role == "query" else "the index"
            raise SourceError(f"split table: {row.id!r} is not in {where}")
    return rows


def contents_of(index: Index, asked: Asked, drawn: Drawn) -> dict[str, str]:
    """Return the content hash of each image of a study, with its role before its id."""
    named = {f"query {name}": text for name, text in zip(asked.items.ids, asked.items["content"], strict=True)}
    table = index.embedding.items
    named |= {f"catalogue {name}": text for name, text in zip(table.ids, table["content"], strict=True)}
    used = {f"query {query}" for _, _, query, _ in drawn.sets}
    used |= {f"catalogue {name}" for *_, catalogue in drawn.sets for name in catalogue}
    return {name: str(named[name]) for name in sorted(used)}
