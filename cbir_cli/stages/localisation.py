"""Score saliency maps against masks of the lesions: the library behind ``cbir evaluate --masks``.

The map is brought to the size of its mask, by bilinear interpolation, and not the mask to the size of the map: so
does the code of the CT-liver paper, and a lesion keeps its shape. Relevance over three channels is summed first.

One map and one mask are in memory at a time; which mask is whose is the business of ``lesions``.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import registry
from cbir_cli.artifacts import files, saliency
from cbir_cli.errors import UsageError
from cbir_cli.maps import summed
from cbir_cli.metric_names import EXPLANATION, EXPLANATION_DEFAULTS, Metric, parse_metrics
from cbir_cli.ranked_lists import Key
from cbir_cli.scores import Score, summarise
from cbir_cli.stages.lesions import Lesions

_LOG = logging.getLogger("cbir")


def evaluate(
    names: Sequence[str],
    masks: str,
    metrics: Sequence[str] | None = None,
    settings: Sequence[str] = (),
    paths: Mapping[str, str] | None = None,
) -> list[Score]:
    """Score the maps of some artifacts.

    Parameters
    ----------
    names : sequence of str
        Maps artifacts; ``-`` is standard input.
    masks : str
        Folder of masks, or a source of images that states them.
    metrics : sequence of str, optional
        As on the command line; relevance rank accuracy and the pointing game by default.
    settings : sequence of str
        ``KEY=VALUE`` of parameters of the metrics; each goes to the metrics that have it.
    paths : mapping of str to str, optional
        Where the file of a name is, if it came through a pipe (``files.spooled``).

    Returns
    -------
    list of Score
        A row for each artifact and metric, with the value of each image. Images without a mask or with an empty one are
        left out, and that is said.

    Raises
    ------
    UsageError
        If a metric is unknown or scores no maps, or a parameter is unknown or out of range.
    SourceError
        If a name fits twice, no image of an artifact has a mask, all masks are empty, or a mask is its image itself.
    ImageError
        If a mask cannot be decoded.
    """
    parsed = parse_metrics(metrics or EXPLANATION_DEFAULTS)
    for metric in parsed:
        if metric.folder != EXPLANATION:
            raise UsageError(f"metric {metric} scores {metric.what}, not saliency maps (--masks)")
        if metric.module.NEEDS == "curves":
            raise UsageError(
                f"metric {metric} scores an explanation that was measured (cbir explain --measure {metric})"
            )
    measures = parametrised(parsed, settings)
    found = Lesions(masks)
    scores: list[Score] = []
    for name in names:
        with files.open_artifact((paths or {}).get(name, name), saliency.KIND, name=name) as artifact:
            scores += _score(saliency.read(artifact), found, measures)
    if len({frozenset(score.values) for score in scores}) > 1:
        _LOG.warning("the files were scored on different images: their scores do not compare")
    return scores


def parametrised(metrics: Sequence[Metric], pairs: Sequence[str]) -> dict[str, tuple[Metric, dict[str, Any]]]:
    """Return each metric with the parameters that are set, by its name in the score table.

    Raises
    ------
    UsageError
        If a parameter is unknown, has another type or is out of range.
    """
    own = {str(metric): registry.parameters(metric.module.score) for metric in metrics}
    given = registry.settings(
        pairs, {key: value for known in own.values() for key, value in known.items()}, "the metrics"
    )
    measures = {}
    for metric in metrics:
        chosen = {key: value for key, value in given.items() if key in own[str(metric)]}
        name = ",".join([str(metric), *(f"{key}={value}" for key, value in chosen.items())])
        measures[name] = (metric, chosen if metric.k is None else {**chosen, "k": metric.k})
        _try(*measures[name])
    return measures


def _try(metric: Metric, parameters: Mapping[str, Any]) -> None:
    """Score a map of one pixel: what is wrong with the parameters is said before any file is read."""
    pixel = np.ones((1, 1, 1), np.float32)
    given: dict[str, list[Any]] = {
        "masks": [pixel, pixel > 0],
        "maps": [pixel],
        "curves": [np.ones((1, 2), np.float32)],
    }
    metric.module.score(*given[metric.module.NEEDS], **parameters)


def score_map(
    metric: Metric, parameters: Mapping[str, Any], relevance: NDArray[Any], lesion: NDArray[np.bool_] | None
) -> tuple[float | None, float | None]:
    """Score one map (H, W), with its mask (H, W) where the metric needs it.

    Returns
    -------
    value, chance : float or None
        None where not defined.
    """
    given = [relevance[None]] if metric.module.NEEDS == "maps" else [relevance[None], lesion[None]]  # type: ignore[index]
    value = metric.module.score(*given, **parameters).tolist()[0]
    expected = getattr(metric.module, "expected", None)
    if value is None or expected is None:  # the metric is not defined for this map, or the order of pixels is no matter
        return value, None
    wanted = {key: v for key, v in parameters.items() if key in registry.parameters(expected)}
    return value, expected(given[-1], **wanted).tolist()[0]


def at_size(stored: NDArray[np.float16], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Relevance of every pixel of a mask, from a map as it is stored.

    Parameters
    ----------
    stored : ndarray (S, S) or (3, S, S), float16
        The map; channels are summed.
    shape : tuple of int
        Height and width of the mask.

    Returns
    -------
    ndarray (H, W), float32
        By bilinear interpolation between the centres of pixels; averaged over more of them where the mask is smaller.
    """
    from PIL import Image

    relevance = summed(stored)
    if relevance.shape == shape:
        return relevance
    return np.array(Image.fromarray(relevance).resize(shape[::-1], Image.Resampling.BILINEAR))


def map_at(maps: Any, row: int, shape: tuple[int, int] | None = None, *, name: str, whose: str) -> NDArray[np.float32]:
    """Return a stored map (S, S), or of the size of a mask; channels are summed.

    Raises
    ------
    ArtifactError
        If it cannot be read or is not finite. ``name`` is the file's, ``whose`` says what is explained.
    """
    with files.reading(name):
        if not np.isfinite(stored := maps[row]).all():
            raise ValueError(f"the map of {whose} is not finite")
    return at_size(stored, shape or stored.shape[-2:])


def _score(maps: saliency.Maps, lesions: Lesions, measures: Mapping[str, tuple[Metric, dict[str, Any]]]) -> list[Score]:
    with files.reading(maps.name):
        ids = maps.items.ids.tolist()
    values: dict[str, dict[Key, float]] = {name: {} for name in measures}
    chance: dict[str, dict[Key, float]] = {name: {} for name in measures}
    for _, row, lesion in lesions.each(maps.name, [(maps.items, range(len(ids)))]):
        relevance = map_at(maps.maps, row, lesion.shape, name=maps.name, whose=ids[row])
        key: Key = (None, None, ids[row])
        for name, (metric, chosen) in measures.items():
            value, random = score_map(metric, chosen, relevance, lesion)
            if value is not None:
                values[name][key] = value
                if random is not None:
                    chance[name][key] = random
    return [
        summarise(
            values[name],
            chance[name],
            method=maps.name,
            metric=name,
            against=f"masks {lesions.name}",
            left_out=len(ids) - len(values[name]),
            unit="image",
        )
        for name in values
    ]
