"""Whether explanations are true, summed up: the library behind ``cbir evaluate`` of explanation artifacts.

Every map has a value. As in X-MIR, the values of a query's results are averaged first, then the queries of a class; the
row ``all`` is the mean over all queries. Maps on queries and maps on results are kept apart. An interval is the 95 % t
interval over queries, from six queries on; that of a difference is over the differences of each query.

Two baselines stand beside each mean, on the same pairs, with the difference to each. The random map is, for insertion
and deletion, one of random order; for all else the exact mean over all orders of the map's own pixels. The random
network has fresh weights, and its maps are made by the same method: so X-MIR's own control.

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

from cbir_cli import classes, evaluation
from cbir_cli.artifacts import explanation, files, history
from cbir_cli.artifacts.explanation import ON_QUERY, Explanation
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.evaluation import Metric
from cbir_cli.intervals import interval
from cbir_cli.randomisation import WAYS
from cbir_cli.stages import localisation
from cbir_cli.stages.lesions import Lesions

OF_CURVES = ("insertion", "deletion")
ALONE = ("sparseness", "border-mass")
WITH_MASKS = ("relevance-rank", "pointing-game", "top-k-intersection@1000")
SIDES = ("query", "result")
log = logging.getLogger("cbir")

Chosen = Mapping[str, tuple[Metric, dict[str, Any]]]
"""Metrics with their parameters, by what a row calls them."""


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, and its interval; None where there is none."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One metric of the maps of one method.

    Attributes
    ----------
    file, method : str
    group : str
        The class of the queries, or ``all``.
    on : str
        Which images the maps lie on: ``query`` or ``result``.
    metric : str
        As the command line spells it, or ``cascade LAYER`` and ``independent LAYER`` for the rank correlation with the
        maps of a network that lost the layer.
    n, left_out : int
        Queries that have a value, and that have none.
    maps_left_out : int
        Maps without a value, also those of queries that have one by another map: the metric is not defined for them, or
        their image has no mask.
    own : Estimate
        Of the maps.
    random, network : float or None
        What the random map, and the maps of a network with fresh weights, get on the same pairs.
    over_random, over_network : Estimate
        Of the differences to the two, query by query.
    values, chance : mapping of str to float
        Of each query, and what the random map gets.
    """

    file: str
    method: str
    group: str
    on: str
    metric: str
    n: int
    left_out: int
    maps_left_out: int = 0
    own: Estimate = Estimate()
    random: float | None = None
    network: float | None = None
    over_random: Estimate = Estimate()
    over_network: Estimate = Estimate()
    values: Mapping[str, float] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Values:
    """What each importance map gets, (M0,) float64 with NaN where it is not defined.

    Attributes
    ----------
    own : ndarray
    random, network : ndarray or None
        Of the baselines; None where there is none.
    by_class : bool
        Whether classes are told apart.
    """

    own: np.ndarray
    random: np.ndarray | None = None
    network: np.ndarray | None = None
    by_class: bool = True


def are_explanations(names: Sequence[str], paths: Mapping[str, str] | None = None) -> bool:
    """Say whether some files are explanation artifacts; arguments as of ``evaluate``.

    Raises
    ------
    UsageError
        If only some of them are.
    """
    kinds = {}
    for name in names:
        path = (paths or {}).get(name, name)
        if files.is_artifact(Path(path)):
            with files.open_artifact(path, name=name) as artifact:
                kinds[name] = artifact.kind
    found = [name for name in names if kinds.get(name) == explanation.KIND]
    if found and len(found) < len(names):
        other = next(name for name in names if name not in found)
        raise UsageError(
            f"{files.spelt(other)}: explanations are evaluated by themselves, and {files.spelt(found[0])} is one"
        )
    return bool(found)


