"""Whether maps are true: curves, baselines and randomisation, which need the network that was explained.

Costs, in passes of the network: a curve has as many images as steps and one more, 225 for an image of 224 pixels; there
are up to six a map, of insertion and deletion, each for the map itself, a random order and a random network. The last
costs the method once more as well: it explains all pairs again with fresh weights. Pairs that share an image and its
map share the images of its curve: so do the results of a query whose map depends on the query alone. Randomisation
runs the method once more for each layer that is lost, twice with both ways.

A map whose values are all equal has no order of pixels. Its curve is that of the pair's random order, whether it is the
map itself or the one of the random network: what says nothing gets what chance gets.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cbir_cli import curves, maps, randomisation, registry
from cbir_cli.artifacts.explanation import IMPORTANCE, ON_QUERY, ON_RESULT, Curves, Explanation, Measures, Randomisation
from cbir_cli.errors import UsageError
from cbir_cli.progress import Progress
from cbir_cli.stages.encoders import Encoder, Network
from cbir_cli.stages.explainers import Method
from cbir_cli.stages.fresh import Fresh
from cbir_cli.stages.pairs import Pairs

WHATS = (*curves.WHATS, "randomisation")
BASELINES = ("both", "map", "none")


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
        ``variant``, ``step``, ``sigma`` and ``batch`` of ``curves.curve``.
    seed : int
    baselines : str
        One of ``BASELINES``.
    fresh : Fresh or None
        None where no network without its weights is needed.
    layers, ways : list of str
        Of the randomisation.
    """

    encoder: Network
    whats: Sequence[str]
    curve: Mapping[str, Any]
    seed: int
    baselines: str
    fresh: Fresh | None
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
    baselines: str = "both",
    layers: str = "",
    ways: str = ",".join(randomisation.WAYS),
    batch: int = 32,
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
    variant, step, sigma, batch
        See ``curves.curve``; a step of 0 is as many pixels as the image has rows.
    seed : int
        Of the random order, and of fresh weights.
    baselines : str
        What curves are compared with. ``both``: a random order, and the maps of a network with fresh weights. ``map``:
        the random order alone. ``none``. Each costs as much as the curves themselves; the network also as much as the
        maps.
    layers : str
        Layers that are lost, separated by commas; all by default. ``cbir explain --measure randomisation`` with a wrong
        one lists them.
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
    randomisation.check_seed(seed)
    if baselines not in BASELINES:
        raise registry.unknown("baselines", baselines, BASELINES)
    chosen = [way.strip() for way in ways.split(",")]
    for way in chosen:
        randomisation.check_way(way)
    anew = "randomisation" in whats or baselines == "both"
    fresh = Fresh(encoder, method, seed) if anew else None
    how = {"variant": variant, "step": step or None, "sigma": sigma, "batch": batch}
    return Plan(encoder, whats, how, seed, baselines, fresh, fresh.chosen(layers) if fresh else [], chosen)


def _curves(plan: Plan, made: Explanation, pairs: Pairs, method: Method) -> Measures:
    encoder, how = plan.encoder, plan.curve
    whats = [what for what in curves.WHATS if what in plan.whats]
    count, size = len(made.importance), made.maps.shape[1]
    fractions = curves.fractions(size, how["step"])
    kinds: dict[str, np.ndarray | None] = {"own": made.maps[made.importance]}
    if plan.baselines != "none":
        kinds["random_map"] = None
    if plan.baselines == "both" and plan.fresh:
        kinds["random_model"] = _maps_of(method, plan.fresh.network(None), pairs, size)
    found = {kind: {what: np.empty((count, len(fractions)), np.float32) for what in whats} for kind in kinds}
    places = [_Place.of(made, pairs, number) for number in made.importance]
    vectors = {on: _encode(encoder, pixels, how["batch"]) for on, pixels in _pixels(pairs).items()}
    groups, pixels = _groups(kinds, places), _pixels(pairs)
    with closing(Progress(len(groups) * len(whats) * len(fractions), " and ".join(whats))) as progress:
        for importance, members in groups:
            place = places[members[0][1]]
            changed, whole = pixels[place.on][place.image], pixels[1 - place.on][place.other]
            one = _random_order(changed, whole, plan.seed) if importance is None else importance
            anchors = np.stack([vectors[1 - place.on][places[row].other] for _, row in members])
            for what in whats:
                rows = curves.curve(
                    encoder.encode, changed, one, anchors, what, encoder.input, **how, advance=progress.advance
                )
                for (kind, row), values in zip(members, rows, strict=True):
                    found[kind][what][row] = values
    parameters = {
        "variant": how["variant"],
        "step": min(how["step"] or size, size**2),
        "steps": len(fractions) - 1,
        "fill": "mean" if how["variant"] == "code" else "grey",
        "blur": how["sigma"],
        "seed": plan.seed,
    }
    return Measures(
        **found["own"],
        random_map=Curves(**found.get("random_map", {})),
        random_model=Curves(**found.get("random_model", {})),
        parameters=parameters,
        fractions=fractions,
    )


