"""From an image to a vector: the networks of a model artifact, or a built-in, behind one small interface."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cbir_cli import registry, windows
from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.model import Model, read, saliency_space, space_of
from cbir_cli.artifacts.partial import Fields
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec
from cbir_cli.maps import as_pixels, shown

if TYPE_CHECKING:
    from cbir_cli.opened import Opened

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
        """Return ``X`` (N, D) and, where the model classifies, ``logits`` (N, C) of pixels, as ``input`` loads them."""

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

    The vector is what the model's ``feature-layer`` says: what the last layer is given, with the logits beside it, or
    what the network returns, without logits.

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
            similarity=similarity_of(model.objective),
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
        inputs, outputs = self._features(self._prepare(pixels))
        return {"X": inputs, "logits": outputs} if gives_outputs(self.model) else {"X": outputs}

    @property
    def fields(self) -> Fields:
        """See ``Encoder.fields``."""
        logits: Fields = {"logits": ((len(self.model.outputs),), "<f4")} if gives_outputs(self.model) else {}
        return {"X": ((self.width,), "<f4"), **logits}

    @property
    def libraries(self) -> list[str]:
        """See ``Encoder.libraries``."""
        maps = ["torch"] if self.model.saliency and not self._from_file else []
        return ["numpy", self._features.engine, *maps]

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Return the vectors (N, D) alone."""
        return np.asarray(self.rows(pixels)["X"])

    def _prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Return what the network that gives the vectors is fed: images, or an IG model's maps of them."""
        if self.model.saliency and not self._from_file:
            pixels = as_pixels(self._mapper(pixels)[0])  # as stored: a maps file in between gives the same vectors
        if self.space.compat == "silva2020":
            pixels = pixels / np.float32(255)
        return self.input.prepare(pixels)

    def opened(self) -> "Opened":
        """Return the network that gives the vectors, for gradients; of an IG model the second, which is fed maps."""
        return self._opened

    @cached_property
    def _opened(self) -> "Opened":
        from torch import nn

        from cbir_cli import engines
        from cbir_cli.opened import Opened

        model, settings = self.model, self.settings
        architecture = registry.load("models", model.architecture)
        module = engines.network(architecture, model.weights)
        if gives_outputs(model):  # the vector is what the last layer is given
            module.set_submodule(architecture.HEAD, nn.Identity())
        device, threads = engines.choose_device(settings.device), settings.threads or engines.cpu_threads()
        name = registry.canonical(model.architecture)
        return Opened(module, self._prepare, name=name, device=device, threads=threads)

    @property
    def encode_hidden(self) -> Callable[..., Iterator[tuple[np.ndarray, np.ndarray]]] | None:
        """What ``encode`` gives of one image with boxes hidden, faster; None where a first network sees the boxes too.

        ``encode_hidden(image, boxes, fill)`` takes pixels (S, S) or (S, S, 3), ``boxes`` of (y0, y1, x0, x1) and a grey
        level, and yields rows of ``boxes`` with their vectors (N, D), in any order.
        """
        guided = self.model.saliency and not self._from_file
        return None if guided or self.space.compat != "none" else self._encode_hidden

    def _encode_hidden(
        self, image: np.ndarray, boxes: Sequence[tuple[int, int, int, int]], fill: float
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        level = self.input.prepare(np.full((1, 1, 1), fill, np.float32))[0, :, 0, 0]
        for rows, (inputs, outputs) in self._features.hidden(self.input.prepare(image[None])[0], boxes, level):
            yield rows, inputs if gives_outputs(self.model) else outputs

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
        If the method has to be fitted first, or explains an output and the model has none.
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
        check_explains(model, method)
        if hasattr(way, "fit") and not fitted:
            raise UsageError(f"saliency method {method} has to be fitted to images first")
        self.uncertain = hasattr(way, "explain_with_uncertainty")
        self._explain = way.explain_with_uncertainty if self.uncertain else way.explain
        self.explains: str = way.EXPLAINS
        seed = {"seed": 0} if mappers.takes(way.explain, "generator") else {}
        self.parameters = {**registry.parameters(way.explain), **seed, **parameters}

    @cached_property
    def _maps(self) -> Any:
        from cbir_cli import mappers

        model, settings = self.model, self._settings
        return mappers.saliency_mapper(
            model.architecture,
            model.weights,
            self._explain,
            device=settings.device,
            threads=settings.threads,
            parameters={name: value for name, value in self.parameters.items() if name != "seed"},
            form=self.form,
            seed=self.parameters.get("seed", 0),
            fitted=self.fitted,
            vectors=self._vectors if self.explains == "representation" else None,
            uncertain=self.uncertain,
        )

    @cached_property
    def _features(self) -> Any:
        from cbir_cli import engines

        model, place = self.model, self._settings
        return engines.encoder(model.architecture, model.weights, device=place.device, threads=place.threads)

    @cached_property
    def _first(self) -> "Mapper | None":
        """What makes the maps that an IG model's network is fed."""
        stage = self.model.saliency
        if stage is None:
            return None
        return Mapper(
            stage.model, stage.method, stage.parameters, self._settings, form=stage.input, fitted=stage.fitted
        )

    def _vectors(self, images: np.ndarray) -> np.ndarray:
        """Return what images are searched by, (N, D) float32, of prepared images; of an IG model by way of its maps."""
        if self._first:
            images = self.model.input.prepare(as_pixels(self._first._maps(images)[0]))
        inputs, outputs = self._features(images)
        return np.asarray(inputs if gives_outputs(self.model) else outputs)

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return maps and their scale."""
        return self._maps(self.model.input.prepare(pixels))

    def rows(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``maps`` and ``scale``; ``uncertainty`` and ``uncertainty_scale`` as well if ``uncertain``."""
        return self._maps.rows(self.model.input.prepare(pixels))

    def space(self) -> str:
        """Return the fingerprint of the maps."""
        return saliency_space(self.model.space(), self.method, self.parameters, self.form, self.fitted)


class Ssim:
    """The SSIM baseline: the vector is the image itself, in 8-bit levels, and the comparison is the structure.

    Parameters
    ----------
    spec : InputSpec
        Its size and window; the image is grey.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.input = spec
        self.width = spec.size**2
        self.task: dict[str, Any] = {}
        window = " {:g},{:g}".format(*spec.window) if spec.window else ""
        self.space = Space(
            "ssim",
            f"ssim {spec.size}{window}",
            "ssim",
            model_name="ssim",
            model_fingerprint="ssim",
            input=self.input.to_dict(),
        )

    @property
    def similarity(self) -> str:
        """How the vectors are compared."""
        return self.space.similarity

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Raise: there is no network whose vectors an explainer could watch."""
        raise UsageError("ssim has no network to be explained; use --method none")

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

    def opened(self) -> "Opened":
        """Raise: SSIM has no network."""
        raise UsageError("ssim has no network to look into; use --method none")


def similarity_of(objective: str) -> str:
    """Return how vectors are compared that were trained with an objective; l2 where it says nothing or is unknown."""
    if registry.canonical(objective) not in registry.names("objectives"):
        return "l2"
    return str(getattr(registry.load("objectives", objective), "SIMILARITY", "l2"))


def gives_outputs(model: Model) -> bool:
    """Say whether a model has logits: the vector of one that has none is what the network returns."""
    return not model.feature_layer.endswith(".output")


def check_explains(model: Model, method: str) -> None:
    """Refuse a saliency method that explains an output, for a model that has none.

    Raises
    ------
    UsageError
    """
    if not gives_outputs(model) and registry.load("saliency", method).EXPLAINS == "output":
        raise UsageError(
            f"{model.name}: gives a vector and no outputs (objective {model.objective}); saliency method "
            f"{registry.canonical(method)} explains an output; relax explains the vector, and cbir explain --method "
            "occlusion compares images"
        )


def known_settings(name: str) -> dict[str, Any]:
    """Return what ``--set`` reaches of an encoder, with the defaults.

    Parameters
    ----------
    name : str
        Path, or one of ``BUILT_IN``.
    """
    built_in = {"window": ""} if name in BUILT_IN else {}
    return {"compat": "none", **built_in, **({"architecture": "densenet121"} if name == "imagenet" else {})}


def open_encoder(
    name: str,
    settings: Settings,
    *,
    image_size: int | None = None,
    window: str = "",
    architecture: str = "densenet121",
) -> Network | Ssim:
    """Return the encoder of a model artifact or of a built-in.

    Parameters
    ----------
    name : str
        Path, or one of ``BUILT_IN``.
    settings : Settings
    image_size : int, optional
        Side of the input; only where the model does not fix it.
    window : str
        Of a built-in: window in Hounsfield units, as ``windows.parse`` takes it.
    architecture : str
        Of ``imagenet``: a network of ``models/``.

    Raises
    ------
    UsageError
        If the model fixes another input size, or ``settings.compat`` does not go with it.
    WeightsError
        If ``imagenet`` is asked for and its weights cannot be had.
    """
    if name in BUILT_IN:
        return _built_in(name, settings, architecture, InputSpec(image_size or 224, window=windows.parse(window)))
    model = read(name)
    if image_size not in (None, model.input.size):
        raise UsageError(f"{name}: was trained at {model.input.size} px; --image-size {image_size} does not fit")
    return Network(model, settings)


def reopen(space: Space, settings: Settings) -> Network | Ssim | None:
    """Return the built-in encoder that a space is of, as it was; None where the space is of a model artifact."""
    name, _, architecture = space.model_name.partition(":")
    if name not in BUILT_IN:
        return None
    return _built_in(name, settings, architecture or "densenet121", InputSpec.from_dict(space.input))


def _built_in(name: str, settings: Settings, architecture: str, spec: InputSpec) -> Network | Ssim:
    if name == "ssim":
        _check_compat(settings.compat, name, guided=False)
        return Ssim(spec)
    return Network(imagenet(architecture, spec), settings)


def _check_compat(compat: str, name: str, *, guided: bool) -> None:
    if compat not in COMPATS:
        raise registry.unknown("compat", compat, COMPATS)
    if compat != "none" and not guided:
        raise UsageError(
            f"compat={compat} is about maps: it goes with an IG or CNN(IG) model, and {name} is fed images"
        )


def imagenet(architecture: str, spec: InputSpec) -> Model:
    """Return a network as torchvision ships it, trained on ImageNet.

    Its name is ``imagenet`` for DenseNet-121, else ``imagenet:`` and the architecture: so an index remembers it.

    Raises
    ------
    UsageError
        If there is no such architecture.
    ShapeError
        If it does not take images of that size.
    WeightsError
        If there are no weights for it, or they cannot be had.
    """
    from cbir_cli import engines
    from cbir_cli.models import _weights

    network = registry.load("models", architecture)
    if hasattr(network, "FRESH"):
        raise UsageError(f"imagenet: {architecture} has no weights for all of its parts; train it with --init imagenet")
    engines.check_size(spec.size, network)
    name = "imagenet" if (plain := registry.canonical(architecture)) == "densenet121" else f"imagenet:{plain}"
    module = _weights.load_initial("imagenet", architecture, 1000, seed=0)
    return Model(
        architecture=plain,
        weights={name: tensor.numpy() for name, tensor in module.state_dict().items()},
        outputs=[f"imagenet {i}" for i in range(1000)],
        task={},
        objective="imagenet",
        feature_layer=f"{network.HEAD}.input",
        feature_width=network.FEATURES,
        input=spec,
        fingerprint=name,
        name=name,
    )
