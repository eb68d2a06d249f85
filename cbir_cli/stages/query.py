"""Who is near whom: the library behind ``cbir query`` and ``cbir explain``."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cbir_cli.allowed import Allowed
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.run import RunRow
from cbir_cli.errors import SourceError
from cbir_cli.splits import SplitRow
from cbir_cli.stages import searchers
from cbir_cli.stages.diversity import Diversity, diverse
from cbir_cli.stages.guards import Filters, Guard
from cbir_cli.where import TEXTS

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Queries:
    """What is asked: vectors (Q, D) float32, their item table, and the source they come from."""

    vectors: np.ndarray
    items: Items
    source: str = ""

    def take(self, rows: np.ndarray | Sequence[int]) -> "Queries":
        """Return some of the queries, in the given order."""
        return Queries(self.vectors[rows], self.items.take(rows), self.source)


@dataclass(frozen=True)
class Wanted:
    """What is asked for besides the k nearest.

    Attributes
    ----------
    filters : Filters
        Who may answer.
    max_distance : float or None
        Results that are farther are left out.
    diversity : Diversity or None
        Results that are unlike each other, in place of the nearest.
    by_position : bool
        Give the results in the order of examination, series and slice, in place of their distance.
    """

    filters: Filters = field(default_factory=Filters)
    max_distance: float | None = None
    diversity: Diversity | None = None
    by_position: bool = False


@dataclass(frozen=True)
class Answer:
    """The results of one query.

    Attributes
    ----------
    query : int
        Row of the query.
    rows : ndarray (k,), int64
        Rows of the index, the first result first.
    distances : ndarray (k,), float32
    seed, set : int or None
        The query's place in a split table.
    """

    query: int
    rows: np.ndarray
    distances: np.ndarray
    seed: int | None = None
    set: int | None = None

    def of(self, places: np.ndarray) -> "Answer":
        """Return the answer with some of its results, in the given order; also those of a mask."""
        return replace(self, rows=self.rows[places], distances=self.distances[places])


@dataclass(frozen=True)
class Part:
    """An index, what is asked of it, and the rows of it that were judged: they answer nothing."""

    index: Index
    queries: Queries
    judged: Sequence[int] = ()


@dataclass(frozen=True)
class Found:
    """Answers, the table that their rows are rows of, and the labels that matter."""

    items: Items
    targets: list[str]
    answers: list[Answer]


def search_part(part: Part, k: int | None, wanted: Wanted, split: Sequence[SplitRow] | None = None) -> Found:
    """Find the k nearest images of each query in one index, within its own catalogue if there is a split table."""
    index, queries, judged = part.index, part.queries, part.judged
    embedding = index.embedding
    if split is not None:
        answers = search_split(index, queries, k, split, wanted, judged)
    else:
        answers = search(index, queries, embedding.items.count if k is None else k, wanted, judged)
    return Found(embedding.items, embedding.space.targets, answers)


def search(
    index: Index, queries: Queries, k: int, wanted: Wanted | None = None, judged: Collection[int] = ()
) -> list[Answer]:
    """Find the k nearest images of each query, or those that are wanted in place of them.

    Parameters
    ----------
    index : Index
    queries : Queries
    k : int
    wanted : Wanted, optional
    judged : collection of int
        Rows of the index that answer no query.

    Raises
    ------
    UsageError, ArtifactError
        If a filter cannot be kept.
    """
    wanted = wanted or Wanted()
    guard = _guard(index, queries, wanted.filters, judged)
    answers = [_Asked(q) for q in range(len(queries.vectors))]
    return _found(index, queries, min(k, max(1, index.embedding.items.count)), wanted, guard, answers)


def search_split(
    index: Index,
    queries: Queries,
    k: int | None,
    split: Sequence[SplitRow],
    wanted: Wanted | None = None,
    judged: Collection[int] = (),
) -> list[Answer]:
    """Rank each query of a split table within its own catalogue.

    Parameters
    ----------
    k : int or None
        All of the catalogue by default.

    Raises
    ------
    SourceError
        If a query or a catalogue image of the table is not there.
    UsageError, ArtifactError
        If a filter cannot be kept.
    """
    wanted = wanted or Wanted()
    numbers = {key: i for i, key in enumerate(queries.items.ids.tolist())}
    places = {key: i for i, key in enumerate(index.embedding.items.ids.tolist())}
    asked: list[_Asked] = []
    for seed, number in dict.fromkeys((row.seed, row.set) for row in split):
        members = [row for row in split if (row.seed, row.set) == (seed, number)]
        rows = [_find(places, row.id, "the index") for row in members if row.role == "catalogue"]
        catalogue = np.unique(np.array(rows, dtype=np.int64))  # one array for all queries of the set
        for row in members:
            if row.role == "query":
                asked.append(_Asked(_find(numbers, row.id, "the query images"), catalogue, seed, number))
    if not asked:
        raise SourceError("the split table names no query")
    guard = _guard(index, queries, wanted.filters, judged)
    most = min(k or len(places), max(1, *(len(one.within) for one in asked if one.within is not None)))
    return _found(index, queries, most, wanted, guard, asked)


def names(items: Items, queries: Queries, answers: Sequence[Answer]) -> set[str]:
    """Return the ids of the queries that have an answer, and of all that they found."""
    asked = {str(queries.items.ids[answer.query]) for answer in answers if len(answer.rows)}
    found = np.unique(np.concatenate([np.empty(0, np.int64), *(answer.rows for answer in answers)]))
    return asked | set(items.cells("_index", found).tolist())


def run_rows(
    items: Items,
    targets: Sequence[str],
    queries: Queries,
    answers: Sequence[Answer],
    probability: Callable[[np.ndarray], np.ndarray] | None = None,
    unlike: Collection[int] = (),
) -> Iterator[RunRow]:
    """Yield the ranked list as rows of a run table, with the labels that the task is about, or all if it has none.

    Parameters
    ----------
    items : Items
        What the rows of the answers are rows of.
    targets : sequence of str
        Labels that the task is about.
    queries : Queries
    answers : sequence of Answer
    probability : callable, optional
        Tells how likely results at some distances are of the query's class.
    unlike : collection of int
        Rows of the queries that are unlike anything in the catalogue.
    """
    names = targets or items.label_names
    of_query = [name for name in names if name in queries.items.label_names]
    for answer in answers:
        query_labels = queries.items.stated(answer.query, of_query)
        ids = items.cells("_index", answer.rows).tolist()
        likely = probability(answer.distances).tolist() if probability else [None] * len(ids)
        found = zip(ids, answer.rows, answer.distances, likely, strict=True)
        for rank, (key, row, distance, chance) in enumerate(found, start=1):
            yield RunRow(
                query=str(queries.items.ids[answer.query]),
                rank=rank,
                id=key,
                distance=float(distance),
                query_labels=query_labels,
                labels=items.stated(int(row), names),
                seed=answer.seed,
                set=answer.set,
                probability=chance,
                unlike=answer.query in unlike,
            )


def finish(items: Items, answers: Sequence[Answer], wanted: Wanted) -> list[Answer]:
    """Leave out what is too far, put the results in the order that is wanted, and say if some queries have none.

    Parameters
    ----------
    items : Items
        What the rows of the answers are rows of.
    answers : sequence of Answer
    wanted : Wanted
    """
    done = list(answers)
    if wanted.max_distance is not None:
        done = [answer.of(answer.distances <= wanted.max_distance) for answer in done]
    if wanted.by_position:
        done = [answer.of(_by_position(items, answer.rows)) for answer in done]
    if empty := sum(not len(answer.rows) for answer in done):  # a run table has no line for them
        log.warning("%d of %d queries have no result: nothing is left that may answer them", empty, len(done))
    return done


@dataclass(frozen=True)
class _Asked:
    """One query, and its catalogue in a split table."""

    query: int
    within: np.ndarray | None = None
    seed: int | None = None
    set: int | None = None


def _guard(index: Index, queries: Queries, filters: Filters, judged: Collection[int]) -> Guard:
    same = bool(queries.source) and queries.source == index.embedding.space.source
    return Guard(index.embedding.items, queries.items, filters, same_source=same, judged=judged)


def _found(
    index: Index, queries: Queries, k: int, wanted: Wanted, guard: Guard, asked: Sequence[_Asked]
) -> list[Answer]:
    order = [one.query for one in asked]

    def allowed(number: int) -> Allowed:
        return guard.allowed(order[number], asked[number].within)

    free = guard.free and all(one.within is None for one in asked)
    vectors = queries.vectors if order == [*range(len(queries.vectors))] else queries.vectors[order]
    depth = max(k, wanted.diversity.pool) if wanted.diversity else k
    depth = min(depth, max(1, index.embedding.items.count))
    opened = searchers.searcher(index)
    distances, rows = opened.search(np.ascontiguousarray(vectors), depth, allowed=None if free else allowed)
    guard.say()
    searchers.say(opened, index.embedding.items.count)
    answers = [
        Answer(one.query, rows[i][there], distances[i][there], one.seed, one.set)
        for i, one in enumerate(asked)
        for there in [rows[i] >= 0]
    ]
    if wanted.diversity:
        metric, vectors = index.embedding.space.similarity, index.embedding.vectors
        answers = [
            near.of(diverse(vectors[near.rows], near.distances, k, weight=wanted.diversity.weight, metric=metric))
            for near in (_near(answer, wanted.max_distance) for answer in answers)
        ]
    return finish(index.embedding.items, answers, wanted)


def _near(answer: Answer, most: float | None) -> Answer:
    return answer if most is None else answer.of(answer.distances <= most)


def _by_position(items: Items, rows: np.ndarray) -> np.ndarray:
    """Return the order of some rows by examination, series and slice; what is not known counts as equal."""
    columns = [
        items.cells(name, rows) if name in TEXTS else items[name][rows]
        for name in ("examination", "study", "series", "part", "position")
        if name in items
    ]
    return np.lexsort((rows, *reversed(columns)))


def _find(places: dict[str, int], key: str, where: str) -> int:
    if key not in places:
        near = [p for p in places if Path(p).stem == Path(key).stem][:1]
        hint = f" (it has {near[0]!r})" if near else ""
        raise SourceError(f"split table: {key!r} is not in {where}{hint}")
    return places[key]
