"""The encoder of a model artifact: from an image, or its map, to a vector by the model's networks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.model import Model, space_of
from cbir_cli.artifacts.partial import Fields
from cbir_cli.errors import UsageError
from cbir_cli.maps import as_pixels, shown
from cbir_cli.stages.encoding import Settings, check_compat
from cbir_cli.stages.network_maps import Mapper

if TYPE_CHECKING:
    from cbir_cli.opened import Opened


_PAPERS_NAME = {"mldam": "att", "mldam-tiny": "att"}
"""What the papers call networks that are fed images, where that is not the CNN."""


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

    Raises
    ------
    UsageError
        If the maps are not the model's, or ``settings.compat`` is unknown or asked for without maps.
    """

    def __init__(self, model: Model, settings: Settings, *, saliency: str = "") -> None:
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
        check_compat(settings.compat, model.name, guided=guided)
        self.space = Space(
            similarity=_similarity_of(model.objective),
            fingerprint=space_of(model, saliency or (model.saliency.space() if model.saliency else "")),
            encoder="ig" if tuned else "cnn(ig)" if guided else _PAPERS_NAME.get(model.architecture, "cnn"),
            outputs=model.outputs,
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
    def _mapper(self) -> Mapper:
        stage = self.model.saliency
        if stage is None:
            return Mapper(self.model, "deep-taylor", {}, self.settings)
        return Mapper(stage.model, stage.method, stage.parameters, self.settings, form=stage.input, fitted=stage.fitted)

    def rows(self, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        """See ``Encoder.rows``; made for a maps file, it is given ``maps.as_pixels`` of the maps."""
        inputs, outputs = self._features(self._prepare(pixels))
        return {"X": inputs, "logits": outputs} if self.model.gives_outputs else {"X": outputs}

    @property
    def fields(self) -> Fields:
        """See ``Encoder.fields``."""
        logits: Fields = {"logits": ((len(self.model.outputs),), "<f4")} if self.model.gives_outputs else {}
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
        if model.gives_outputs:  # the vector is what the last layer is given
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
            yield rows, inputs if self.model.gives_outputs else outputs

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


def _similarity_of(objective: str) -> str:
    """Return how vectors are compared that were trained with an objective; l2 where it says nothing or is unknown."""
    if registry.canonical(objective) not in registry.names("objectives"):
        return "l2"
    return str(getattr(registry.load("objectives", objective), "SIMILARITY", "l2"))
