"""What is explained: queries with their results, or with themselves, and the pixels of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.stages.pictures import Pictures
from cbir_cli.stages.query import Answer, Queries


@dataclass(frozen=True)
class Pairs:
    """P pairs of images.

    Attributes
    ----------
    queries, results : Items
    query_pixels, result_pixels : ndarray (Q, S, S) or (Q, S, S, 3), float32
    query, result : ndarray (P,), int32
        Rows of the two.
    rank : ndarray (P,), int32
        From 1; 0 of a query that is explained with itself.
    distance : ndarray (P,), float32
    seed, set : ndarray (P,), int32
        The query's place in a split table, -1 without one.
    query_hounsfield, result_hounsfield : ndarray (Q, S, S), int16, or None
        The images in Hounsfield units; None where they are no CT.
    """

    queries: Items
    results: Items
    query_pixels: np.ndarray
    result_pixels: np.ndarray
    query: np.ndarray
    result: np.ndarray
    rank: np.ndarray
    distance: np.ndarray
    seed: np.ndarray
    set: np.ndarray
    query_hounsfield: np.ndarray | None = None
    result_hounsfield: np.ndarray | None = None

    @property
    def themselves(self) -> bool:
        """Whether queries are explained with themselves."""
        return bool(len(self.rank)) and not self.rank.any()


def of_answers(
    index: Index,
    queries: Queries,
    answers: Sequence[Answer],
    pictures: Pictures,
    *,
    first: int | None = None,
    last: int = 0,
) -> Pairs:
    """Return every query with its results; an image that is in several pairs is loaded once.

    Parameters
    ----------
    index : Index
    queries : Queries
    answers : sequence of Answer
    pictures : Pictures
    first : int, optional
        How many results from the beginning of each answer; all of them by default.
    last : int
        How many from its end.
    """
    found = [
        (answer, rank, int(row), float(distance))
        for answer in answers
        for rank, (row, distance) in enumerate(zip(answer.rows, answer.distances, strict=True), 1)
        if first is None or rank <= first or rank > len(answer.rows) - last
    ]
    asked = {row: place for place, row in enumerate(dict.fromkeys(answer.query for answer in answers))}
    results = {row: place for place, row in enumerate(dict.fromkeys(row for _, _, row, _ in found))}
    query_items, result_items = queries.items.take(list(asked)), index.embedding.items.take(list(results))
    return Pairs(
        query_items,
        result_items,
        pictures.load(pictures.queries, query_items),
        pictures.load(pictures.results, result_items),
        query=np.array([asked[answer.query] for answer, *_ in found], np.int32),
        result=np.array([results[row] for _, _, row, _ in found], np.int32),
        rank=np.array([rank for _, rank, _, _ in found], np.int32),
        distance=np.array([distance for *_, distance in found], np.float32),
        seed=np.array([-1 if answer.seed is None else answer.seed for answer, *_ in found], np.int32),
        set=np.array([-1 if answer.set is None else answer.set for answer, *_ in found], np.int32),
        query_hounsfield=pictures.hounsfield(pictures.queries, query_items),
        result_hounsfield=pictures.hounsfield(pictures.results, result_items),
    )


def of_themselves(queries: Queries, pictures: Pictures) -> Pairs:
    """Return every query with itself, as the result of rank 0."""
    items = queries.items.take(np.arange(len(queries.items.ids)))
    pixels, rows = pictures.load(pictures.queries, items), np.arange(len(items.ids), dtype=np.int32)
    none = np.full(len(rows), -1, np.int32)
    distance = np.zeros(len(rows), np.float32)
    units = pictures.hounsfield(pictures.queries, items)
    return Pairs(items, items, pixels, pixels, rows, rows, np.zeros_like(rows), distance, none, none, units, units)
