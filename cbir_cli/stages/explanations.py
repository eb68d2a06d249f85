"""Whether explanations are true: the library behind ``cbir evaluate`` of explanation artifacts."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cbir_cli import classes
from cbir_cli.artifacts import explanation, files, history
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.metric_names import EXPLANATION, Metric, parse_metrics
from cbir_cli.stages import localisation
from cbir_cli.stages.explanation_sums import Row, groups_of, summed
from cbir_cli.stages.explanation_values import Chosen, measured
from cbir_cli.stages.lesions import Lesions

OF_CURVES = ("insertion", "deletion")
ALONE = ("sparseness", "border-mass")
WITH_MASKS = ("relevance-rank", "pointing-game", "top-k-intersection@1000")
_LOG = logging.getLogger("cbir")


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
    parsed = parse_metrics(metrics or defaults)
    for metric in parsed:
        if metric.folder != EXPLANATION:
            raise UsageError(f"metric {metric} scores {metric.what}, not explanations")
        if metric.module.NEEDS == "masks" and masks is None:
            raise UsageError(f"metric {metric} needs masks of what maps should show (--masks DIR)")
    chosen = _with_corners(localisation.parametrised(parsed, settings), asked=bool(metrics))
    lesions = Lesions(masks) if masks is not None else None
    rows: list[Row] = []
    for name, shown in zip(names, history.public_paths(names), strict=True):
        with files.open_artifact((paths or {}).get(name, name), explanation.KIND, name=name) as artifact:
            made = explanation.read(artifact)
        groups_of(made, label)  # which refuses a label before the maps are scored
        if not len(made.importance):
            raise SourceError(f"{files.spelt(name)}: holds no maps (method {made.method})")
        values = measured(made, files.spelt(name), chosen, lesions=lesions, asked=bool(metrics))
        found = summed(made, values, label)
        _say_left_out(files.spelt(name), found)
        rows += [replace(row, file=files.spelt(shown)) for row in found]
    return rows


def _with_corners(chosen: Chosen, *, asked: bool) -> Chosen:
    """Return the metrics with the border mass of the corners as well, unless metrics were named or its part was set."""
    found: dict[str, tuple[Metric, dict[str, Any]]] = {}
    for name, (metric, parameters) in chosen.items():
        found[name] = (metric, parameters)
        if metric.name == "border-mass" and "part" not in parameters and not asked:
            found[f"{name},part=corners"] = (metric, {**parameters, "part": "corners"})
    return found


def _say_left_out(name: str, rows: Sequence[Row]) -> None:
    """Say how many queries and maps metrics leave out, in a line for those that leave out as many."""
    alike: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for row in rows:
        if row.group == classes.ALL and (row.left_out or row.maps_left_out):
            alike[row.on, row.left_out, row.maps_left_out].append(row.metric)
    for (on, queries, maps), metrics in alike.items():
        several = ", ".join(metrics[:3]) + (f" and {len(metrics) - 3} more" if len(metrics) > 3 else "")
        _LOG.info("%s: left out on %s: queries %d, maps %d (%s)", name, on, queries, maps, several)
