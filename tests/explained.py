"""Explanation artifacts of random arrays, with all that one may hold beside its maps."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cbir_cli.artifacts import explanation
from cbir_cli.artifacts.explanation import Classes, Curves, Explanation, Measures, Randomisation
from cbir_cli.artifacts.history import entry
from cbir_cli.artifacts.items import TEXT, Items
from cbir_cli.records import MISSING

CLASSES = ("covid", "pneumonia", "normal")
LAYERS = ["out", "block4", "block3", "block2", "block1", "conv0"]


def table(ids: Sequence[str], classes: Sequence[int]) -> Items:
    """Return an item table in which image i is of class ``classes[i]``."""
    columns: dict[str, np.ndarray] = {name: np.array([""] * len(ids), np.str_) for name in TEXT}
    columns["age"] = np.full(len(ids), MISSING, np.int16)
    columns |= {f"label:{name}": np.array([c == i for c in classes], np.int8) for i, name in enumerate(CLASSES)}
    return Items(np.array(ids), columns, "")


def blob(rng: np.random.Generator, size: int, where: float | None = None) -> np.ndarray:
    """Return a smooth spot (S, S), from 0 to 1; ``where`` is its place on both axes."""
    y, x = np.mgrid[:size, :size] / size
    a, b = rng.uniform(0.25, 0.75, 2) if where is None else (where, where)
    return np.exp(-((x - a) ** 2 + (y - b) ** 2) * 25).astype(np.float32)


def made(
    method: str,
    *,
    queries: int = 3,
    k: int = 2,
    size: int = 16,
    steps: int = 9,
    gain: float = 0.2,
    uncertain: bool = False,
    on_query: bool = False,
    signed: bool = False,
    corner: bool = False,
    itself: bool = False,
    lost: bool = False,
    index: str = "a" * 64,
    image: Callable[[int], tuple[np.ndarray, int]] | None = None,
) -> Explanation:
    """Return an artifact; those of equal ``queries``, ``k``, ``index`` and ``image`` are of the same pairs.

    Parameters
    ----------
    gain : float
        How much better than a random map's the maps' curves are; below 0 they are worse.
    uncertain, on_query, signed : bool
        Whether there is uncertainty, whether there are maps on the queries, and whether maps fall below zero.
    corner : bool
        Maps lie at the edge of the image.
    itself : bool
        Each query is explained with itself, and there are averages of classes.
    lost : bool
        Whether there are correlations with networks that lost their layers.
    image : callable
        Gives pixels and class of image i; the first ``queries`` are queries.
    """
    rng = np.random.default_rng(sum(method.encode()))
    draw = np.random.default_rng(7)
    image = image or (lambda i: (np.random.default_rng(i).integers(0, 256, (size, size), dtype=np.uint8), i % 3))
    catalogue = list(range(queries, queries + max(2 * k, queries)))
    chosen = [[q] if itself else draw.choice(catalogue, k, replace=False).tolist() for q in range(queries)]
    used = sorted({i for found in chosen for i in found})
    pixels = {i: image(i) for i in {*range(queries), *used}}
    pairs = [(q, i, 0 if itself else rank) for q, found in enumerate(chosen) for rank, i in enumerate(found, 1)]
    places = [(p, on) for p in range(len(pairs)) for on in ((0, 1) if on_query else (1,))]
    maps = [blob(rng, size, 0.02 if corner else None) - 0.3 * signed for _ in places]
    what = [0] * len(places)
    if uncertain:
        maps, places, what = maps + [1 - m for m in maps], places * 2, what + [1] * len(what)
    x, count = np.linspace(0, 1, steps), what.count(0)
    spread = 0.03 * rng.standard_normal((count, 1))

    def curve(level: float) -> Curves:
        shift = (level + spread) * np.sin(np.pi * x)
        return Curves(*(np.clip(v, 0, 1).astype(np.float32) for v in (0.2 + 0.6 * x + shift, 0.8 - 0.6 * x - shift)))

    own = curve(gain)
    return Explanation(
        query_images=np.array([pixels[q][0] for q in range(queries)]),
        queries=table([f"q{q:03d}" for q in range(queries)], [pixels[q][1] for q in range(queries)]),
        result_images=np.array([pixels[i][0] for i in used]),
        results=table([f"q{i:03d}" if itself else f"r{i:03d}" for i in used], [pixels[i][1] for i in used]),
        query=np.array([q for q, _, _ in pairs], np.int32),
        result=np.array([used.index(i) for _, i, _ in pairs], np.int32),
        rank=np.array([rank for _, _, rank in pairs], np.int32),
        distance=np.array([0.1 * rank + 0.01 * q for q, _, rank in pairs], np.float32),
        seed=np.full(len(pairs), -1, np.int32),
        set=np.full(len(pairs), -1, np.int32),
        maps=np.array(maps, np.float16),
        scale=np.ones(len(maps), np.float32),
        map_pair=np.array([p for p, _ in places], np.int32),
        map_on=np.array([on for _, on in places], np.int8),
        method=method,
        parameters={"box": 24},
        encoder="cnn",
        similarity="cosine",
        targets=list(CLASSES),
        index=index,
        map_what=np.array(what, np.int8),
        measures=Measures(own.insertion, own.deletion, curve(0.0), curve(0.02), {"steps": steps - 1}, x),
        randomisation=_correlations(rng, count) if lost else None,
        classes=_averages(rng, size, {c: [p for p, d in pixels.values() if d == c] for c in range(3)})
        if itself
        else None,
    )


def _correlations(rng: np.random.Generator, count: int) -> Randomisation:
    fall = np.linspace(0.7, 0.05, len(LAYERS)) + 0.1 * rng.standard_normal((count, len(LAYERS)))
    kept = 0.8 + 0.05 * rng.standard_normal((count, len(LAYERS)))
    kept[0] = np.nan
    return Randomisation(LAYERS, "signed", *(np.clip(v, -1, 1).astype(np.float32) for v in (fall, kept)))


def _averages(rng: np.random.Generator, size: int, images: dict[int, list[np.ndarray]]) -> Classes:
    mean = np.array([np.mean(images[c], axis=0) for c in images]).astype(np.uint8)
    maps = np.array([blob(rng, size) for _ in images])
    return Classes(list(CLASSES), mean, maps, np.array([len(images[c]) for c in images], np.int32))


def write(folder: Path, name: str, one: Explanation) -> Path:
    """Write an artifact and return its path."""
    explanation.write(str(folder / name), one, history=[entry("explain", {"method": one.method})])
    return folder / name
