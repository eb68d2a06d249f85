"""From ranked lists to an explanation artifact: the library behind ``cbir explain``."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cbir_cli import classes, registry
from cbir_cli.artifacts import explanation, history
from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.explanation import IMPORTANCE, ON_QUERY, ON_RESULT, UNCERTAINTY, Classes, Explanation
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ShapeError, SourceError
from cbir_cli.stages import negatives
from cbir_cli.stages.encoders import Encoder
from cbir_cli.stages.pictures import Pictures
from cbir_cli.stages.query import Answer, Queries

_TOGETHER = 64
"""Pairs that a method is given at a time: bounds memory."""

_GIVEN = ("references",)
"""Parameters of methods that are images for each pair, and come from the stage, not from ``--set``."""

_RETURNED = ((ON_QUERY, IMPORTANCE), (ON_RESULT, IMPORTANCE), (ON_QUERY, UNCERTAINTY), (ON_RESULT, UNCERTAINTY))
"""What the arrays are that a method returns, in their order; the last two are not there unless it knows them."""

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Pairs:
    """What is explained: P pairs of images.

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

    @property
    def themselves(self) -> bool:
        """Whether queries are explained with themselves."""
        return bool(len(self.rank)) and not self.rank.any()


@dataclass(frozen=True)
class Method:
    """A similarity explainer with its parameters.

    Attributes
    ----------
    name : str
    explain : callable
        See ``cbir_cli/similarity``.
    parameters : mapping
    given : mapping of str to (ndarray (R, S, S[, 3]), ndarray (P, n))
        Parameters that hold n images for each pair: distinct images, and which of them go with a pair.
    """

    name: str
    explain: Callable[..., Sequence[np.ndarray]]
    parameters: Mapping[str, Any]
    given: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def maps(self, encoder: Encoder, pairs: Pairs) -> Iterator[tuple[int, int, int, np.ndarray]]:
        """Yield the number of a pair, on which image, what it is, and the map (S, S) float32, pair by pair.

        Raises
        ------
        ShapeError
            If the method does not return two or four stacks of maps.
        """
        sides = (ON_RESULT,) if pairs.themselves else (ON_QUERY, ON_RESULT)
        for start in range(0, len(pairs.query), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            images = pairs.query_pixels[pairs.query[some]], pairs.result_pixels[pairs.result[some]]
            given = {name: pixels[rows[some]] for name, (pixels, rows) in self.given.items()}
            stacks = self.explain(encoder, *images, **self.parameters, **given)
            if len(stacks) not in (2, 4) or {stack.shape for stack in stacks} != {images[0].shape[:3]}:
                raise ShapeError(f"method {self.name} returned {[stack.shape for stack in stacks]}")
            for number in range(len(images[0])):
                for stack, (on, what) in zip(stacks, _RETURNED, strict=False):
                    if on in sides:
                        yield start + number, on, what, stack[number]


def choose(name: str, settings: Sequence[str], measures: Mapping[str, Any]) -> tuple[Method | None, dict[str, Any]]:
    """Return a method with its parameters, and what is set of how it is measured.

    Parameters
    ----------
    name : str
        A module of ``similarity/``, or ``none``.
    settings : sequence of str
        ``KEY=VALUE``; ``measure.KEY=VALUE`` for those of the measures.
    measures : mapping
        What can be set of the measures, and the defaults; nothing where nothing is measured.

    Raises
    ------
    UsageError
        If there is no such method, or a parameter is unknown or has another type.
    """
    explain = registry.load("similarity", name).explain if name != "none" else None
    own = {key: value for key, value in registry.parameters(explain).items() if key not in _GIVEN} if explain else {}
    known = {**own, **{f"measure.{key}": value for key, value in measures.items()}}
    chosen = {**known, **registry.settings(settings, known, f"method {name}")}
    parameters = {key: value for key, value in chosen.items() if key in own}
    measured = {key.removeprefix("measure."): value for key, value in chosen.items() if key not in own}
    return Method(name, explain, parameters) if explain else None, measured


def pairs_of_answers(index: Index, queries: Queries, answers: Sequence[Answer], pictures: Pictures) -> Pairs:
    """Return every query with each of its results; an image that is in several pairs is loaded once."""
    found = [
        (answer, rank, int(row), float(distance))
        for answer in answers
        for rank, (row, distance) in enumerate(zip(answer.rows, answer.distances, strict=True), 1)
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
    )


def pairs_of_themselves(queries: Queries, pictures: Pictures) -> Pairs:
    """Return every query with itself, as the result of rank 0."""
    items = queries.items.take(np.arange(len(queries.items.ids)))
    pixels, rows = pictures.load(pictures.queries, items), np.arange(len(items.ids), dtype=np.int32)
    none = np.full(len(rows), -1, np.int32)
    distance = np.zeros(len(rows), np.float32)
    return Pairs(items, items, pixels, pixels, rows, rows, np.zeros_like(rows), distance, none, none)


def with_references(method: Method, index: Index, pairs: Pairs, pictures: Pictures) -> Method:
    """Return a method with the images of another label that its variant compares each pair with, if it does.

    Raises
    ------
    SourceError
        If the index has too few such images, or a query that is explained with itself is not in it.
    """
    count = negatives.needed(method.name, method.parameters)
    if not count:
        return method
    items, targets = index.embedding.items, index.embedding.space.targets
    places = {key: row for row, key in enumerate(items.ids.tolist())}
    drawn = []
    for query, result in zip(pairs.query, pairs.result, strict=True):
        key = str(pairs.results.ids[result])
        if key not in places:
            raise SourceError(f"{key}: is not in the index, so nothing says which images have another label")
        drawn.append(negatives.draw(items, targets, places[key], str(pairs.queries.ids[query]), count))
    against = {row: place for place, row in enumerate(dict.fromkeys(row for rows in drawn for row in rows))}
    pixels = pictures.load(pictures.results, items.take(list(against)))
    rows = np.array([[against[row] for row in some] for some in drawn], np.intp).reshape(-1, count)
    return replace(method, given={"references": (pixels, rows)})


def explain_pairs(pairs: Pairs, encoder: Encoder, method: Method | None, space: Space, fingerprint: str) -> Explanation:
    """Explain every pair.

    Parameters
    ----------
    pairs : Pairs
    encoder : Encoder
    method : Method or None
        None for the images alone.
    space, fingerprint : Space, str
        Of the index.

    Returns
    -------
    Explanation
        Maps that are zero everywhere are not in it. Queries that were explained with themselves have the averages of
        their classes beside them.
    """
    size = pairs.query_pixels.shape[1]
    stored: list[np.ndarray] = []
    scale: list[np.float32] = []
    places: list[tuple[int, int, int]] = []
    sums = _Averages(pairs, space.targets) if pairs.themselves and method else None
    for number, on, what, image_map in method.maps(encoder, pairs) if method else ():
        if image_map.any():
            half, magnitude = as_stored(image_map)
            stored.append(half)
            scale.append(magnitude)
            places.append((number, on, what))
        if sums and what == IMPORTANCE:
            sums.add(number, image_map)
    where = np.array(places, np.int32).reshape(-1, 3)
    return Explanation(
        query_images=_levels(pairs.query_pixels),
        queries=pairs.queries,
        result_images=_levels(pairs.result_pixels),
        results=pairs.results,
        **{name: getattr(pairs, name) for name in ("query", "result", "rank", "distance", "seed", "set")},
        maps=np.stack(stored) if stored else np.empty((0, size, size), np.float16),
        scale=np.array(scale, np.float32),
        map_pair=where[:, 0],
        map_on=where[:, 1].astype(np.int8),
        map_what=where[:, 2].astype(np.int8),
        method=method.name if method else "none",
        parameters=dict(method.parameters) if method else {},
        encoder=space.encoder,
        similarity=space.similarity,
        targets=space.targets,
        index=fingerprint,
        classes=sums.classes() if sums else None,
    )


def as_stored(image_map: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Return a map divided by its largest magnitude, float16, and that magnitude; an all-zero map stays all zero."""
    magnitude = np.float32(np.abs(image_map).max())
    return (image_map / (magnitude or np.float32(1))).astype(np.float16), magnitude


def table(made: Explanation) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the pairs of an explanation as columns and rows of text, with the areas of measured maps."""
    from cbir_cli.metrics.explanation import deletion, insertion

    measured = made.measures
    curves = (
        {"insertion": (insertion, measured.insertion), "deletion": (deletion, measured.deletion)} if measured else {}
    )
    areas = {name: metric.score(values) for name, (metric, values) in curves.items() if values is not None}
    places = zip(made.map_pair[made.importance], made.map_on[made.importance], strict=True)
    rows = {place: row for row, place in enumerate(places)}
    sides = [side for side in (ON_QUERY, ON_RESULT) if any(on == side for _, on in rows)]
    spelt = [
        (f"{name} on {('query', 'result')[side]}" if len(sides) > 1 else name, side, found)
        for name, found in areas.items()
        for side in sides
    ]
    lines = []
    for pair, (query, result) in enumerate(zip(made.query, made.result, strict=True)):
        ids = str(made.queries.ids[query]), str(made.results.ids[result])
        cells = (f"{found[rows[pair, side]]:.3f}" if (pair, side) in rows else "" for _, side, found in spelt)
        lines.append((ids[0], str(made.rank[pair]), ids[1], f"{made.distance[pair]:.4g}", *cells))
    return ("query", "rank", "id", "distance", *(name for name, _, _ in spelt)), lines


def write(output: str, made: Explanation, before: Sequence[history.Entry]) -> None:
    """Write an explanation artifact with its history."""
    how: dict[str, Any] = {"method": made.method, **made.parameters}
    if made.measures:
        how["measures"] = made.measures.parameters
    if made.classes:
        how["self"] = True
    entry = history.entry("explain", how, inputs={"index": made.index})
    explanation.write(output, made, history=history.join(before, [entry]))


class _Averages:
    """Adds up the images and the maps of each class."""

    def __init__(self, pairs: Pairs, targets: Sequence[str]) -> None:
        items = pairs.queries
        labels = classes.labels_of(items, targets)
        self._classes = [classes.of(items.stated(row, labels), labels) for row in range(len(items.ids))]
        self._names = [name for name in classes.names(labels) if any(name in own for own in self._classes)]
        if not self._names:
            log.info("no query states a label of the task: the average is that of all images")
            self._names, self._classes = [classes.ALL], [[classes.ALL]] * len(items.ids)
        self._pixels = pairs.result_pixels
        self._images = np.zeros((len(self._names), *self._pixels.shape[1:]))
        self._maps = np.zeros((len(self._names), *self._pixels.shape[1:3]))
        self._count = np.zeros(len(self._names), np.int32)

    def add(self, row: int, image_map: np.ndarray) -> None:
        """Count one image with its map."""
        for name in self._classes[row]:
            place = self._names.index(name)
            self._images[place] += self._pixels[row]
            self._maps[place] += image_map
            self._count[place] += 1

    def classes(self) -> Classes:
        """Return the averages."""
        images, maps = (sums / self._count.reshape(-1, *[1] * (sums.ndim - 1)) for sums in (self._images, self._maps))
        return Classes(self._names, _levels(images), maps.astype(np.float32), self._count)


def _levels(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * 255).astype(np.uint8)
