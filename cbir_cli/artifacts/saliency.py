"""The saliency artifact, ``cbir-saliency``: one map for each image.

Schema
------
``maps`` (N, H, W) float16, or (N, 3, H, W) where ``input`` is ``rgb``
    One chunk an image. Each map is divided by its largest magnitude, so it lies in [-1, 1]; a flat map is all zero.
``scale`` (N,) float32
    That magnitude: ``maps * scale`` is the relevance in the method's own units.
``uncertainty`` (N, H, W) float16, ``uncertainty_scale`` (N,) float32
    Only of a method that says how sure its maps are (``relax``), stored in the same way; at least 0, larger is less
    sure.
``fitted/<name>``
    Only where the method learns something from images first: what it has learnt.
``obs``
    The item table (see ``items``).
``unreadable/id``, ``unreadable/reason``
    Images that could not be decoded.

Attributes
----------
``method``, ``parameters`` (JSON; with ``seed`` where the method draws), ``input`` (what of the relevance is stored and
fed to a second network: ``sum-repeat``, the sum over channels, as three copies; ``positive``, the positive part of that
sum; ``rgb``, its three channels), ``target`` (what is explained), ``model`` (fingerprint of the model artifact),
``model-space`` (fingerprint of its weights and preprocessing), ``flat-maps`` (how many maps are all zero), ``source``
and ``reader`` (as in the embedding artifact).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from cbir_cli.artifacts import _unreadable, files, items
from cbir_cli.artifacts.history import Entry
from cbir_cli.artifacts.model import read_fitted, saliency_space, write_fitted
from cbir_cli.maps import INPUTS, shape

KIND = "cbir-saliency"


@dataclass(frozen=True)
class Maps:
    """The maps of an open artifact; ``maps`` and ``uncertainty`` are HDF5 datasets, read row by row."""

    maps: Any
    scale: np.ndarray
    items: items.Items
    method: str
    parameters: dict[str, Any]
    input: str
    fitted: dict[str, np.ndarray]
    target: str
    model: str
    model_space: str
    flat: int
    unreadable: dict[str, str]
    source: str
    reader: str
    fingerprint: str
    history: list[Entry]
    name: str
    uncertainty: Any = None
    uncertainty_scale: np.ndarray | None = None

    @property
    def space(self) -> str:
        """Fingerprint of how the maps were made: network, method, parameters, form and what the method learnt."""
        return saliency_space(self.model_space, self.method, self.parameters, self.input, self.fitted)


def write(
    target: str,
    maps: np.ndarray,
    scale: np.ndarray,
    table: items.Items,
    *,
    attributes: Mapping[str, Any],
    fitted: Mapping[str, np.ndarray] = MappingProxyType({}),
    uncertainty: tuple[np.ndarray, np.ndarray] | None = None,
    unreadable: Mapping[str, str],
    history: Sequence[Entry],
    shard: tuple[int, int] = (1, 1),
) -> None:
    """Write a saliency artifact, the maps a block at a time; ``attributes`` are those of the schema.

    ``uncertainty`` is that and its scale.
    """
    with files.create(target, KIND, history, shard=shard) as file:
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
        file.attrs["flat-maps"] = int(np.count_nonzero(scale == 0))
        _write_stack(file, "maps", maps)
        file.create_dataset("scale", data=np.asarray(scale, np.float32))
        if uncertainty is not None:
            _write_stack(file, "uncertainty", uncertainty[0])
            file.create_dataset("uncertainty_scale", data=np.asarray(uncertainty[1], np.float32))
        items.write(file, table)
        write_fitted(file, fitted)
        _unreadable.write(file, unreadable)


def _write_stack(file: Any, name: str, maps: np.ndarray) -> None:
    shape = maps.shape
    dataset = file.create_dataset(name, shape, np.float16, chunks=(1, *shape[1:]) if len(maps) else None)
    for start in range(0, len(maps), 64):
        dataset[start : start + 64] = maps[start : start + 64]


def read(artifact: files.Artifact) -> Maps:
    """Return the maps of an open artifact.

    Raises
    ------
    ArtifactError
        If something of the schema is missing or does not fit together.
    """
    file = artifact.file
    with files.reading(artifact.name):
        maps, table = file["maps"], items.read(file, artifact.name)
        form = str(file.attrs["input"])
        if form not in INPUTS:
            raise ValueError(f"expected input {', '.join(INPUTS)}, found {form!r}")
        if maps.shape[1:] != shape(form, *maps.shape[-1:] * 2) or maps.dtype != np.float16:
            raise ValueError(f"maps of shape {maps.shape}, {maps.dtype} for input {form}")
        if len(maps) != len(table.ids) or file["scale"].shape != (len(maps),) or file["scale"].dtype != np.float32:
            raise ValueError(f"{len(maps)} maps for {len(table.ids)} images")
        uncertainty, uncertainty_scale = _read_uncertainty(file, maps)
        return Maps(
            maps,
            file["scale"][()],
            table,
            artifact.text("method"),
            dict(json.loads(file.attrs["parameters"])),
            form,
            read_fitted(file),
            artifact.text("target"),
            artifact.text("model"),
            artifact.text("model-space"),
            int(file.attrs["flat-maps"]),
            _unreadable.read(file),
            artifact.text("source"),
            artifact.text("reader"),
            artifact.fingerprint,
            artifact.history,
            artifact.name,
            uncertainty,
            uncertainty_scale,
        )


def _read_uncertainty(file: Any, maps: Any) -> tuple[Any, np.ndarray | None]:
    if "uncertainty" not in file:
        return None, None
    stack, scale = file["uncertainty"], file["uncertainty_scale"]
    wanted = (len(maps), *maps.shape[-2:])
    if stack.shape != wanted or stack.dtype != np.float16 or scale.shape != wanted[:1] or scale.dtype != np.float32:
        raise ValueError(f"uncertainty of shape {stack.shape}, {stack.dtype} beside maps of shape {maps.shape}")
    return stack, scale[()]