@dataclass(frozen=True)
class _Place:
    """Where a map lies: on the query or on the result, and the rows of its image and of the pair's other image."""

    on: int
    image: int
    other: int

    @classmethod
    def of(cls, made: Explanation, pairs: Pairs, number: int) -> "_Place":
        """Return the place of a map of an explanation."""
        on, pair = int(made.map_on[number]), made.map_pair[number]
        rows = {ON_QUERY: int(pairs.query[pair]), ON_RESULT: int(pairs.result[pair])}
        return cls(on, rows[on], rows[1 - on])


def _pixels(pairs: Pairs) -> dict[int, np.ndarray]:
    return {ON_QUERY: pairs.query_pixels, ON_RESULT: pairs.result_pixels}


def _groups(
    kinds: Mapping[str, np.ndarray | None], places: Sequence[_Place]
) -> list[tuple[np.ndarray | None, list[tuple[str, int]]]]:
    """Return each order in which an image changes, a map or None for chance, with the kinds and rows that have it."""
    groups: dict[tuple[Any, ...], tuple[np.ndarray | None, list[tuple[str, int]]]] = {}
    for kind, importance in kinds.items():
        for row, place in enumerate(places):
            one = None if importance is None or not np.ptp(importance[row]) else importance[row]
            # An order by chance is that of a pair; what has no order of its own in that pair shares it.
            order = place.other if one is None else hashlib.sha256(one.tobytes()).digest()
            groups.setdefault((place.on, place.image, order), (one, []))[1].append((kind, row))
    return list(groups.values())


def _encode(encoder: Network, pixels: np.ndarray, batch: int) -> np.ndarray:
    parts = [encoder.encode(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
    return np.concatenate([np.empty((0, encoder.width), np.float32), *parts]).astype(np.float64)


def _random_order(image: np.ndarray, other: np.ndarray, seed: int) -> np.ndarray:
    """Return a map of random order, that of a pair and side whatever else is measured."""
    draw = np.random.default_rng([seed, *(zlib.crc32(pixels.tobytes()) for pixels in (image, other))])
    return draw.permutation(np.arange(image.shape[0] * image.shape[1], dtype=np.float64)).reshape(image.shape[:2])


def _maps_of(method: Method, encoder: Network, pairs: Pairs, size: int) -> np.ndarray:
    """Return what a method makes of another network: importance, as it would be stored, in the order of the pairs."""
    found = [one for _, _, what, one in method.maps(encoder, pairs) if what == IMPORTANCE]
    return np.concatenate([np.empty((0, size, size), np.float16), *(maps.finish(one[None, None])[0] for one in found)])


def _randomisation(plan: Plan, made: Explanation, pairs: Pairs, method: Method) -> Randomisation:
    fresh, trained = plan.fresh, made.maps[made.importance]
    if fresh is None:
        raise UsageError("randomisation needs a network that can be drawn anew")
    done: dict[frozenset[str], np.ndarray] = {}  # the uppermost layer alone is the first of both ways
    tables: dict[str, np.ndarray] = {}
    for way in plan.ways:
        columns = []
        for layer, lost in randomisation.losses(fresh.layers(), way):
            if layer in plan.layers:
                if lost not in done:
                    others = _maps_of(method, fresh.network(lost), pairs, trained.shape[1])
                    done[lost] = randomisation.correlation(trained, others)
                columns.append(done[lost])
        tables[way] = np.stack(columns, axis=1).astype(np.float32)
    return Randomisation(plan.layers, "signed", **tables)
