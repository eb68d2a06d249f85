"""Score saliency maps against masks of the lesions: the library behind ``cbir evaluate --masks``.

A table or READER:ROOT whose records state masks, as those of the Decathlon's volumes and of ISIC do, gives the mask
of each image by its id; that of a slice is the same slice of the volume of labels, turned as the image is. In a
folder of masks a mask belongs to the image whose path it has, or the end of that path: ``images/a/1.png`` goes with
``images/a/1``, ``a/1`` or ``1`` below the folder of masks, with the ending of any image format; the longest that is
there counts. A name that fits twice is an error, since a wrong mask would give a wrong score without a word. In a
mask, what is not zero is lesion.

The map is brought to the size of its mask, by bilinear interpolation, and not the mask to the size of the map: so
does the code of the CT-liver paper, and a lesion keeps its shape. Relevance over three channels is summed first.

One map and one mask are in memory at a time.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import data, evaluation, images, registry, volumes
from cbir_cli.artifacts import files, saliency
from cbir_cli.artifacts.pseudonyms import from_environment
from cbir_cli.artifacts.run import Key
from cbir_cli.data import directory, manifest
from cbir_cli.errors import ImageError, SourceError, UsageError
from cbir_cli.evaluation import Metric
from cbir_cli.maps import summed
from cbir_cli.names import cut
from cbir_cli.progress import track
from cbir_cli.reading import content_hash
from cbir_cli.records import Flow, Record
from cbir_cli.records import images as counted
from cbir_cli.scores import Score, summarise

_JPEG = (".jpg", ".jpeg", ".jpe")
_LOG = logging.getLogger("cbir")


def evaluate(
    names: Sequence[str], masks: str, metrics: Sequence[str] | None = None, settings: Sequence[str] = ()
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

    Returns
    -------
    list of Score
        A row for each artifact and metric, with the value of each image. Images without a mask or with an empty one are
        left out, and that is said.

    Raises
    ------
    UsageError
        If a metric is unknown or scores no maps.
    SourceError
        If a name fits twice, no image of an artifact has a mask, all masks are empty, or a mask is its image itself.
    ImageError
        If a mask cannot be decoded.
    """
    parsed = evaluation.parse_metrics(metrics or evaluation.EXPLANATION_DEFAULTS)
    for metric in parsed:
        if metric.folder != evaluation.EXPLANATION:
            raise UsageError(f"metric {metric} scores {metric.what}, not saliency maps (--masks)")
        if metric.module.NEEDS == "curves":
            raise UsageError(
                f"metric {metric} scores an explanation that was measured (cbir explain --measure {metric})"
            )
    measures = parametrised(parsed, settings)
    found = Masks(masks)
    scores: list[Score] = []
    for name in names:
        with files.open_artifact(name, saliency.KIND) as artifact:
            scores += _score(saliency.read(artifact), found, measures)
    if len({frozenset(score.values) for score in scores}) > 1:
        _LOG.warning("the files were scored on different images: their scores do not compare")
    return scores


def parametrised(metrics: Sequence[Metric], pairs: Sequence[str]) -> dict[str, tuple[Metric, dict[str, Any]]]:
    """Return each metric with the parameters that are set, by its name in the score table."""
    own = {str(metric): registry.parameters(metric.module.score) for metric in metrics}
    given = registry.settings(
        pairs, {key: value for known in own.values() for key, value in known.items()}, "the metrics"
    )
    measures = {}
    for metric in metrics:
        chosen = {key: value for key, value in given.items() if key in own[str(metric)]}
        name = ",".join([str(metric), *(f"{key}={value}" for key, value in chosen.items())])
        measures[name] = (metric, chosen if metric.k is None else {**chosen, "k": metric.k})
    return measures


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


class Masks:
    """What ``--masks`` names: a folder of masks, or a source of images that states them.

    Parameters
    ----------
    name : str
        As typed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._stated = _stated(name)
        self._known, self._revealed = ({}, str) if self._stated else _masks_below(Path(name))

    def of(self, items: Mapping[str, NDArray[Any]], ids: Sequence[str]) -> dict[int, Record]:
        """Return the record of the mask of each image of an item table that has one, by its row."""
        if self._stated:
            return {row: self._stated[key] for row, key in enumerate(ids) if key in self._stated}
        folder, relatives = Path(self.name), items["path"].tolist()
        paired = pair(relatives, self._known, folder, self._revealed)
        return {row: Record(ids[row], Path(), relative, mask=folder / relative) for row, relative in paired.items()}

    def lacking(self, relatives: Sequence[str]) -> str:
        """Return that no image has a mask, and how masks would have to be called."""
        if self._stated:
            return f"none of {counted(len(relatives))} has a mask in {self.name}"
        sought = list(dict.fromkeys(_stem(key) for key in (relatives[0], Path(relatives[0]).name))) if relatives else []
        hint = f"; of {relatives[0]} it would be {' or '.join(sought)}, with the ending of an image" if sought else ""
        return f"none of {len(relatives)} images has a mask in {Path(self.name)}{hint}"


def pair(
    relatives: Sequence[str],
    known: Mapping[str, Sequence[str]],
    folder: Path,
    revealed: Callable[[str], str] = str,
) -> dict[int, str]:
    """Find the mask of each image.

    Parameters
    ----------
    relatives : sequence of str
        Paths of the images below their source.
    known : mapping of str to sequence of str
        Paths of the masks below their folder, by the path without its ending.
    folder : Path
        For messages.
    revealed : callable
        Makes of the path of an image, in which names may be hidden, the one that it has on the disk.

    Returns
    -------
    dict of int to str
        Path of the mask, by the row of the image; images without a mask are not in it.

    Raises
    ------
    SourceError
        If two masks fit one image, or two images one mask.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, relative in enumerate(relatives):
        if (key := next((key for key in _keys(revealed(relative)) if key in known), None)) is not None:
            rows[key].append(row)
    for key, several in rows.items():
        if len(known[key]) > 1:
            raise SourceError(f"{folder}: ambiguous: {_list(known[key])} all fit the image {relatives[several[0]]}")
        if len(several) > 1:
            names = _list([relatives[row] for row in several])
            raise SourceError(
                f"{folder}: ambiguous: {known[key][0]} fits the images {names}; name masks by their paths"
            )
    return {row: known[key][0] for row, key in sorted((row, key) for key, (row,) in rows.items())}


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


