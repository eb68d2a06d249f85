"""Whether explanations are true, summed up: the library behind ``cbir evaluate`` of explanation artifacts.

Every map has a value. As in X-MIR, the values of a query's results are averaged first, then the queries of a class; the
row ``all`` is the mean over all queries. Maps on queries and maps on results are kept apart. An interval is the 95 %
bootstrap interval over queries; that of a difference is over the differences of each query, map against chance.

What chance gets: of insertion and deletion a map of random order on the same pair, of all else the exact mean over all
orders of a map's pixels. Beside it is what the maps of a network with fresh weights get.

The average map of uncertainty is no explanation, and is not scored.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Table 2, and the authors' code.)
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli import classes, evaluation, registry
from cbir_cli.artifacts import explanation, files, history
from cbir_cli.artifacts.explanation import ON_QUERY, Explanation
from cbir_cli.artifacts.items import Items
from cbir_cli.bootstrap import interval
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.evaluation import Metric
from cbir_cli.metrics.explanation import deletion, insertion
from cbir_cli.progress import track
from cbir_cli.randomisation import WAYS
from cbir_cli.stages import localisation
from cbir_cli.stages.localisation import Masks

ALONE = ("sparseness", "border-mass")
WITH_MASKS = ("relevance-rank", "pointing-game", "top-k-intersection@1000")
_CURVES = {"insertion": insertion, "deletion": deletion}
log = logging.getLogger("cbir")


@dataclass(frozen=True)
class Row:
    """One measure of the maps of one method.

    Attributes
    ----------
    file, method : str
    group : str
        The class of the queries, or ``all``.
    on : str
        Which images the maps lie on: ``query`` or ``result``.
    measure : str
        A metric as the command line spells it, or ``cascade LAYER`` and ``independent LAYER`` for the rank correlation
        with the maps of a network that lost the layer.
    n, left_out : int
        Queries that have a value, and that have none.
    mean, low, high : float or None
        Over queries, and its interval.
    random, random_model : float or None
        What chance, and the maps of a network with fresh weights, get on the same pairs.
    difference, difference_low, difference_high : float or None
        Of the mean and chance, and its interval.
    values, chance : mapping of str to float
        Of each query.
    """

    file: str
    method: str
    group: str
    on: str
    measure: str
    n: int
    left_out: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    random: float | None = None
    random_model: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Values:
    """What each importance map gets, (M0,) float64 with NaN where it is not defined."""

    own: np.ndarray
    chance: np.ndarray | None = None
    model: np.ndarray | None = None
    by_class: bool = True


def are_explanations(names: Sequence[str]) -> bool:
    """Say whether some files are explanation artifacts.

    Raises
    ------
    UsageError
        If only some of them are.
    """
    kinds = {}
    for name in names:
        if name != files.STDIO and files.is_artifact(Path(name)):
            with files.open_artifact(name) as artifact:
                kinds[name] = artifact.kind
    found = [name for name in names if kinds.get(name) == explanation.KIND]
    if found and len(found) < len(names):
        other = next(name for name in names if name not in found)
        raise UsageError(f"{other}: explanations are evaluated by themselves, and {found[0]} is one")
    return bool(found)


def evaluate(
    names: Sequence[str],
    *,
    masks: str | None = None,
    metrics: Sequence[str] | None = None,
    label: str | None = None,
    settings: Sequence[str] = (),
) -> list[Row]:
    """Sum up the measures of explanation artifacts.

    Parameters
    ----------
    names : sequence of str
        Explanation artifacts.
    masks : str, optional
        Folder of masks of the lesions, or a source that states them.
    metrics : sequence of str, optional
        All that can be had by default.
    label : str, optional
        The label whose classes are told apart, instead of those of the task; ``all`` for all of the images' labels.
    settings : sequence of str
        ``KEY=VALUE`` of parameters of the metrics.

    Returns
    -------
    list of Row

    Raises
    ------
    UsageError
        If a metric is unknown, scores something else or lacks what it needs, or there is no such label.
    SourceError
        If no image has a mask.
    """
    if masks == "":
        raise UsageError("--masks: expected the name of a folder, found nothing")
    defaults = (*_CURVES, *ALONE, *(WITH_MASKS if masks is not None else ()))
    parsed = evaluation.parse_metrics(metrics or defaults)
    for metric in parsed:
        if metric.folder != evaluation.EXPLANATION:
            raise UsageError(f"metric {metric} scores {metric.what}, not explanations")
        if metric.module.NEEDS == "masks" and masks is None:
            raise UsageError(f"metric {metric} needs masks of what maps should show (--masks DIR)")
    chosen = _with_corners(localisation.parametrised(parsed, settings), asked=bool(metrics))
    found = Masks(masks) if masks is not None else None
    rows: list[Row] = []
    for name, shown in zip(names, history.public_paths(names), strict=True):
        with files.open_artifact(name, explanation.KIND) as artifact:
            made = explanation.read(artifact)
        if not len(made.importance):
            raise SourceError(f"{name}: holds no maps (method {made.method})")
        found_rows = summed(made, name, chosen, masks=found, label=label, asked=bool(metrics))
        rows += [replace(row, file=shown) for row in found_rows]
    return rows


def summed(
    made: Explanation,
    name: str,
    chosen: Mapping[str, tuple[Metric, dict[str, Any]]],
    *,
    masks: Masks | None = None,
    label: str | None = None,
    asked: bool = False,
) -> list[Row]:
    """Sum up the measures of one artifact in memory, for the class ``all`` and each class of the queries.

    Parameters
    ----------
    made : Explanation
        Holds at least one map.
    name : str
        Of the file, for messages; the rows do not have it.
    chosen : mapping
        Metrics with their parameters, by what a row calls them.
    masks, label
        As ``evaluate`` has them.
    asked : bool
        Refuse what is not stored, instead of leaving it out, and leave out randomisation.

    Returns
    -------
    list of Row
    """
    with files.reading(name):
        measured = dict(_measured(made, chosen, masks, name, asked=asked))
    rows = list(_rows(made, measured, label))
    for row in rows:
        if row.group == classes.ALL and row.left_out:
            log.info("%s: %s on %s: %d queries left out", name, row.measure, row.on, row.left_out)
    return rows


def _with_corners(
    chosen: dict[str, tuple[Metric, dict[str, Any]]], *, asked: bool
) -> dict[str, tuple[Metric, dict[str, Any]]]:
    """Return the metrics with the border mass of the corners as well, unless metrics were named or its part was set."""
    found: dict[str, tuple[Metric, dict[str, Any]]] = {}
    for name, (metric, parameters) in chosen.items():
        found[name] = (metric, parameters)
        if metric.name == "border-mass" and "part" not in parameters and not asked:
            found[f"{name},part=corners"] = (metric, {**parameters, "part": "corners"})
    return found


def _measured(
    made: Explanation,
    chosen: Mapping[str, tuple[Metric, dict[str, Any]]],
    masks: Masks | None,
    name: str,
    *,
    asked: bool,
) -> Iterator[tuple[str, _Values]]:
    """Yield each measure of an artifact with its values."""
    of_maps = {}
    for measure, (metric, parameters) in chosen.items():
        if metric.module.NEEDS != "curves":
            of_maps[measure] = (metric, parameters)
        elif (values := _areas(made, metric.name)) is not None:
            yield measure, values
        elif asked:
            raise UsageError(f"{name}: has no curves of {metric}; make it with cbir explain --measure {metric}")
    yield from _of_maps(made, of_maps, masks, name).items()
    if (table := made.randomisation) and not asked:
        for way in WAYS:
            correlations = getattr(table, way)
            for column, layer in enumerate(table.layers if correlations is not None else ()):
                yield f"{way} {layer}", _Values(correlations[:, column].astype(np.float64), by_class=False)


def _areas(made: Explanation, what: str) -> _Values | None:
    measures = made.measures
    sources = (measures, measures.random_map, measures.random_model) if measures else ()
    curves = [getattr(source, what) for source in sources]
    if not curves or curves[0] is None:
        return None
    own, chance, model = (None if c is None else _CURVES[what].score(c).filled(np.nan) for c in curves)
    return _Values(own, chance, model)  # type: ignore[arg-type]  # own was looked at


def _of_maps(
    made: Explanation, chosen: Mapping[str, tuple[Metric, dict[str, Any]]], masks: Masks | None, name: str
) -> dict[str, _Values]:
    """Score the maps themselves, with masks an image at a time: its mask is read once."""
    rows = made.importance
    alone = {measure: one for measure, one in chosen.items() if one[0].module.NEEDS == "maps"}
    against = {measure: one for measure, one in chosen.items() if measure not in alone}
    own, chance = ({measure: np.full(len(rows), np.nan) for measure in chosen} for _ in range(2))

    def score(row: int, picked: Mapping[str, tuple[Metric, dict[str, Any]]], lesion: np.ndarray | None) -> None:
        relevance = made.maps[rows[row]].astype(np.float32)
        relevance = relevance if lesion is None else localisation.at_size(made.maps[rows[row]], lesion.shape)
        for measure, (metric, parameters) in picked.items():
            value, random = localisation.score_map(metric, parameters, relevance, lesion)
            own[measure][row] = np.nan if value is None else value
            chance[measure][row] = np.nan if random is None else random

    for row in range(len(rows)):
        score(row, alone, None)
    if masks and against:
        sides = made.map_on[rows]
        places = np.where(sides == ON_QUERY, made.query[made.map_pair[rows]], made.result[made.map_pair[rows]])
        found = {side: masks.of(items, items.ids.tolist()) for side, items in enumerate((made.queries, made.results))}
        wanted: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, place in enumerate(zip(sides.tolist(), places.tolist(), strict=True)):
            if place[1] in found[place[0]]:
                wanted[place].append(row)
        if not wanted:
            raise SourceError(f"{name}: {masks.lacking(made.results['path'].tolist())}")
        for (side, place), maps in track(wanted.items(), len(wanted), f"{name}: masks"):
            items = (made.queries, made.results)[side]
            lesion = localisation.read_mask(found[side][place], str(items["content"][place]))
            for row in maps if lesion.any() else ():
                score(row, against, lesion)
    return {
        measure: _Values(own[measure], chance[measure] if hasattr(chosen[measure][0].module, "expected") else None)
        for measure in chosen
    }


def _rows(made: Explanation, measured: Mapping[str, _Values], label: str | None) -> Iterator[Row]:
    rows, groups = made.importance, _groups(made.queries, made.targets, label)
    asked = made.query[made.map_pair[rows]]
    for side, on in enumerate(("query", "result")):
        here = made.map_on[rows] == side
        if not here.any():
            continue
        for group, members in groups.items():
            for measure, values in measured.items():
                if group == classes.ALL or values.by_class:
                    yield _row(made, values, here, asked, members, group=group, on=on, measure=measure)


def _row(
    made: Explanation,
    values: _Values,
    here: np.ndarray,
    asked: np.ndarray,
    members: Sequence[int],
    **names: str,
) -> Row:
    """Average over the results of each query, then over the queries of a class."""
    units: dict[int, list[float]] = {}
    columns = (values.own, values.chance, values.model)
    for query in members:
        chosen = here & (asked == query) & np.isfinite(values.own)
        if chosen.any():
            units[query] = [np.nan if column is None else float(column[chosen].mean()) for column in columns]
    table = np.array(list(units.values()), np.float64).reshape(-1, 3)
    own, chance, model = table.T
    ids = [str(made.queries.ids[query]) for query in units]
    known = values.chance is not None and len(own) > 0
    low, high = interval(own) or (None, None)
    less, more = (interval(own - chance) if known else None) or (None, None)
    return Row(
        file="",
        method=made.method,
        **names,
        n=len(own),
        left_out=len(members) - len(own),
        mean=float(own.mean()) if len(own) else None,
        low=low,
        high=high,
        random=float(chance.mean()) if known else None,
        random_model=float(model.mean()) if values.model is not None and len(own) else None,
        difference=float((own - chance).mean()) if known else None,
        difference_low=less,
        difference_high=more,
        values=dict(zip(ids, own.tolist(), strict=True)),
        chance=dict(zip(ids, chance.tolist(), strict=True)) if known else {},
    )


def _groups(queries: Items, targets: Sequence[str], label: str | None) -> dict[str, list[int]]:
    """Return the rows of all queries, and of those of each class of the task's labels."""
    known = queries.label_names
    if label not in (None, classes.ALL, *known):
        raise registry.unknown("label of the queries", str(label), known)
    labels = known if label == classes.ALL else [label] if label else [name for name in targets if name in known]
    groups: dict[str, list[int]] = {classes.ALL: list(range(len(queries.ids)))}
    groups |= {name: [] for name in classes.names(labels)}
    for row in range(len(queries.ids)):
        for name in classes.of(queries.stated(row, labels), labels):
            groups[name].append(row)
    return {name: rows for name, rows in groups.items() if rows}
