"""From an image to a vector: the networks of a model artifact, or a built-in, behind one small interface."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.model import Model, read, saliency_space, space_of
from cbir_cli.artifacts.partial import Fields
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec
from cbir_cli.maps import as_pixels, shown

log = logging.getLogger("cbir")

BUILT_IN = ("ssim", "imagenet")

COMPATS = ("none", "silva2020")
"""Errors of released code that can be repeated.

``silva2020``: the 2020 authors' script multiplies the catalogue's maps by 255, for Keras to divide them by 255 again,
and by a slip multiplies a wrong variable where it should the query's map. So the query's map reaches the network 255
times smaller than those it is compared with.
"""


class Encoder(Protocol):
    """What embeds pixels.

    Attributes
    ----------
    input : InputSpec
        How a file becomes pixels.
    space : Space
        What the vectors mean.
    width : int
        D, the length of a vector.
    task : dict
        What the model was trained to, as it stores it; empty for a built-in.
    """

    input: InputSpec
    space: Space
    width: int
    task: dict[str, Any]

    @property
    def fields(self) -> Fields:
        """Shape and dtype of each row that ``rows`` returns."""

    def rows(self, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return ``X`` (N, D) and, where the model classifies, ``logits`` (N, C) of pixels (N, S, S)."""

    @property
    def libraries(self) -> list[str]:
        """Names of the libraries that the vectors come from, for the history."""

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Return saliency maps (N, S, S) float32 of pixels (N, S, S), to be shown; UsageError where there are none."""


@dataclass
class Settings:
    """Where and how networks run.

    Attributes
    ----------
    engine : str
        ``auto`` (ONNX Runtime on CPU, PyTorch on GPU), ``onnxruntime`` or ``torch``.
    device : str
    threads : int or None
    compat : str
        One of ``COMPATS``.
    """

    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    compat: str = "none"


class Network:
    """The encoder of a model artifact: a CNN fed with images, or with maps; an IG model's two networks.

    Parameters
    ----------
    model : Model
    settings : Settings
    saliency : str
        Set when the CNN is fed with maps from a file: the fingerprint of those maps (``CNN(IG)``, or IG by way of a
        maps file). For an IG model the maps must be its own.
    targets : list of str
        Labels of the source that the model's task is about.

    Raises
    ------
    UsageError
        If the maps are not the model's, or ``settings.compat`` is unknown or asked for without maps.
    """

    def __init__(
        self, model: Model, settings: Settings, *, saliency: str = "", targets: list[str] | None = None
    ) -> None:
        if saliency and model.saliency and saliency != model.saliency.space():
            raise UsageError(f"{model.name}: the maps were made by another network or method than this model's own")
        self.model = model
        self.settings = settings
        self.input = model.input
        self.width = model.feature_width
        self.task = model.task
        self._from_file = bool(saliency)
        stage = model.saliency
        tuned = stage is not None and space_of(model, "") != space_of(stage.model, "")
        guided = stage is not None or bool(saliency)
        _check_compat(settings.compat, model.name, guided=guided)
        self.space = Space(
            similarity="l2",
            fingerprint=space_of(model, saliency or (model.saliency.space() if model.saliency else "")),
            encoder="ig" if tuned else "cnn(ig)" if guided else "cnn",
            outputs=model.outputs,
            targets=targets or [],
            model_name=Path(model.name).name,
            model_fingerprint=model.fingerprint,
            input=model.input.to_dict(),
            compat=settings.compat,
        )

    @cached_property
    def _features(self) -> Any:
        from cbir_cli import engines

        model, settings = self.model, self.settings
        return engines.encoder(
            model.architecture,
            model.weights,
            len(model.outputs),
            engine=settings.engine,
            device=settings.device,
            threads=settings.threads,
        )

    @cached_property
    def _mapper(self) -> "Mapper":
        stage = self.model.saliency
        if stage is None:
            return Mapper(self.model, "deep-taylor", {}, self.settings)
        return Mapper(stage.model, stage.method, stage.parameters, self.settings, form=stage.input, fitted=stage.fitted)

    def rows(self, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        """See ``Encoder.rows``; made for a maps file, it is given ``maps.as_pixels`` of the maps."""
        if self.model.saliency and not self._from_file:
            pixels = as_pixels(self._mapper(pixels)[0])  # as stored: a maps file in between gives the same vectors
        if self.space.compat == "silva2020":
            pixels = pixels / np.float32(255)
        features, logits = self._features(self.input.prepare(pixels))
        return {"X": features, "logits": logits}

    @property
    def fields(self) -> Fields:
        """See ``Encoder.fields``."""
        return {"X": ((self.width,), "<f4"), "logits": ((len(self.model.outputs),), "<f4")}

    @property
    def libraries(self) -> list[str]:
        """See ``Encoder.libraries``."""
        maps = ["torch"] if self.model.saliency and not self._from_file else []
        return ["numpy", self._features.engine, *maps]

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Return the vectors (N, D) alone."""
        return np.asarray(self.rows(pixels)["X"])

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """See ``Encoder.maps``: the IG model's own maps, or those of a CNN of itself."""
        return shown(self._mapper(pixels)[0])

    @property
    def size(self) -> int:
        """Side of the input in pixels."""
        return self.input.size

    @property
    def similarity(self) -> str:
        """How the vectors are compared."""
        return self.space.similarity