def _score(maps: saliency.Maps, masks: Masks, measures: Mapping[str, tuple[Metric, dict[str, Any]]]) -> list[Score]:
    with files.reading(maps.name):
        ids, relatives, contents = (c.tolist() for c in (maps.items.ids, maps.items["path"], maps.items["content"]))
    found = masks.of(maps.items, ids)
    if not found:
        raise SourceError(f"{maps.name}: {masks.lacking(relatives)}")
    values: dict[str, dict[Key, float]] = {name: {} for name in measures}
    chance: dict[str, dict[Key, float]] = {name: {} for name in measures}
    empty = 0
    for row, record in track(found.items(), len(found), f"{maps.name}: maps"):
        lesion = read_mask(record, contents[row])
        if not lesion.any():
            empty += 1
            continue
        with files.reading(maps.name):
            if not np.isfinite(stored := maps.maps[row]).all():
                raise ValueError(f"the map of {ids[row]} is not finite")
        relevance, key = at_size(stored, lesion.shape), (None, None, ids[row])
        for name, (metric, chosen) in measures.items():
            value, random = score_map(metric, chosen, relevance, lesion)
            if value is not None:
                values[name][key] = value
                if random is not None:
                    chance[name][key] = random
    if empty == len(found):
        raise SourceError(f"{maps.name}: all {empty} masks are empty")
    seen = sum(maps.items["seen"][row] in ("train", "validation") for row in found)
    _LOG.info(
        "%s: %d of %d images scored%s; left out: %d without a mask, %d with an empty one",
        maps.name,
        len(found) - empty,
        len(ids),
        f", {seen} of them of patients that the network was trained or selected on" if seen else "",
        len(ids) - len(found),
        empty,
    )
    if lossy := sum(record.mask.suffix.lower() in _JPEG for record in found.values() if record.mask):
        _LOG.warning("%d masks are JPEG, whose noise around a lesion is not zero and counts as lesion; use PNG", lossy)
    return [
        summarise(
            values[name],
            chance[name],
            method=maps.name,
            metric=name,
            against=f"masks {masks.name}",
            left_out=len(ids) - len(values[name]),
            unit="image",
        )
        for name in values
    ]


def _stated(masks: str) -> dict[str, Record]:
    """Return the images of a source that states masks, by id; nothing for a folder of masks."""
    path = Path(masks)
    if (path.exists() and not manifest.recognise(path)) or (not path.exists() and ":" not in masks):
        return {}
    stated = {record.id: record for record in data.read_source(masks).records if record.mask}
    if not stated:
        raise SourceError(f"{masks}: states no masks")
    return stated


def read_mask(record: Record, content: str) -> NDArray[np.bool_]:
    """Return where a mask is not zero (H, W), unless it is the very file that the map explains."""
    path = record.mask or record.path
    try:
        with suppress(OSError), path.open("rb") as file:
            if volumes.is_volume(file.read(2**12)):
                return volumes.labels(path, record.part or 0, like=record.path) != 0
        if content and content_hash(path) == content:
            raise SourceError(f"{path}: is the image itself, not its mask")
        pixels = images.decode(path)
    except ImageError as error:
        raise ImageError(f"mask {error}") from error
    lesion = pixels != 0
    return lesion.any(axis=2) if lesion.ndim == 3 else lesion


def _masks_below(folder: Path) -> tuple[dict[str, list[str]], Callable[[str], str]]:
    """Return the paths of all images below a folder by the path without its ending, and what reveals hidden names.

    Names of images may be hidden, some of a path or all; those that are here are known by hiding them as well.
    """
    known: dict[str, list[str]] = defaultdict(list)
    hide = from_environment()
    behind: dict[str, str] = {}
    for record in directory.read(folder, flow=Flow()):
        known[_stem(record.relative)].append(record.relative)
        behind |= {hide(stem): stem for stem, _ in map(cut, record.relative.split("/"))}

    def revealed(relative: str) -> str:
        names = map(cut, relative.split("/"))
        return "/".join(behind.get(stem, stem) + ending for stem, ending in names)

    return dict(known), revealed


def _keys(relative: str) -> Iterator[str]:
    """Yield what the mask of an image may be called, the longest first; dots need not be the start of an ending."""
    parts = relative.split("/")
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        yield end
        yield _stem(end)


def _stem(relative: str) -> str:
    return os.path.splitext(relative)[0]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
