"""The explanation artifact, ``cbir-explanation``: why each image was retrieved, with all that a page needs.

Schema
------
``queries/images`` (Q, S, S) uint8, ``queries/obs``; ``results/images`` (R, S, S) uint8, ``results/obs``
    The small images as the network saw them, (Q, S, S, 3) where it saw colours, and their item tables. An image that
    is a result twice is stored once.
``pairs/query`` (P,), ``pairs/result`` (P,) int32
    Rows of the two tables.
``pairs/rank`` (P,) int32, ``pairs/distance`` (P,) float32
``pairs/seed``, ``pairs/set`` (P,) int32
    The query's place in a split table, -1 without one.
``maps`` (M, S, S) float16, ``scale`` (M,) float32
    As in the saliency artifact.
``map_pair`` (M,) int32, ``map_on`` (M,) int8
    Which pair a map belongs to, and whether it lies on the query (0) or on the result (1).

Attributes
----------
``method`` (a module of ``similarity/``, or ``none`` for images alone), ``parameters`` (JSON), ``encoder`` and
``similarity`` (as in the embedding artifact), ``targets`` (JSON list), ``index`` (fingerprint).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli.artifacts import files, items
from cbir_cli.artifacts.history import Entry

KIND = "cbir-explanation"
ON_QUERY, ON_RESULT = 0, 1


@dataclass(frozen=True)
class Explanation:
    """Everything of an explanation artifact, in memory. Attributes as in the module's schema."""

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

    def map_of(self, pair: int, on: int) -> np.ndarray | None:
        """Return the map of one pair on the query or on the result, float32, or None."""
        rows = np.flatnonzero((self.map_pair == pair) & (self.map_on == on))
        return self.maps[rows[0]].astype(np.float32) if len(rows) else None


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


def read(artifact: files.Artifact) -> Explanation:
    """Read an open explanation artifact into memory.

    Raises
    ------
    ArtifactError
        If something of the schema is missing or does not fit together.
    """
    file = artifact.file
    with files.reading(artifact.name):
        arrays: dict[str, Any] = {name: np.array(file[path][()]) for name, (path, _) in _ARRAYS.items()}
        for name, array in arrays.items():
            path, dtype = _ARRAYS[name]
            if array.dtype != dtype or array.ndim not in _DIMENSIONS.get(name, (1,)):
                raise ValueError(f"{path} of shape {array.shape}, {array.dtype}")
        tables = []
        for side in ("queries", "results"):
            table = items.read(file[side], artifact.name)
            tables.append(table.take(np.arange(len(table.ids))))
        queries, results = tables
        pairs, maps = len(arrays["query"]), len(arrays["maps"])
        fits = (
            len({arrays[name].shape[1:3] for name in _DIMENSIONS}) == 1
            and arrays["query_images"].shape[3:] == arrays["result_images"].shape[3:] in ((), (3,))
            and all(len(arrays[name]) == pairs for name in ("result", "rank", "distance", "seed", "set"))
            and all(len(arrays[name]) == maps for name in ("scale", "map_pair", "map_on"))
            and len(queries.ids) == len(arrays["query_images"])
            and len(results.ids) == len(arrays["result_images"])
            and _within(arrays["query"], len(queries.ids))
            and _within(arrays["result"], len(results.ids))
            and _within(arrays["map_pair"], pairs)
        )
        if not fits:
            raise ValueError("its tables do not fit together")
        return Explanation(
            queries=queries,
            results=results,
            **arrays,
            method=artifact.text("method"),
            parameters=dict(json.loads(file.attrs["parameters"])),
            encoder=artifact.text("encoder"),
            similarity=artifact.text("similarity"),
            targets=list(json.loads(file.attrs["targets"])),
            index=artifact.text("index"),
        )


def _within(rows: np.ndarray, count: int) -> bool:
    return bool(((rows >= 0) & (rows < count)).all())
