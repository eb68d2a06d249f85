"""The model artifact, ``cbir-model``: a network, all that is needed to feed it, and whom it has seen.

Schema
------
``weights/<name>``
    One dataset for each entry of the network's state dict, under torchvision's names.
``split/patient``, ``split/set``
    Pseudonym of every patient of the training sources, those of the initial weights included (of an image without
    patient: its id), and his set: train, validation or test. The attribute ``pseudonyms`` of the group is that of an
    item table.
``saliency_model/``
    Only in an interpretability-guided (IG) model: the saliency network, whole, in this same schema, with attributes
    ``method``, ``parameters`` (JSON) and ``map-input`` (``input`` of the saliency artifact) that say how it makes a
    map, and what its method has learnt from images, if anything, in ``fitted/<name>``.

Attributes
----------
``architecture`` (a module of ``models/``), ``outputs`` (JSON list: what each logit stands for), ``task`` (JSON, as
resolved), ``objective``, ``feature-layer``, ``feature-width``, ``input`` (JSON: size, mean, std, colour), ``scores``
(JSON: of the chosen epoch on the validation patients), ``epochs`` (JSON list: the training history).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np

from cbir_cli.artifacts import _anndata, files
from cbir_cli.artifacts.history import Entry
from cbir_cli.images import InputSpec

KIND = "cbir-model"

SETS = ("train", "validation", "test")
"""What a patient can be to a model, the deepest involvement first."""


@dataclass(frozen=True)
class Model:
    """A network as an artifact holds it. Attributes as in the module's schema."""

    architecture: str
    weights: Mapping[str, np.ndarray]
    outputs: list[str]
    task: dict[str, Any]
    objective: str
    feature_layer: str
    feature_width: int
    input: InputSpec
    scores: dict[str, float | None] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    split: dict[str, str] = field(default_factory=dict)
    pseudonyms: str = ""
    saliency: "Saliency | None" = None
    fingerprint: str = ""
    history: list[Entry] = field(default_factory=list)
    name: str = ""

    @property
    def gives_outputs(self) -> bool:
        """Whether it has logits: the vector of a model that has none is what the network returns."""
        return not self.feature_layer.endswith(".output")

    def space(self) -> str:
        """Return the fingerprint of the space its vectors live in: weights, preprocessing and saliency stage."""
        stage = self.saliency.space() if self.saliency else ""
        return space_of(self, stage)


@dataclass(frozen=True)
class Saliency:
    """How an IG model turns an image into a map."""

    model: Model
    method: str
    parameters: dict[str, Any]
    input: str
    fitted: Mapping[str, np.ndarray] = field(default_factory=dict)

    def space(self) -> str:
        """Return the fingerprint of the maps: saliency network, method, parameters, form and what the method learnt."""
        return saliency_space(self.model.space(), self.method, self.parameters, self.input, self.fitted)


def join_splits(*splits: Mapping[str, str]) -> dict[str, str]:
    """Return each patient's set over several trainings: train if any trained on him, else validation, else test."""
    joined: dict[str, str] = {}
    for split in splits:
        for patient, role in split.items():
            joined[patient] = min(role, joined.get(patient, role), key=SETS.index)
    return joined


