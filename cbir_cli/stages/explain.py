"""From ranked lists to an explanation artifact: the library behind ``cbir explain``."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli import maps, registry
from cbir_cli.artifacts import explanation, history
from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.explanation import IMPORTANCE, ON_QUERY, ON_RESULT, Explanation
from cbir_cli.artifacts.index import Index
from cbir_cli.splits import SplitRow
from cbir_cli.stages import explainers, measuring
from cbir_cli.stages import pairs as to_explain
from cbir_cli.stages import query as retrieval
from cbir_cli.stages.class_averages import Averages
from cbir_cli.stages.encoding import Encoder
from cbir_cli.stages.explainers import Method
from cbir_cli.stages.pairs import Pairs
from cbir_cli.stages.pictures import Pictures
from cbir_cli.stages.query import Queries, Wanted
from cbir_cli.stages.rows import Rows

_MEASURE = "measure."
"""Before the parameters of the measures, for ``--set``."""

_RUN = ("batch",)
"""Parameters of the measures that ``--set`` does not reach: they change no number."""

_TOGETHER = 64
"""Images that are rounded at a time."""

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Choice:
    """How pairs are to be explained, and what is measured of it.

    Attributes
    ----------
    method : Method or None
        None for the images alone.
    whats : sequence of str
        Some of ``measuring.WHATS``.
    measures : mapping
        Parameters of ``measuring.plan``.
    """

    method: Method | None
    whats: Sequence[str]
    measures: Mapping[str, Any]


def choose(
    space: Space,
    method: str | None = None,
    measure: str | None = None,
    settings: Sequence[str] = (),
    *,
    seed: int = 0,
    batch: int | None = None,
) -> Choice:
    """Return what ``--method``, ``--measure``, ``--set``, ``--seed`` and ``--batch-size`` say.

    Parameters
    ----------
    space : Space
        Of the index.
    method : str, optional
        A module of ``similarity/``, or ``none``. By default ``ig``, ``occlusion`` where the model has no outputs, and
        ``none`` for SSIM.
    measure : str, optional
        As ``measuring.parse`` takes it.
    settings : sequence of str
        ``KEY=VALUE``; ``measure.KEY=VALUE`` for those of the measures. They win over ``seed`` and ``batch``.
    seed : int
        Of a method that draws, and of the measures.
    batch : int, optional
        Images at a time, where a method takes it, and of the measures.

    Raises
    ------
    UsageError
        If there is no such method or measure, or a parameter is unknown or has another type.
    """
    name = (
        method
        if method is not None
        else ("none" if space.encoder == "ssim" else "ig" if space.outputs else "occlusion")
    )
    whats = measuring.parse(measure, name) if measure is not None else []
    own = explainers.parameters(name, seed=seed, batch=batch) if name != "none" else {}
    run = {} if batch is None else {"batch": batch}
    known = {**registry.parameters(measuring.plan), "seed": seed} if whats else {}
    measured = {_MEASURE + key: value for key, value in known.items() if key not in _RUN}
    chosen = {**own, **measured, **registry.settings(settings, {**own, **measured}, f"method {name}")}
    return Choice(
        explainers.make(name, {key: chosen[key] for key in own}) if name != "none" else None,
        whats,
        {**{key.removeprefix(_MEASURE): chosen[key] for key in measured}, **run} if whats else {},
    )


def explain(
    choice: Choice,
    encoder: Encoder,
    index: Index,
    queries: Queries,
    pictures: Pictures,
    fingerprint: str,
    *,
    k: int = 4,
    last: int = 0,
    split: Sequence[SplitRow] | None = None,
    wanted: Wanted | None = None,
    themselves: bool = False,
) -> Explanation:
    """Find the results of some queries, explain them, and measure the maps.

    Parameters
    ----------
    choice : Choice
    encoder : Encoder
        Of the index.
    index : Index
    queries : Queries
    pictures : Pictures
    fingerprint : str
        Of the index.
    k : int
        Results a query.
    last : int
        How many results from the end of the ranked list besides: the least similar images of the catalogue.
    split : sequence of SplitRow, optional
        Each query is ranked within its own catalogue.
    wanted : Wanted, optional
        What results are to be, besides near.
    themselves : bool
        Explain each query with itself, in place of results.

    Raises
    ------
    UsageError
        If what is to be measured cannot be, which is found before anything is computed.
    SourceError, ImageError
        If an image is not there, or cannot be read.
    """
    method, plan = choice.method, None
    if method and choice.whats:
        plan = measuring.plan(encoder, method.name, choice.whats, **choice.measures)
    if themselves:
        pairs = to_explain.of_themselves(queries, pictures)
    else:
        depth = index.embedding.items.count if last else k
        answers = (
            retrieval.search(index, queries, depth, wanted)
            if split is None
            else retrieval.search_split(index, queries, depth, split, wanted)
        )
        pairs = to_explain.of_answers(index, queries, answers, pictures, first=k, last=last)
    if method:
        method = explainers.with_references(method, index, pairs, pictures, source=queries.source)
    made = explain_pairs(pairs, encoder, method, index.embedding.space, fingerprint, window=pictures.input.window)
    return plan.measure(made, pairs, method) if plan and method else made


def explain_pairs(
    pairs: Pairs,
    encoder: Encoder,
    method: Method | None,
    space: Space,
    fingerprint: str,
    *,
    window: tuple[float, float] | None = None,
) -> Explanation:
    """Explain every pair.

    Parameters
    ----------
    pairs : Pairs
    encoder : Encoder
    method : Method or None
        None for the images alone.
    space, fingerprint : Space, str
        Of the index.
    window : tuple of float, optional
        LOW and HIGH in Hounsfield units, through which the pixels are seen.

    Returns
    -------
    Explanation
        It has a map for each image that the method explains: one that is zero everywhere is stored as it is, with a
        scale of 0, and counted in a warning. Queries that were explained with themselves have the averages of their
        classes beside them.

    Raises
    ------
    ShapeError
        If the method does not return two or four stacks of maps.
    CbirError
        If a map is not finite.
    """
    stored = Rows(pairs.query_pixels.shape[1:3], np.float16)
    scale: list[np.ndarray] = []
    places: list[tuple[int, int, int]] = []
    sums = Averages(pairs, space.targets) if pairs.themselves and method else None
    for number, on, what, image_map in method.maps(encoder, pairs) if method else ():
        half, magnitude = maps.finish(image_map[None, None])
        stored.add(half)
        scale.append(magnitude)
        places.append((number, on, what))
        if sums and what == IMPORTANCE:
            sums.add(number, image_map)
    where = np.array(places, np.int32).reshape(-1, 3)
    scales = np.concatenate([np.empty(0, np.float32), *scale])
    of_maps = scales[where[:, 2] == IMPORTANCE]
    if flat := int(np.count_nonzero(of_maps == 0)):
        log.warning("%d of %d maps are zero everywhere: the method found nothing there", flat, len(of_maps))
    return Explanation(
        query_images=_levels(pairs.query_pixels),
        queries=pairs.queries,
        result_images=_levels(pairs.result_pixels),
        results=pairs.results,
        **{name: getattr(pairs, name) for name in ("query", "result", "rank", "distance", "seed", "set")},
        maps=stored.array(),
        scale=scales,
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
        query_hounsfield=pairs.query_hounsfield,
        result_hounsfield=pairs.result_hounsfield,
        window=window,
    )


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


def _levels(pixels: np.ndarray) -> np.ndarray:
    levels = Rows(pixels.shape[1:], np.uint8)
    for start in range(0, len(pixels), _TOGETHER):
        levels.add(np.rint(pixels[start : start + _TOGETHER] * 255))
    return levels.array()
