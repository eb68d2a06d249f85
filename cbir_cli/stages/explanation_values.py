"""What each map of an explanation gets by each metric: the part of ``cbir evaluate`` that scores explanations.

Two baselines stand beside each value, on the same pair. The random map is, for insertion and deletion, one of smooth
random values; for all else the exact mean over all orders of the map's own pixels. The random network has random
weights, and its maps are made by the same method: that is X-MIR's own control.

The average map of uncertainty is no explanation, and is not scored.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Table 2, and the authors' code.)
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli.artifacts import explanation
from cbir_cli.artifacts.explanation import ON_QUERY, Explanation
from cbir_cli.errors import UsageError
from cbir_cli.metric_names import Metric
from cbir_cli.randomisation import WAYS
from cbir_cli.stages import localisation
from cbir_cli.stages.lesions import Lesions

Chosen = Mapping[str, tuple[Metric, dict[str, Any]]]
"""Metrics with their parameters, by what a row calls them."""


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
