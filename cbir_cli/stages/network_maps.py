"""The saliency maps of a network, by any method."""

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts.model import Model, saliency_space
from cbir_cli.errors import UsageError
from cbir_cli.maps import as_pixels
from cbir_cli.stages.encoding import Settings


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
        return np.asarray(inputs if self.model.gives_outputs else outputs)

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return maps and their scale."""
        return self._maps(self.model.input.prepare(pixels))

    def rows(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``maps`` and ``scale``; ``uncertainty`` and ``uncertainty_scale`` as well if ``uncertain``."""
        return self._maps.rows(self.model.input.prepare(pixels))

    def space(self) -> str:
        """Return the fingerprint of the maps."""
        return saliency_space(self.model.space(), self.method, self.parameters, self.form, self.fitted)


def check_explains(model: Model, method: str) -> None:
    """Refuse a saliency method that explains an output, for a model that has none.

    Raises
    ------
    UsageError
    """
    if not model.gives_outputs and registry.load("saliency", method).EXPLAINS == "output":
        raise UsageError(
            f"{model.name}: gives a vector and no outputs (objective {model.objective}); saliency method "
            f"{registry.canonical(method)} explains an output; relax explains the vector, and cbir explain --method "
            "occlusion compares images"
        )