class Mapper:
    """From pixels (N, S, S) to maps, as ``maps.finish`` has them, and their scale (N,) float32, by a saliency method.

    Parameters
    ----------
    model : Model
        The network that is explained.
    method : str
    parameters : mapping
        What differs from the method's defaults; ``seed`` among them where the method draws, 0 by default.
    settings : Settings
    form : str
        One of ``maps.INPUTS``.
    fitted : mapping of str to ndarray
        What the method has learnt from images, where it does.

    Raises
    ------
    UsageError
        If the method has to be fitted first.
    """

    def __init__(
        self,
        model: Model,
        method: str,
        parameters: Mapping[str, Any],
        settings: Settings,
        *,
        form: str = "sum-repeat",
        fitted: Mapping[str, np.ndarray] = MappingProxyType({}),
    ) -> None:
        from cbir_cli import mappers

        self.model, self.method, self.form, self.fitted = model, registry.canonical(method), form, dict(fitted)
        self._settings = settings
        way = registry.load("saliency", method)
        if hasattr(way, "fit") and not fitted:
            raise UsageError(f"saliency method {method} has to be fitted to images first")
        self._explain = way.explain
        seed = {"seed": 0} if mappers.takes(way.explain, "generator") else {}
        self.parameters = {**registry.parameters(way.explain), **seed, **parameters}

    @cached_property
    def _maps(self) -> Any:
        from cbir_cli import mappers

        model, settings = self.model, self._settings
        return mappers.saliency_mapper(
            model.architecture,
            model.weights,
            len(model.outputs),
            self._explain,
            device=settings.device,
            threads=settings.threads,
            parameters={name: value for name, value in self.parameters.items() if name != "seed"},
            form=self.form,
            seed=self.parameters.get("seed", 0),
            fitted=self.fitted,
        )

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return maps and their scale."""
        return self._maps(self.model.input.prepare(pixels))

    def space(self) -> str:
        """Return the fingerprint of the maps."""
        return saliency_space(self.model.space(), self.method, self.parameters, self.form, self.fitted)


class Ssim:
    """The SSIM baseline: the vector is the image itself, in 8-bit levels, and the comparison is the structure.

    Parameters
    ----------
    size : int
        Side in pixels.
    """

    def __init__(self, size: int) -> None:
        self.input = InputSpec(size=size)
        self.width = size * size
        self.task: dict[str, Any] = {}
        self.space = Space(
            "ssim", f"ssim {size}", "ssim", model_name="ssim", model_fingerprint="ssim", input=self.input.to_dict()
        )

    def rows(self, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        """See ``Encoder.rows``."""
        levels = np.rint(pixels * 255).astype(np.float32)
        return {"X": levels.reshape(len(pixels), -1)}

    @property
    def fields(self) -> Fields:
        """See ``Encoder.fields``."""
        return {"X": ((self.width,), "<f4")}

    @property
    def libraries(self) -> list[str]:
        """See ``Encoder.libraries``."""
        return ["numpy"]

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Raise: SSIM has no saliency maps."""
        raise UsageError("ssim has no saliency maps; use --method none")


def open_encoder(name: str, settings: Settings, *, image_size: int | None = None) -> Network | Ssim:
    """Return the encoder of a model artifact or of a built-in.

    Parameters
    ----------
    name : str
        Path, or one of ``BUILT_IN``.
    settings : Settings
    image_size : int, optional
        Side of the input; only where the model does not fix it.

    Raises
    ------
    UsageError
        If the model fixes another input size, or ``settings.compat`` does not go with it.
    WeightsError
        If ``imagenet`` is asked for and its weights cannot be had.
    """
    if name == "ssim":
        _check_compat(settings.compat, name, guided=False)
        return Ssim(image_size or InputSpec().size)
    if name == "imagenet":
        return Network(imagenet(image_size or InputSpec().size), settings)
    model = read(name)
    if image_size not in (None, model.input.size):
        raise UsageError(f"{name}: was trained at {model.input.size} px; --image-size {image_size} does not fit")
    return Network(model, settings)


def _check_compat(compat: str, name: str, *, guided: bool) -> None:
    if compat not in COMPATS:
        raise registry.unknown("compat", compat, COMPATS)
    if compat != "none" and not guided:
        raise UsageError(
            f"compat={compat} is about maps: it goes with an IG or CNN(IG) model, and {name} is fed images"
        )


def imagenet(size: int) -> Model:
    """Return DenseNet-121 as torchvision ships it, trained on ImageNet."""
    from cbir_cli.models import _weights, densenet121

    module = _weights.load_initial("imagenet", "densenet121", 1000, seed=0)
    return Model(
        architecture="densenet121",
        weights={name: tensor.numpy() for name, tensor in module.state_dict().items()},
        outputs=[f"imagenet {i}" for i in range(1000)],
        task={},
        objective="imagenet",
        feature_layer=densenet121.FEATURE_LAYER,
        feature_width=densenet121.FEATURES,
        input=InputSpec(size=size),
        fingerprint="imagenet",
        name="imagenet",
    )
