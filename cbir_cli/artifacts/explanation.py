"""The explanation artifact, ``cbir-explanation``: why each image was retrieved, with all that a page needs.

Schema
------
``queries/images`` (Q, S, S) uint8, ``queries/obs``; ``results/images`` (R, S, S) uint8, ``results/obs``
    The small images as the network saw them, (Q, S, S, 3) where it saw colours, and their item tables. An image that
    is a result twice is stored once.
``queries/hounsfield`` (Q, S, S), ``results/hounsfield`` (R, S, S) int16, optional
    The same images in Hounsfield units, cut to -1024 to 3071: of a CT, whose images are seen through a window.
    Attribute ``window`` of the file (JSON, LOW and HIGH): what the network saw as 0 and 1.
``pairs/query`` (P,), ``pairs/result`` (P,) int32
    Rows of the two tables.
``pairs/rank`` (P,) int32, ``pairs/distance`` (P,) float32
    Ranks of a query are 1, 2, ...; those of its least similar results follow after a gap.
``pairs/seed``, ``pairs/set`` (P,) int32
    The query's place in a split table, -1 without one.
``maps`` (M, S, S) float16, ``scale`` (M,) float32
    As in the saliency artifact. A map that is zero everywhere has scale 0; older files leave such maps out.
``map_pair`` (M,) int32, ``map_on`` (M,) int8
    Which pair a map belongs to, and whether it lies on the query (0) or on the result (1).
``map_what`` (M,) int8, optional
    Whether a map is importance (0) or the uncertainty of one (1); without it all are importance. M0 of them are.
``measures/insertion``, ``measures/deletion`` (M0, T) float32, optional
    Similarity of the pair, from 0 to 1, after each step in which pixels of the map's image are put in or taken out:
    a row for each importance map, in the order of ``maps``; the first column is before the first step.
``measures/random-map/``, ``measures/random-model/``, each with ``insertion`` and ``deletion`` (M0, T) float32, optional
    The same with a random map, and with a map that the method made of a network with fresh weights; what was
    not asked for is not there. A map whose values are all equal has the curve of the random map.
    Attributes of ``measures``: ``parameters`` (JSON), ``fractions`` (JSON list of T: share of the pixels changed).
``randomisation/cascade``, ``randomisation/independent`` (M0, L) float32, optional
    Spearman's rank correlation of each map with that of a network without the layer and all above it, or without it
    alone; NaN where one of the two has no ranks. Attributes: ``layers`` (JSON list of L), ``sign`` (``signed``, or
    ``absolute`` where magnitudes are ranked).
``classes/images`` (C, S, S[, 3]) uint8, ``classes/maps`` (C, S, S) float32, ``classes/count`` (C,) int32, optional
    Average image and average map of the images of each class, each explained with itself; maps in the method's own
    unit. Attribute: ``names`` (JSON list of C).

Attributes
----------
``method`` (a module of ``similarity/``, or ``none`` for images alone), ``parameters`` (JSON), ``encoder`` and
``similarity`` (as in the embedding artifact), ``targets`` (JSON list), ``index`` (fingerprint).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from cbir_cli.artifacts import _measures, files, items
from cbir_cli.artifacts._measures import Classes, Curves, Measures, Randomisation
from cbir_cli.artifacts.history import Entry

__all__ = [
    "IMPORTANCE",
    "KIND",
    "ON_QUERY",
    "ON_RESULT",
    "UNCERTAINTY",
    "Classes",
    "Curves",
    "Explanation",
    "Measures",
    "Randomisation",
    "read",
    "write",
]
KIND = "cbir-explanation"
ON_QUERY, ON_RESULT = 0, 1
IMPORTANCE, UNCERTAINTY = 0, 1


@dataclass(frozen=True)
class Explanation:
    """Everything of an explanation artifact, images and maps memory-mapped. Attributes as in the module's schema."""

    query_images: np.ndarray
    queries: items.Items
    result_images: np.ndarray
    results: items.Items
    query: np.ndarray
    result: np.ndarray
    rank: np.ndarray
    distance: np.ndarray
    seed: np.ndarray
    set: np.ndarray
    maps: np.ndarray
    scale: np.ndarray
    map_pair: np.ndarray
    map_on: np.ndarray
    method: str
    parameters: dict[str, Any]
    encoder: str
    similarity: str
    targets: list[str]
    index: str
    map_what: np.ndarray = field(default_factory=lambda: np.empty(0, np.int8))
    measures: Measures | None = None
    randomisation: Randomisation | None = None
    classes: Classes | None = None
    query_hounsfield: np.ndarray | None = None
    result_hounsfield: np.ndarray | None = None
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Take all maps for importance where nothing says what they are."""
        if not len(self.map_what):
            object.__setattr__(self, "map_what", np.zeros(len(self.maps), np.int8))

    @property
    def importance(self) -> np.ndarray:
        """Rows of ``maps`` that are importance, (M0,) int: what the rows of measures and randomisation belong to."""
        return np.flatnonzero(self.map_what == IMPORTANCE)

    @property
    def importance_maps(self) -> np.ndarray:
        """The maps of importance, (M0, S, S) float16: the maps themselves where there are no others."""
        return self.maps[self.importance] if self.map_what.any() else self.maps


_ARRAYS: Mapping[str, tuple[str, type]] = {
    "query": ("pairs/query", np.int32),
    "result": ("pairs/result", np.int32),
    "rank": ("pairs/rank", np.int32),
    "distance": ("pairs/distance", np.float32),
    "seed": ("pairs/seed", np.int32),
    "set": ("pairs/set", np.int32),
    "query_images": ("queries/images", np.uint8),
    "result_images": ("results/images", np.uint8),
    "maps": ("maps", np.float16),
    "scale": ("scale", np.float32),
    "map_pair": ("map_pair", np.int32),
    "map_on": ("map_on", np.int8),
}


QUERY_HOUNSFIELD, RESULT_HOUNSFIELD = "queries/hounsfield", "results/hounsfield"

_DIMENSIONS = {"query_images": (3, 4), "result_images": (3, 4), "maps": (3,)}
"""Of stacks of pictures; everything else has one."""


def write(target: str, explanation: Explanation, *, history: Sequence[Entry]) -> None:
    """Write an explanation artifact."""
    with files.create(target, KIND, history) as file:
        for name in ("method", "encoder", "similarity", "index"):
            file.attrs[name] = getattr(explanation, name)
        for name in ("parameters", "targets"):
            file.attrs[name] = json.dumps(getattr(explanation, name), sort_keys=True)
        for name, (path, dtype) in _ARRAYS.items():
            file.create_dataset(path, data=np.asarray(getattr(explanation, name), dtype))
        items.write(file["queries"], explanation.queries)
        items.write(file["results"], explanation.results)
        if explanation.map_what.any():
            file.create_dataset("map_what", data=np.asarray(explanation.map_what, np.int8))
        for path, values in (
            (QUERY_HOUNSFIELD, explanation.query_hounsfield),
            (RESULT_HOUNSFIELD, explanation.result_hounsfield),
        ):
            if values is not None:
                file.create_dataset(path, data=np.asarray(values, np.int16))
        if explanation.window:
            file.attrs["window"] = json.dumps(list(explanation.window))
        if explanation.measures:
            _measures.write_measures(file, explanation.measures)
        if explanation.randomisation:
            _measures.write_randomisation(file, explanation.randomisation)
        if explanation.classes:
            _measures.write_classes(file, explanation.classes)


def read(artifact: files.Artifact) -> Explanation:
    """Read an open explanation artifact; images and maps are memory-mapped, also when it is closed.

    Raises
    ------
    ArtifactError
        If something of the schema is missing or does not fit together.
    """
    file = artifact.file
    with files.reading(artifact.name):
        arrays: dict[str, Any] = {name: artifact.array(path) for name, (path, _) in _ARRAYS.items()}
        for name, array in arrays.items():
            path, dtype = _ARRAYS[name]
            if array.dtype != dtype or array.ndim not in _DIMENSIONS.get(name, (1,)):
                raise ValueError(f"{path} of shape {array.shape}, {array.dtype}")
        tables = []
        for side in ("queries", "results"):
            table = items.read(file[side], artifact.name)
            tables.append(table.take(np.arange(len(table.ids))))
        queries, results = tables
        _check(arrays, len(queries.ids), len(results.ids))
        units = [
            _hounsfield(artifact, path, arrays[name].shape)
            for path, name in ((QUERY_HOUNSFIELD, "query_images"), (RESULT_HOUNSFIELD, "result_images"))
        ]
        what = _what(file, len(arrays["maps"]))
        importance = int((what == IMPORTANCE).sum())
        return Explanation(
            queries=queries,
            results=results,
            **arrays,
            method=artifact.text("method"),
            parameters=dict(json.loads(file.attrs["parameters"])),
            encoder=artifact.text("encoder"),
            similarity=artifact.text("similarity"),
            targets=_measures.names(file, "targets"),
            index=artifact.text("index"),
            map_what=what,
            measures=_measures.read_measures(file, importance),
            randomisation=_measures.read_randomisation(file, importance),
            classes=_measures.read_classes(file, arrays["query_images"].shape[1:]),
            query_hounsfield=units[0],
            result_hounsfield=units[1],
            window=_window(file),
        )


def _check(arrays: Mapping[str, np.ndarray], queries: int, results: int) -> None:
    """Refuse arrays that do not fit together, or to so many images of queries and results."""
    pairs, maps = len(arrays["query"]), len(arrays["maps"])
    fits = (
        len({arrays[name].shape[1:3] for name in _DIMENSIONS}) == 1
        and arrays["query_images"].shape[3:] == arrays["result_images"].shape[3:] in ((), (3,))
        and all(len(arrays[name]) == pairs for name in ("result", "rank", "distance", "seed", "set"))
        and all(len(arrays[name]) == maps for name in ("scale", "map_pair", "map_on"))
        and queries == len(arrays["query_images"])
        and results == len(arrays["result_images"])
        and _within(arrays["query"], queries)
        and _within(arrays["result"], results)
        and _within(arrays["map_pair"], pairs)
    )
    if not fits:
        raise ValueError("its tables do not fit together")
    if not (all(np.isfinite(one).all() for one in arrays["maps"]) and np.isfinite(arrays["scale"]).all()):
        raise ValueError("a map is not finite")
    if not np.isfinite(arrays["distance"]).all():
        raise ValueError("a distance is not finite")
    if (arrays["scale"] < 0).any() or not np.isin(arrays["map_on"], (ON_QUERY, ON_RESULT)).all():
        raise ValueError("a map has a negative scale, or lies on neither query nor result")


def _what(file: h5py.Group, maps: int) -> np.ndarray:
    """Return what each map is; older files hold importance alone and do not say so."""
    what = _measures.array(file, "map_what", np.int8, (maps,)) if "map_what" in file else np.zeros(maps, np.int8)
    if not np.isin(what, (IMPORTANCE, UNCERTAINTY)).all():
        raise ValueError("map_what holds more than 0 and 1")
    return what


def _hounsfield(artifact: files.Artifact, path: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return images in Hounsfield units, memory-mapped; None in a file that has none."""
    if path not in artifact.file:
        return None
    found = artifact.array(path)
    if found.dtype != np.int16 or found.shape != shape[:3]:
        raise ValueError(f"{path} of shape {found.shape}, {found.dtype}")
    return found


def _window(file: h5py.Group) -> tuple[float, float] | None:
    if "window" not in file.attrs:
        return None
    low, high = (float(bound) for bound in json.loads(file.attrs["window"]))
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"window {low:g} to {high:g}")
    return low, high


def _within(rows: np.ndarray, count: int) -> bool:
    return bool(((rows >= 0) & (rows < count)).all())
