"""Networks of an encoder that lost what they have learnt, as a whole or by layers."""

from collections.abc import Collection
from dataclasses import replace

from cbir_cli import randomisation, registry
from cbir_cli.artifacts.model import Model
from cbir_cli.errors import UsageError
from cbir_cli.stages.networks import Network
from cbir_cli.stages.randomisation import fresh_weights

_SALIENCY = "saliency."
"""Before the layers of the network that makes an IG model's maps."""


class Fresh:
    """An encoder whose networks can be drawn anew.

    An IG model has two networks: the layers of the one that makes the maps come last, under ``saliency.``. For a method
    that looks at that one alone, as its constant ``SHOWS`` says, the other is not touched.

    Parameters
    ----------
    encoder : Network
    method : str
        A module of ``similarity/``.
    seed : int
        Of the weights, from 0 to below 2^64.

    Raises
    ------
    UsageError
        If a network cannot be drawn anew, or the seed is out of range.
    """

    def __init__(self, encoder: Network, method: str, seed: int) -> None:
        self._encoder = encoder
        model, stage = encoder.model, encoder.model.saliency
        if stage and stage.fitted:
            raise UsageError(
                f"{model.name}: its maps are made by {stage.method}, which was fitted to images with the network as it "
                "is: it cannot be measured against a network without its weights"
            )
        self._models = {"": model} if not stage else {"": model, _SALIENCY: stage.model}
        if stage and getattr(registry.load("similarity", method), "SHOWS", "") == "saliency":
            del self._models[""]
        self._weights = {prefix: fresh_weights(one, seed) for prefix, one in self._models.items()}

    def layers(self) -> list[str]:
        """Return the names of all layers, the one nearest to the output first."""
        return [prefix + layer for prefix, fresh in self._weights.items() for layer in randomisation.layers(fresh)]

    def chosen(self, names: str) -> list[str]:
        """Return the layers of a list, in their order; all of an empty one."""
        known, asked = self.layers(), [name.strip() for name in names.split(",") if name.strip()]
        for name in asked:
            if name not in known:
                raise registry.unknown("layer", name, known)
        return [name for name in known if name in asked or not asked]

    def network(self, lost: Collection[str] | None) -> Network:
        """Return the encoder without some layers, or without all."""
        models = {prefix: self._without(prefix, lost) for prefix in self._models}
        whole = models.get("", self._encoder.model)
        if _SALIENCY in models and whole.saliency:
            whole = replace(whole, saliency=replace(whole.saliency, model=models[_SALIENCY]))
        return Network(whole, self._encoder.settings)

    def _without(self, prefix: str, lost: Collection[str] | None) -> Model:
        model, fresh = self._models[prefix], self._weights[prefix]
        here = None if lost is None else {layer.removeprefix(prefix) for layer in lost if layer.startswith(prefix)}
        trained = {name: model.weights[name] for name in fresh}
        return replace(model, weights=randomisation.without(trained, fresh, here))
