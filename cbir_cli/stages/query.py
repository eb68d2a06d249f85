"""Who is near whom: the library behind ``cbir query`` and ``cbir explain``.

By default a query is not answered with himself: the same image (by the content of its file, or by its id in the same
source), the same study, or another image of the same patient. A query that is the same image as one of the index is of
that one's patient and study, whatever it is called.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cbir_cli import registry
from cbir_cli.allowed import Allowed
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.run import RunRow
from cbir_cli.errors import ArtifactError, SourceError
from cbir_cli.splits import SplitRow
from cbir_cli.stages.encoders import open_encoder, reopen
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.networks import Network
from cbir_cli.stages.ssim import Ssim

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Queries:
    """What is asked: vectors (Q, D) float32, their item table, and the source they come from."""

    vectors: np.ndarray
    items: Items
    source: str = ""


@dataclass(frozen=True)
class Answer:
    """The results of one query.

    Attributes
    ----------
    query : int
        Row of the query.
    rows : ndarray (k,), int64
        Rows of the index, nearest first.
    distances : ndarray (k,), float32
    seed, set : int or None
        The query's place in a split table.
    """

    query: int
    rows: np.ndarray
    distances: np.ndarray
    seed: int | None = None
    set: int | None = None


def asked_as(index: Index, compat: str) -> Index:
    """Return the index with ``compat`` in its space: how queries are to be fed, whatever the catalogue was."""
    embedding = index.embedding
    return replace(index, embedding=replace(embedding, space=replace(embedding.space, compat=compat)))


def from_embedding(embedding: Embedding, index: Index) -> Queries:
    """Return the images of an embedding as queries, with a warning if they were fed otherwise than the catalogue.

    Raises
    ------
    ArtifactError
        If they come from another model or preprocessing than the index.
    """
    here, there = embedding.space, index.embedding.space
    if here.fingerprint != there.fingerprint:
        raise ArtifactError(
            f"{embedding.name}: embedded by {here.model_name} ({here.encoder}, space {here.fingerprint[:12]}), "
            f"the index by {there.model_name} ({there.encoder}, space {there.fingerprint[:12]})"
        )
    if there.compat not in ("none", here.compat):
        raise ArtifactError(
            f"{embedding.name}: its vectors are made already, without compat={there.compat}; "
            f"embed its images with --set compat={there.compat}"
        )
    if here.compat != "none":
        log.warning(
            "%s: embedded with compat=%s: its maps were fed otherwise than the catalogue's", embedding.name, here.compat
        )
    return Queries(embedding.vectors, embedding.items, here.source)


def find_encoder(chosen: str | None, index: Index, index_path: str, settings: Settings) -> Network | Ssim:
    """Return the encoder of an index, for what is not yet embedded.

    Tries the model that was named, ``$CBIR_MODEL``, the name that the index remembers beside the index and in the
    working folder, and ``./model.h5``.

    Raises
    ------
    ArtifactError
        If the model that was named is of another space, or none is found; the message says where was looked.
    """
    space = index.embedding.space
    settings = replace(settings, compat=space.compat)
    if built_in := reopen(space, settings):
        if chosen not in (None, space.model_name, space.model_name.partition(":")[0]):
            raise ArtifactError(f"{chosen}: another model than the index was made with ({space.model_name})")
        if built_in.space.fingerprint != space.fingerprint:
            raise ArtifactError(f"{index_path}: {space.model_name} had other weights when the index was made")
        return built_in
    named = chosen or os.environ.get("CBIR_MODEL")
    beside = os.path.join(os.path.dirname(index_path), space.model_name)
    places = [named] if named else list(dict.fromkeys([beside, space.model_name, "model.h5"]))
    for place in places:
        if not named and not os.path.isfile(place):
            continue
        encoder = open_encoder(place, settings)
        if encoder.space.fingerprint == space.fingerprint:
            if not chosen:
                log.info("model: %s", os.path.basename(place) if os.path.isabs(place) else place)
            return encoder
        if named:
            raise ArtifactError(
                f"{place}: another model than the index was made with ({space.model_name}, {space.encoder}, "
                f"space {space.fingerprint[:12]}; this is {encoder.space.encoder}, {encoder.space.fingerprint[:12]})"
            )
    hint = "; for CNN(IG) make it with cbir finetune-ig --epochs 0" if space.encoder == "cnn(ig)" else ""
    raise ArtifactError(
        f"{index_path}: the query needs the model {space.model_name} ({space.encoder}), which is not in "
        f"{', '.join(places)}; give -m FILE{hint}"
    )


def search(index: Index, queries: Queries, k: int, *, same: bool = False) -> list[Answer]:
    """Find the k nearest images of each query.

    Parameters
    ----------
    index : Index
    queries : Queries
    k : int
    same : bool
        Do not leave out the same image, study and patient.
    """
    guard = Guard(index, queries) if not same else None
    k = min(k, max(1, len(index.embedding.items.ids)))
    vectors = np.ascontiguousarray(queries.vectors)
    distances, rows = _searcher(index).search(vectors, k, allowed=guard.allowed if guard else None)
    if guard:
        guard.say()
    return _checked([_answer(q, rows[q], distances[q]) for q in range(len(rows))])


def search_split(index: Index, queries: Queries, k: int | None, split: Sequence[SplitRow]) -> list[Answer]:
    """Rank each query of a split table within its own catalogue.

    Parameters
    ----------
    k : int or None
        All of the catalogue by default.

    Raises
    ------
    SourceError
        If a query or a catalogue image of the table is not there.
    """
    numbers = {key: i for i, key in enumerate(queries.items.ids.tolist())}
    places = {key: i for i, key in enumerate(index.embedding.items.ids.tolist())}
    asked: list[tuple[int, int, int]] = []
    catalogues: list[np.ndarray] = []
    for seed, number in dict.fromkeys((row.seed, row.set) for row in split):
        members = [row for row in split if (row.seed, row.set) == (seed, number)]
        rows = [_find(places, row.id, "the index") for row in members if row.role == "catalogue"]
        catalogue = np.unique(np.array(rows, dtype=np.int64))  # one array for all queries of the set
        for row in members:
            if row.role == "query":
                asked.append((seed, number, _find(numbers, row.id, "the query images")))
                catalogues.append(catalogue)
    if not asked:
        raise SourceError("the split table names no query")
    guard = Guard(index, queries)
    order = [q for _, _, q in asked]

    def allowed(i: int) -> Allowed:
        return guard.allowed(order[i], within=catalogues[i])

    most = min(k or len(places), max(1, *map(len, catalogues)))
    distances, rows_found = _searcher(index).search(np.ascontiguousarray(queries.vectors[order]), most, allowed=allowed)
    guard.say()
    return _checked(
        [_answer(q, rows_found[i], distances[i], seed, number) for i, (seed, number, q) in enumerate(asked)]
    )


def names(index: Index, queries: Queries, answers: Sequence[Answer]) -> set[str]:
    """Return the ids of the queries that have an answer, and of all that they found."""
    asked = {str(queries.items.ids[answer.query]) for answer in answers if len(answer.rows)}
    found = np.unique(np.concatenate([np.empty(0, np.int64), *(answer.rows for answer in answers)]))
    return asked | set(index.embedding.items.ids[found].tolist())


def run_rows(index: Index, queries: Queries, answers: Sequence[Answer]) -> Iterator[RunRow]:
    """Yield the ranked list as rows of a run table, with the labels that the task is about, or all if it has none."""
    items, targets = index.embedding.items, index.embedding.space.targets
    names = targets or items.label_names
    of_query = [name for name in names if name in queries.items.label_names]
    for answer in answers:
        query_labels = queries.items.stated(answer.query, of_query)
        for rank, (row, distance) in enumerate(zip(answer.rows, answer.distances, strict=True), start=1):
            yield RunRow(
                query=str(queries.items.ids[answer.query]),
                rank=rank,
                id=str(items.ids[row]),
                distance=float(distance),
                query_labels=query_labels,
                labels=items.stated(int(row), names),
                seed=answer.seed,
                set=answer.set,
            )


def same(items: Items, others: Items, row: int, *, same_ids: bool) -> np.ndarray:
    """Return which images of a table are the same image as one of another table, or of its study or patient, (N,) bool.

    Parameters
    ----------
    items, others : Items
        Patients and studies are compared where both were hidden with the same key.
    row : int
        Of the second.
    same_ids : bool
        Whether an id names the same image in both.
    """
    content, people = others["content"][row], items.pseudonyms == others.pseudonyms
    found = (items["content"] == content) & (content != "")
    for key in ("patient", "study"):
        known = set(items[key][found].tolist()) | ({others[key][row]} if people else set())
        for value in known - {""}:
            found |= items[key] == value
    if same_ids:
        found |= items.ids == others.ids[row]
    return found


class Guard:
    """Keeps the same image, study and patient from answering, and counts what it kept away."""

    def __init__(self, index: Index, queries: Queries) -> None:
        self._items, self._queries = index.embedding.items, queries.items
        self._same_source = bool(queries.source) and queries.source == index.embedding.space.source
        self._count = 0
        known = (self._items["patient"] != "").any() and (self._queries["patient"] != "").any()
        if known and self._items.pseudonyms != self._queries.pseudonyms:
            log.warning(
                "patients of query and index were hidden with different keys: the same patient cannot be left out"
            )

    def allowed(self, query: int, within: np.ndarray | None = None) -> Allowed:
        """Return which rows of the index may answer a query, among some rows (ascending) or all."""
        own = np.flatnonzero(same(self._items, self._queries, query, same_ids=self._same_source))
        self._count += len(own) if within is None else len(np.intersect1d(own, within))
        return Allowed(within, own)

    def say(self) -> None:
        """Say how many were kept away."""
        if self._count:
            log.info("left out: %d results of the same image, study or patient", self._count)


def _searcher(index: Index):  # type: ignore[no-untyped-def]  # any module of index/
    backend = registry.load("index", index.kind)
    return backend.open(index.embedding.vectors, index.payload, **index.parameters)


def _answer(
    query: int, rows: np.ndarray, distances: np.ndarray, seed: int | None = None, number: int | None = None
) -> Answer:
    there = rows >= 0
    return Answer(query, rows[there], distances[there], seed, number)


def _checked(answers: list[Answer]) -> list[Answer]:
    """Return the answers, and say if some are empty: a run table has no line for them."""
    if empty := sum(not len(answer.rows) for answer in answers):
        log.warning("%d of %d queries have no result: nothing is left that may answer them", empty, len(answers))
    return answers


def _find(places: dict[str, int], key: str, where: str) -> int:
    if key not in places:
        near = [p for p in places if Path(p).stem == Path(key).stem][:1]
        hint = f" (it has {near[0]!r})" if near else ""
        raise SourceError(f"split table: {key!r} is not in {where}{hint}")
    return places[key]
