"""Relevance feedback: a query is moved towards images that are liked, and away from others.

    moved = (alpha * query + beta * mean of the liked - gamma * mean of the unliked) / (alpha + beta - gamma)

where beta or gamma is 0 if there is none of its kind. For the cosine every vector is first made one of length 1, as
the paper does. The images that were judged answer no more: they are known already.

Reference
---------
J. J. Rocchio. Relevance feedback in information retrieval. In: G. Salton (ed.), The SMART Retrieval System, 1971.
(Chapter 14. The weights 1, .75 and .15 are those of C. D. Manning, P. Raghavan, H. Schütze, Introduction to Information
Retrieval, 2008, section 9.1.1.)

Differs from the paper
----------------------
The sum is divided by that of the weights, which the cosine does not see and the Euclidean distance needs: without, the
query would also move away from the origin, which means nothing there. Numbers that become negative stay.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.stages.query import Part, Queries
from cbir_cli.stages.relatives import place_of

_AROUND = 50  # ids before and after the place of an unknown one, among which the nearest is looked for


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What was judged, and how much it counts.

    Attributes
    ----------
    liked, unliked : sequence of str
        Ids; a text that is no id itself may hold several with commas between them.
    alpha, beta, gamma : float
        Weights of the query, of the liked and of the unliked images.
    """

    liked: Sequence[str]
    unliked: Sequence[str]
    alpha: float = 1.0
    beta: float = 0.75
    gamma: float = 0.15


def chosen(liked: Sequence[str], unliked: Sequence[str], values: Mapping[str, Any]) -> Feedback | None:
    """Return what was judged, with the weights among some values; None if nothing was.

    Raises
    ------
    UsageError
        If the weights leave nothing of the query.
    """
    if not liked and not unliked:
        return None
    feedback = Feedback(liked=liked, unliked=unliked, **{key: values[key] for key in ("alpha", "beta", "gamma")})
    weights = feedback.alpha, feedback.beta, feedback.gamma
    if not (all(0 <= weight < np.inf for weight in weights) and feedback.alpha > feedback.gamma):
        raise UsageError(
            "alpha={:g}, beta={:g}, gamma={:g}: expected numbers of at least 0, and alpha above gamma".format(*weights)
        )
    return feedback


def rows_of(indexes: Sequence[Index], feedback: Feedback | None) -> list[tuple[list[int], list[int]]]:
    """Return the rows of the liked and of the unliked images in each index.

    Raises
    ------
    UsageError
        If an index compares images, of which there is no mean, or an image is liked and unliked.
    SourceError
        If an image is in none of the indexes; the message names ids that are near.
    """
    if feedback is None:
        return [([], []) for _ in indexes]
    if any(index.embedding.space.similarity == "ssim" for index in indexes):
        raise UsageError("--like, --unlike: ssim compares the images themselves, and a mean of images is no image")
    tables = [index.embedding.items for index in indexes]
    liked, unliked = _ids(tables, feedback.liked, "--like"), _ids(tables, feedback.unliked, "--unlike")
    if both := sorted(set(liked) & set(unliked)):
        raise UsageError(f"{both[0]!r} is both in --like and in --unlike")
    return [(_rows(table, liked), _rows(table, unliked)) for table in tables]


def refined(
    index: Index, queries: Queries, rows: tuple[Sequence[int], Sequence[int]], feedback: Feedback | None
) -> Part:
    """Return what is asked of an index: the queries, moved by what was judged.

    Parameters
    ----------
    index : Index
    queries : Queries
    rows : (sequence of int, sequence of int)
        Of the liked and of the unliked images, in the index.
    feedback : Feedback or None
    """
    liked, unliked = rows
    if feedback is None or not (liked or unliked):
        return Part(index, queries)
    beta, gamma = feedback.beta if liked else 0.0, feedback.gamma if unliked else 0.0
    unit = index.embedding.space.similarity == "cosine"
    moved = feedback.alpha * _directions(queries.vectors, unit)
    for weight, judged in ((beta, liked), (-gamma, unliked)):
        if judged:
            moved += weight * _directions(index.embedding.vectors[sorted(judged)], unit).mean(axis=0)
    vectors = (moved / (feedback.alpha + beta - gamma)).astype(np.float32)
    return Part(index, Queries(vectors, queries.items, queries.source), [*liked, *unliked])


def _directions(vectors: np.ndarray, unit: bool) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1) if unit else vectors


def _ids(tables: Sequence[Items], given: Sequence[str], option: str) -> list[str]:
    found: dict[str, None] = {}
    for text in given:
        for key in [text] if _known(tables, text) else [part.strip() for part in text.split(",")]:
            if not _known(tables, key):
                near = ", ".join(map(repr, _near(tables[0], key)))
                raise SourceError(f"{option}: {key!r} is not in the index{f'; near: {near}' if near else ''}")
            found[key] = None
    return list(found)


def _rows(table: Items, ids: Sequence[str]) -> list[int]:
    return [place for key in ids if (place := place_of(table, key)) is not None]


def _known(tables: Sequence[Items], key: str) -> bool:
    return any(place_of(table, key) is not None for table in tables)


def _near(items: Items, key: str) -> list[str]:
    """Return ids like one that is not there, of those that begin alike: all of them would take seconds to compare."""
    ids = items.stored("_index")
    place = int(np.searchsorted(ids, key.encode() if ids.dtype.kind == "S" else key))
    around = items.cells("_index", np.arange(max(0, place - _AROUND), min(items.count, place + _AROUND))).tolist()
    return difflib.get_close_matches(key, around, n=3)
