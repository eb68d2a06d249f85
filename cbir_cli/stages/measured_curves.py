"""Insertion and deletion curves of the maps of an explanation, and of what they are compared with.

Pairs that share an image and its map share the changed images of its curve, which are embedded once: so do the results
of a query whose map depends on the query alone.

A map whose values are all equal has no order of pixels. Its curve is that of the pair's random map, whether it is the
map itself or the one of a network with fresh weights: what says nothing gets what chance gets.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli import curves
from cbir_cli.artifacts.explanation import ON_QUERY, ON_RESULT, Curves, Explanation, Measures
from cbir_cli.progress import Progress
from cbir_cli.stages.networks import Network
from cbir_cli.stages.pairs import Pairs

Group = tuple[np.ndarray | None, list[tuple[str, int]]]
"""What an image changes by, a map or None for a random one, and the kinds and rows of the curves that have it."""


@dataclass(frozen=True)
class Place:
    """Where a map lies: on the query or on the result, and the rows of its image and of the pair's other image."""

    on: int
    image: int
    other: int


def measure(
    encoder: Network,
    made: Explanation,
    pairs: Pairs,
    whats: Sequence[str],
    *,
    how: Mapping[str, Any],
    seed: int,
    cells: int,
    random_map: bool,
    random_model: np.ndarray | None,
) -> Measures:
    """Return the curves of each importance map.

    Parameters
    ----------
    encoder : Network
        With which the changed images are embedded.
    made : Explanation
        Of the pairs.
    pairs : Pairs
    whats : sequence of str
        Some of ``curves.WHATS``.
    how : mapping
        ``variant``, ``step``, ``sigma`` and ``batch`` of ``curves.curve``.
    seed, cells : int
        Of ``draw``.
    random_map : bool
        Whether to measure random maps as well.
    random_model : ndarray (M0, S, S) or None
        Maps of a network with fresh weights, if these are to be measured.
    """
    size, count = made.maps.shape[1], len(made.importance)
    fractions = curves.fractions(size, how["step"])
    kinds: dict[str, np.ndarray | None] = {"own": made.importance_maps}
    kinds |= {"random_map": None} if random_map else {}
    kinds |= {} if random_model is None else {"random_model": random_model}
    found = {kind: {what: np.empty((count, len(fractions)), np.float32) for what in whats} for kind in kinds}
    pixels = {ON_QUERY: pairs.query_pixels, ON_RESULT: pairs.result_pixels}
    vectors = {on: _encode(encoder, images, how["batch"]) for on, images in pixels.items()}
    places = [_place(made, pairs, number) for number in made.importance]
    groups = _groups(kinds, places)
    with closing(Progress(len(groups) * len(whats) * len(fractions), " and ".join(whats))) as progress:
        for importance, members in groups:
            place = places[members[0][1]]
            changed, other = pixels[place.on][place.image], pixels[1 - place.on][place.other]
            one = draw(changed, other, seed, cells) if importance is None else importance
            anchors = np.stack([vectors[1 - place.on][places[row].other] for _, row in members])
            for what in whats:
                rows = curves.curve(
                    encoder.encode, changed, one, anchors, what, encoder.input, **how, advance=progress.advance
                )
                for (kind, row), values in zip(members, rows, strict=True):
                    found[kind][what][row] = values
    return Measures(
        **found["own"],
        random_map=Curves(**found.get("random_map", {})),
        random_model=Curves(**found.get("random_model", {})),
        parameters={**_recorded(how, size), "steps": len(fractions) - 1, "cells": cells, "seed": seed},
        fractions=fractions,
    )


def draw(image: np.ndarray, other: np.ndarray, seed: int, cells: int) -> np.ndarray:
    """Return the random map (S, S) float64 of a pair and side, the same whatever else is measured.

    Parameters
    ----------
    image, other : ndarray (S, S) or (S, S, 3)
        What changes, and what it is compared with.
    seed : int
    cells : int
        Values a side, drawn evenly from 0 to 1 and stretched by cubic splines; 0 draws each pixel by itself.
    """
    from scipy.ndimage import zoom

    size = len(image)
    side = cells or size
    rng = np.random.default_rng([seed, *(zlib.crc32(pixels.tobytes()) for pixels in (image, other))])
    return zoom(rng.random((side, side)), size / side, order=3 if cells else 0, mode="reflect", grid_mode=True)


def _recorded(how: Mapping[str, Any], size: int) -> dict[str, Any]:
    return {
        "variant": how["variant"],
        "step": min(how["step"] or size, size**2),
        "fill": "mean" if how["variant"] == "code" else "grey",
        "blur": how["sigma"],
    }


def _place(made: Explanation, pairs: Pairs, number: int) -> Place:
    on, pair = int(made.map_on[number]), made.map_pair[number]
    rows = {ON_QUERY: int(pairs.query[pair]), ON_RESULT: int(pairs.result[pair])}
    return Place(on, rows[on], rows[1 - on])


def _groups(kinds: Mapping[str, np.ndarray | None], places: Sequence[Place]) -> list[Group]:
    groups: dict[tuple[Any, ...], Group] = {}
    for kind, importance in kinds.items():
        for row, place in enumerate(places):
            one = None if importance is None or not np.ptp(importance[row]) else importance[row]
            # A random map is that of a pair; what has no order of its own in that pair shares it.
            order = place.other if one is None else hashlib.sha256(one.tobytes()).digest()
            groups.setdefault((place.on, place.image, order), (one, []))[1].append((kind, row))
    return list(groups.values())


def _encode(encoder: Network, pixels: np.ndarray, batch: int) -> np.ndarray:
    parts = [encoder.encode(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
    return np.concatenate([np.empty((0, encoder.width), np.float32), *parts]).astype(np.float64)