def saliency_space(
    model_space: str,
    method: str,
    parameters: Mapping[str, Any],
    form: str,
    fitted: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> str:
    """Return the fingerprint of the maps that a method makes with a network."""
    return _digest([model_space, method, dict(parameters), form, _digest_of_arrays(fitted)])


def space_of(model: Model, saliency: str) -> str:
    """Return the fingerprint of the space of a network that is fed images (``saliency`` empty) or maps.

    Feeding a maps file to a network, and feeding images to an IG model that holds both networks, give the same space.
    """
    # What counts training steps is left out: no feature depends on it.
    weights = {name: array for name, array in model.weights.items() if not name.endswith("num_batches_tracked")}
    digest = _digest_of_arrays(weights)
    return _digest([digest, model.architecture, model.feature_layer, model.input.to_dict(), saliency])


def write(target: str, model: Model) -> None:
    """Write a model artifact."""
    with files.create(target, KIND, model.history) as file:
        _write_group(file, model)


def read(source: str) -> Model:
    """Read a model artifact into memory.

    Raises
    ------
    ArtifactError
        If the file is not a whole model artifact, or one of its bytes has changed.
    """
    with files.open_artifact(source, KIND, whole=True) as artifact:
        with files.reading(artifact.name):
            return _read_group(artifact.file, artifact.name, artifact.fingerprint, artifact.history)


def _write_group(group: h5py.Group, model: Model) -> None:
    group.attrs["architecture"] = model.architecture
    group.attrs["objective"] = model.objective
    group.attrs["feature-layer"] = model.feature_layer
    group.attrs["feature-width"] = model.feature_width
    for name, value in (
        ("outputs", model.outputs),
        ("task", model.task),
        ("input", model.input.to_dict()),
        ("scores", model.scores),
        ("epochs", model.epochs),
    ):
        group.attrs[name] = json.dumps(value, sort_keys=True)
    weights = group.create_group("weights")
    for name, array in model.weights.items():
        weights.create_dataset(name, data=array)
    split = group.create_group("split")
    _anndata.texts(split, "patient", sorted(model.split))
    _anndata.texts(split, "set", [model.split[p] for p in sorted(model.split)])
    split.attrs["pseudonyms"] = model.pseudonyms
    if model.saliency:
        nested = group.create_group("saliency_model")
        nested.attrs["method"] = model.saliency.method
        nested.attrs["parameters"] = json.dumps(model.saliency.parameters, sort_keys=True)
        nested.attrs["map-input"] = model.saliency.input
        nested.attrs["fingerprint-of-file"] = model.saliency.model.fingerprint
        _write_group(nested, model.saliency.model)
        write_fitted(nested, model.saliency.fitted)


def _read_group(group: h5py.Group, name: str, fingerprint: str, history: Sequence[Entry]) -> Model:
    saliency = None
    if "saliency_model" in group:
        nested = group["saliency_model"]
        inner = _read_group(nested, name, str(nested.attrs["fingerprint-of-file"]), [])
        saliency = Saliency(
            inner,
            str(nested.attrs["method"]),
            _json(nested, "parameters", dict),
            str(nested.attrs["map-input"]),
            read_fitted(nested),
        )
    patients = _anndata.column(group["split"], "patient")
    sets = _anndata.column(group["split"], "set")
    return Model(
        architecture=str(group.attrs["architecture"]),
        weights={key: group["weights"][key][()] for key in group["weights"]},
        outputs=_json(group, "outputs", list),
        task=_json(group, "task", dict),
        objective=str(group.attrs["objective"]),
        feature_layer=str(group.attrs["feature-layer"]),
        feature_width=int(group.attrs["feature-width"]),
        input=InputSpec.from_dict(_json(group, "input", dict)),
        scores=_json(group, "scores", dict),
        epochs=_json(group, "epochs", list),
        split=dict(zip(patients.tolist(), sets.tolist(), strict=True)),
        pseudonyms=str(group["split"].attrs["pseudonyms"]),
        saliency=saliency,
        fingerprint=fingerprint,
        history=list(history),
        name=name,
    )


def write_fitted(group: h5py.Group, fitted: Mapping[str, np.ndarray]) -> None:
    """Store what a saliency method has learnt from images; nothing where it learns nothing."""
    for name in sorted(fitted):  # as they are read back, so that a merge has the same bytes
        group.create_dataset(f"fitted/{name}", data=fitted[name])


def read_fitted(group: h5py.Group) -> dict[str, np.ndarray]:
    """Return what a saliency method has learnt from images, by name."""
    return {name: group["fitted"][name][()] for name in group["fitted"]} if "fitted" in group else {}


def _json(group: h5py.Group, name: str, kind: type) -> Any:
    value = json.loads(group.attrs[name])
    if not isinstance(value, kind):
        raise ValueError(f"{name} is not what it should be: {str(value)[:40]}")
    return value


def _digest_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
