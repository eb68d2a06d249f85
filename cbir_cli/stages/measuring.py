"""Whether maps are true: curves, baselines and randomisation, which need the network that was explained.

Costs, in passes of the network: a curve has as many images as steps and one more, 225 for an image of 224 pixels; there
are six a map, of insertion and deletion, each for the map itself, a random order and a random network. Randomisation
runs the method once more for each layer that is lost, twice with both ways.
"""

import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cbir_cli import curves, randomisation, registry
from cbir_cli.artifacts.explanation import ON_QUERY, Curves, Explanation, Measures, Randomisation
from cbir_cli.artifacts.model import Model
from cbir_cli.errors import UsageError
from cbir_cli.progress import Progress
from cbir_cli.stages.encoders import Encoder, Network
from cbir_cli.stages.explain import Method, Pairs, as_stored
from cbir_cli.stages.randomisation import fresh_weights

WHATS = (*curves.WHATS, "randomisation")
_SALIENCY = "saliency."
"""Before the layers of the network that makes an IG model's maps."""


def parse(text: str, method: str) -> list[str]:
    """Read what is to be measured, as the command line spells it.

    Raises
    ------
    UsageError
        If there is no such measure, or there are no maps.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in WHATS:
            raise registry.unknown("measure", name, WHATS)
    if method == "none":
        raise UsageError("--measure needs maps; method none makes none")
    return names


@dataclass(frozen=True)
class Plan:
    """What is measured, and how; all that can be wrong with it has been looked at.

    Attributes
    ----------
    encoder : Network
    whats : sequence of str
        Some of ``WHATS``.
    curve : mapping
        ``variant``, ``step`` and ``sigma`` of ``curves.curve``.
    seed : int
    fresh : Fresh
    layers, ways : list of str
        Of the randomisation.
    """

    encoder: Network
    whats: Sequence[str]
    curve: Mapping[str, Any]
    seed: int
    fresh: "Fresh"
    layers: list[str]
    ways: list[str]

    def measure(self, made: Explanation, pairs: Pairs, method: Method) -> Explanation:
        """Return an explanation of some pairs by a method with ``measures`` and ``randomisation``.

        A map on the result is measured by changing the result, whose likeness to the intact query is looked at; a map
        on the query the other way round.
        """
        if any(what in curves.WHATS for what in self.whats):
            made = replace(made, measures=_curves(self, made, pairs, method))
        if "randomisation" in self.whats:
            made = replace(made, randomisation=_randomisation(self, made, pairs, method))
        return made


def plan(
    encoder: Encoder,
    method: str,
    whats: Sequence[str],
    *,
    variant: str = "code",
    step: int = 0,
    sigma: float = curves.SIGMA,
    seed: int = 0,
    layers: str = "",
    ways: str = ",".join(randomisation.WAYS),
) -> Plan:
    """Return what will be measured; what is wrong is refused before the maps are made.

    Parameters
    ----------
    encoder : Encoder
        With which pairs are explained.
    method : str
        How.
    whats : sequence of str
        Some of ``WHATS``.
    variant, step, sigma
        See ``curves.curve``; a step of 0 is as many pixels as the image has rows.
    seed : int
        Of the random order, and of fresh weights.
    layers : str
        Layers that are lost, separated by commas; all by default. In a cascade those above are lost as well.
    ways : str
        ``cascade``, ``independent`` or both.

    Raises
    ------
    UsageError
        If something of this is unknown or out of range, the encoder has no weights, or a network cannot be drawn anew.
    """
    if not isinstance(encoder, Network):
        raise UsageError(f"{encoder.space.encoder} has no weights to measure a map by")
    curves.fractions(encoder.size, step or None)
    curves.endings(np.zeros((1, 1, 3), np.float32), encoder.input, variant, sigma)
    if seed < 0:
        raise UsageError(f"expected a seed of at least 0, found {seed}")
    fresh, chosen = Fresh(encoder, method, seed), [way.strip() for way in ways.split(",")]
    for way in chosen:
        if way not in randomisation.WAYS:
            raise registry.unknown("way to randomise", way, randomisation.WAYS)
    how = {"variant": variant, "step": step or None, "sigma": sigma}
    return Plan(encoder, whats, how, seed, fresh, fresh.chosen(layers), chosen)


def _curves(plan: Plan, made: Explanation, pairs: Pairs, method: Method) -> Measures:
    encoder, how = plan.encoder, plan.curve
    whats = [what for what in curves.WHATS if what in plan.whats]
    rows = made.importance
    size, step = made.maps.shape[1], how["step"]
    fractions = curves.fractions(size, step)
    vectors = [_encode(encoder, pixels) for pixels in (pairs.query_pixels, pairs.result_pixels)]
    of_random_model = _maps_of(method, plan.fresh.network(None), made, pairs)
    kinds = ("own", "random_map", "random_model")
    found = {kind: {what: np.empty((len(rows), len(fractions)), np.float32) for what in whats} for kind in kinds}
    total = len(kinds) * len(whats) * len(rows) * len(fractions)
    with closing(Progress(total, " and ".join(whats))) as progress:
        for row, place in enumerate(rows):
            pair, on = made.map_pair[place], made.map_on[place]
            sides = (pairs.query_pixels, pairs.query, vectors[0]), (pairs.result_pixels, pairs.result, vectors[1])
            (images, image, _), (others, other, anchors) = sides if on == ON_QUERY else sides[::-1]
            changed, whole = images[image[pair]], others[other[pair]]
            maps = made.maps[place], _random_order(changed, whole, plan.seed), of_random_model[row]
            for kind, one in zip(kinds, maps, strict=True):
                for what in whats:
                    found[kind][what][row] = curves.curve(
                        encoder.encode,
                        changed,
                        one,
                        anchors[other[pair]],
                        what,
                        encoder.input,
                        **how,
                        advance=progress.advance,
                    )
    parameters = {
        "variant": how["variant"],
        "step": step or size,
        "steps": len(fractions) - 1,
        "fill": "mean" if how["variant"] == "code" else "grey",
        "blur": how["sigma"],
        "seed": plan.seed,
    }
    return Measures(
        **found["own"],
        random_map=Curves(**found["random_map"]),
        random_model=Curves(**found["random_model"]),
        parameters=parameters,
        fractions=fractions,
    )


def _encode(encoder: Network, pixels: np.ndarray, batch: int = 64) -> np.ndarray:
    parts = [encoder.encode(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
    return np.concatenate([np.empty((0, encoder.width), np.float32), *parts]).astype(np.float64)


def _random_order(image: np.ndarray, other: np.ndarray, seed: int) -> np.ndarray:
    """Return a map of random order, that of a pair and side whatever else is measured."""
    draw = np.random.default_rng([seed, *(zlib.crc32(pixels.tobytes()) for pixels in (image, other))])
    return draw.permutation(np.arange(image.shape[0] * image.shape[1], dtype=np.float64)).reshape(image.shape[:2])


def _maps_of(method: Method, encoder: Network, made: Explanation, pairs: Pairs) -> np.ndarray:
    """Return what a method makes of another network in the place of each importance map, as it would be stored."""
    rows = made.importance
    places = {(p, on): row for row, (p, on) in enumerate(zip(made.map_pair[rows], made.map_on[rows], strict=True))}
    maps = np.zeros((len(rows), *made.maps.shape[1:]), np.float16)
    for number, on, what, image_map in method.maps(encoder, pairs):
        if not what and (number, on) in places:
            maps[places[number, on]] = as_stored(image_map)[0]
    return maps


def _randomisation(plan: Plan, made: Explanation, pairs: Pairs, method: Method) -> Randomisation:
    trained = made.maps[made.importance]
    done: dict[frozenset[str], np.ndarray] = {}  # the uppermost layer alone is the first of both ways
    tables: dict[str, np.ndarray] = {}
    for way in plan.ways:
        columns = []
        for layer in plan.layers:
            without = frozenset(plan.fresh.above(layer) if way == "cascade" else [layer])
            if without not in done:
                others = _maps_of(method, plan.fresh.network(without), made, pairs)
                done[without] = randomisation.correlation(trained, others)
            columns.append(done[without])
        tables[way] = np.stack(columns, axis=1).astype(np.float32)
    return Randomisation(plan.layers, "signed", **tables)


class Fresh:
    """Networks of an encoder that lost what they have learnt, as a whole or by layers.

    An IG model has two networks: the layers of the one that makes the maps come last, under ``saliency.``. The method
    ``ig`` shows what that one makes, so for it the other is not touched.
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
        if stage and method == "ig":
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

    def above(self, layer: str) -> list[str]:
        """Return a layer and all that are nearer to the output."""
        known = self.layers()
        return known[: known.index(layer) + 1]

    def network(self, lost: frozenset[str] | None) -> Network:
        """Return the encoder without some layers, or without all."""
        models = {prefix: self._without(prefix, lost) for prefix in self._models}
        whole = models.get("", self._encoder.model)
        if _SALIENCY in models and whole.saliency:
            whole = replace(whole, saliency=replace(whole.saliency, model=models[_SALIENCY]))
        return Network(whole, self._encoder.settings)

    def _without(self, prefix: str, lost: frozenset[str] | None) -> Model:
        model, fresh = self._models[prefix], self._weights[prefix]
        weights = {
            name: value if lost is None or prefix + randomisation.layer_of(name) in lost else model.weights[name]
            for name, value in fresh.items()
        }
        return replace(model, weights=weights)