def evaluate(
    names: Sequence[str],
    *,
    masks: str | None = None,
    metrics: Sequence[str] | None = None,
    label: str | None = None,
    settings: Sequence[str] = (),
    paths: Mapping[str, str] | None = None,
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
    paths : mapping of str to str, optional
        Where the file of a name is, if it came through a pipe (``files.spooled``).

    Returns
    -------
    list of Row

    Raises
    ------
    UsageError
        If a metric is unknown, scores something else or lacks what it needs, a parameter is unknown or out of range, or
        there is no such label.
    SourceError
        If no image has a mask, or all masks are empty.
    """
    if masks == "":
        raise UsageError("--masks: expected the name of a folder, found nothing")
    defaults = (*OF_CURVES, *ALONE, *(WITH_MASKS if masks is not None else ()))
    parsed = evaluation.parse_metrics(metrics or defaults)
    for metric in parsed:
        if metric.folder != evaluation.EXPLANATION:
            raise UsageError(f"metric {metric} scores {metric.what}, not explanations")
        if metric.module.NEEDS == "masks" and masks is None:
            raise UsageError(f"metric {metric} needs masks of what maps should show (--masks DIR)")
    chosen = _with_corners(localisation.parametrised(parsed, settings), asked=bool(metrics))
    lesions = Lesions(masks) if masks is not None else None
    rows: list[Row] = []
    for name, shown in zip(names, history.public_paths(names), strict=True):
        with files.open_artifact((paths or {}).get(name, name), explanation.KIND, name=name) as artifact:
            made = explanation.read(artifact)
        _groups(made, label)  # which refuses a label before the maps are scored
        if not len(made.importance):
            raise SourceError(f"{files.spelt(name)}: holds no maps (method {made.method})")
        values = measured(made, files.spelt(name), chosen, lesions=lesions, asked=bool(metrics))
        found = summed(made, values, label)
        _say_left_out(files.spelt(name), found)
        rows += [replace(row, file=files.spelt(shown)) for row in found]
    return rows


def measured(
    made: Explanation, name: str, chosen: Chosen, *, lesions: Lesions | None = None, asked: bool = False
) -> dict[str, Values]:
    """Return what each map of an artifact gets.

    Parameters
    ----------
    made : Explanation
    name : str
        Of the file, for messages.
    chosen : mapping
        See ``Chosen``.
    lesions : Lesions, optional
        Without them metrics that need masks are left out.
    asked : bool
        Refuse what is not stored, instead of leaving it out, and leave out randomisation.

    Returns
    -------
    dict of str to Values
        By metric; curves and correlations that are not stored are not there.

    Raises
    ------
    UsageError
        If curves are not stored that were asked for.
    ArtifactError
        If a map is not finite.
    SourceError
        If no image has a mask, or all masks are empty.
    """
    found: dict[str, Values] = {}
    of_maps = {}
    for called, (metric, parameters) in chosen.items():
        if metric.module.NEEDS != "curves":
            of_maps[called] = (metric, parameters)
        elif (values := _areas(made, metric)) is not None:
            found[called] = values
        elif asked:
            raise UsageError(f"{name}: has no curves of {metric}; make it with cbir explain --measure {metric}")
    found |= _of_maps(made, of_maps, lesions, name)
    if (table := made.randomisation) and not asked:
        for way in WAYS:
            correlations = getattr(table, way)
            for column, layer in enumerate(table.layers if correlations is not None else ()):
                found[f"{way} {layer}"] = Values(correlations[:, column].astype(np.float64), by_class=False)
    return found


def summed(made: Explanation, values: Mapping[str, Values], label: str | None = None) -> list[Row]:
    """Sum up what the maps of an artifact get, for ``all`` and each class of the queries.

    Parameters
    ----------
    made : Explanation
    values : mapping of str to Values
        By metric.
    label : str, optional
        As ``evaluate`` has it.

    Returns
    -------
    list of Row
        Without the name of the file.

    Raises
    ------
    UsageError
        If there is no such label.
    """
    return list(_rows(made, values, _groups(made, label)))


def _say_left_out(name: str, rows: Sequence[Row]) -> None:
    """Say how many queries and maps metrics leave out, in a line for those that leave out as many."""
    alike: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for row in rows:
        if row.group == classes.ALL and (row.left_out or row.maps_left_out):
            alike[row.on, row.left_out, row.maps_left_out].append(row.metric)
    for (on, queries, maps), metrics in alike.items():
        several = ", ".join(metrics[:3]) + (f" and {len(metrics) - 3} more" if len(metrics) > 3 else "")
        log.info("%s: left out on %s: queries %d, maps %d (%s)", name, on, queries, maps, several)


def _with_corners(chosen: Chosen, *, asked: bool) -> Chosen:
    """Return the metrics with the border mass of the corners as well, unless metrics were named or its part was set."""
    found: dict[str, tuple[Metric, dict[str, Any]]] = {}
    for name, (metric, parameters) in chosen.items():
        found[name] = (metric, parameters)
        if metric.name == "border-mass" and "part" not in parameters and not asked:
            found[f"{name},part=corners"] = (metric, {**parameters, "part": "corners"})
    return found


def _areas(made: Explanation, metric: Metric) -> Values | None:
    """Return the scores of stored curves, and of those of the baselines."""
    measures, what = made.measures, metric.module.CURVES
    if measures is None:
        return None

    def scores(stored: explanation.Curves) -> np.ndarray | None:
        curves = getattr(stored, what)
        return None if curves is None else np.asarray(metric.module.score(curves).filled(np.nan))

    own = scores(measures)
    return None if own is None else Values(own, scores(measures.random_map), scores(measures.random_model))


def _of_maps(made: Explanation, chosen: Chosen, lesions: Lesions | None, name: str) -> dict[str, Values]:
    """Score the maps themselves, with masks an image at a time: its mask is read once."""
    rows = made.importance
    sides = made.map_on[rows]
    images = np.where(sides == ON_QUERY, made.query[made.map_pair[rows]], made.result[made.map_pair[rows]])
    tables = made.queries, made.results
    alone = {called: one for called, one in chosen.items() if one[0].module.NEEDS == "maps"}
    against = {called: one for called, one in chosen.items() if called not in alone and lesions}
    own, chance = ({called: np.full(len(rows), np.nan) for called in (*alone, *against)} for _ in range(2))

    def score(row: int, picked: Chosen, lesion: np.ndarray | None) -> None:
        whose = str(tables[sides[row]].ids[images[row]])
        shape = None if lesion is None else lesion.shape
        relevance = localisation.map_at(made.maps, rows[row], shape, name=name, whose=whose)
        for called, (metric, parameters) in picked.items():
            value, random = localisation.score_map(metric, parameters, relevance, lesion)
            own[called][row] = np.nan if value is None else value
            chance[called][row] = np.nan if random is None else random

    for row in range(len(rows)) if alone else ():
        score(row, alone, None)
    if lesions and against:
        maps_of: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, place in enumerate(zip(sides.tolist(), images.tolist(), strict=True)):
            maps_of[place].append(row)
        wanted = [(table, {image for on, image in maps_of if on == side}) for side, table in enumerate(tables)]
        for side, image, lesion in lesions.each(name, wanted):
            for row in maps_of[side, image]:
                score(row, against, lesion)
    return {
        called: Values(own[called], chance[called] if hasattr(chosen[called][0].module, "expected") else None)
        for called in own
    }


def _groups(made: Explanation, label: str | None) -> dict[str, list[int]]:
    """Return the rows of all queries, and of those of each class of the task's labels."""
    labels = classes.labels_of(made.queries, made.targets, label, made.results)
    groups: dict[str, list[int]] = {classes.ALL: list(range(len(made.queries.ids)))}
    groups |= {name: [] for name in classes.names(labels)}
    for row in range(len(made.queries.ids)):
        for name in classes.of(made.queries.stated(row, labels), labels):
            groups[name].append(row)
    return {name: rows for name, rows in groups.items() if rows}


def _rows(made: Explanation, values: Mapping[str, Values], groups: Mapping[str, Sequence[int]]) -> Iterator[Row]:
    rows = made.importance
    asked = made.query[made.map_pair[rows]]
    for side, on in enumerate(SIDES):
        here = made.map_on[rows] == side
        if not here.any():
            continue
        for group, members in groups.items():
            for metric, found in values.items():
                if group == classes.ALL or found.by_class:
                    yield _row(made, found, np.where(here, asked, -1), members, group=group, on=on, metric=metric)


def _row(made: Explanation, values: Values, asked: np.ndarray, members: Sequence[int], **names: str) -> Row:
    """Average over the results of each query, then over the queries of a class.

    Parameters
    ----------
    asked : ndarray (M0,) of int
        The query of each map; -1 for maps that do not count.
    members : sequence of int
        The queries.
    """
    defined = np.isfinite(values.own)
    columns = {"own": values.own, "random": values.random, "network": values.network}
    units: dict[int, list[int]] = {query: np.flatnonzero(defined & (asked == query)).tolist() for query in members}
    units = {query: rows for query, rows in units.items() if rows}
    means = {
        key: np.array([column[rows].mean() for rows in units.values()])
        for key, column in columns.items()
        if column is not None and units
    }
    own, random, network = (means.get(key) for key in columns)
    ids = [str(made.queries.ids[query]) for query in units]

    def over(baseline: np.ndarray | None) -> Estimate:
        return Estimate() if own is None or baseline is None else _estimate(own - baseline)

    return Row(
        file="",
        method=made.method,
        **names,
        n=len(units),
        left_out=len(members) - len(units),
        maps_left_out=int((np.isin(asked, members) & ~defined).sum()),
        own=Estimate() if own is None else _estimate(own),
        random=None if random is None else float(random.mean()),
        network=None if network is None else float(network.mean()),
        over_random=over(random),
        over_network=over(network),
        values={} if own is None else dict(zip(ids, own.tolist(), strict=True)),
        chance={} if random is None else dict(zip(ids, random.tolist(), strict=True)),
    )


def _estimate(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), *(interval(values) or (None, None)))
