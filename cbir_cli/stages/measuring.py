"""Whether maps are true: curves, baselines and randomisation, which need the network that was explained.

Costs, in passes of the network: a curve has as many images as steps and one more, 225 for an image of 224 pixels; there
are up to six a map, of insertion and deletion, each for the map itself, a random map and a random network. The last
costs the method once more as well: it explains all pairs again with fresh weights. Randomisation runs the method once
more for each layer that is lost, twice with both ways.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cbir_cli import curves, randomisation, registry
from cbir_cli.artifacts.explanation import Explanation, Randomisation
from cbir_cli.errors import UsageError
from cbir_cli.stages import measured_curves
from cbir_cli.stages.encoding import Encoder
from cbir_cli.stages.explainers import Method
from cbir_cli.stages.fresh import Fresh
from cbir_cli.stages.networks import Network
from cbir_cli.stages.pairs import Pairs

WHATS = (*curves.WHATS, "randomisation")
BASELINES = ("both", "map", "none")
_TOGETHER = 64
"""Maps that are ranked at a time: bounds memory."""


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
    cells : int
        Of the random map.
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
    cells: int
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
            anew = self.fresh.network(None) if self.fresh and self.baselines == "both" else None
            measures = measured_curves.measure(
                self.encoder,
                made,
                pairs,
                [what for what in curves.WHATS if what in self.whats],
                how=self.curve,
                seed=self.seed,
                cells=self.cells,
                random_map=self.baselines != "none",
                random_model=method.importance(anew, pairs) if anew else None,
            )
            made = replace(made, measures=measures)
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
    cells: int = 7,
    baselines: str = "both",
    layers: str = "",
    ways: str = ",".join(randomisation.WAYS),
    batch: int = 64,
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
        Of the random map, and of fresh weights.
    cells : int
        Cells a side of the random map: as coarse as maps are, so that it differs from them in where it points and not
        in how holes are scattered. 0 takes each pixel by itself.
    baselines : str
        What curves are compared with. ``both``: a random map, and the maps of a network with fresh weights. ``map``:
        the random map alone. ``none``. Each costs as much as the curves themselves; the network also as much as the
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
    if not 0 <= cells <= encoder.size:
        raise UsageError(f"expected 0 to {encoder.size} cells, the side of the images, found {cells}")
    if baselines not in BASELINES:
        raise registry.unknown("baselines", baselines, BASELINES)
    chosen = [way.strip() for way in ways.split(",")]
    for way in chosen:
        randomisation.check_way(way)
    anew = "randomisation" in whats or baselines == "both"
    fresh = Fresh(encoder, method, seed) if anew else None
    how = {"variant": variant, "step": step or None, "sigma": sigma, "batch": batch}
    return Plan(encoder, whats, how, seed, cells, baselines, fresh, fresh.chosen(layers) if fresh else [], chosen)


def _randomisation(plan: Plan, made: Explanation, pairs: Pairs, method: Method) -> Randomisation:
    fresh, trained = plan.fresh, made.importance_maps
    if fresh is None:
        raise UsageError("randomisation needs a network that can be drawn anew")
    done: dict[frozenset[str], np.ndarray] = {}  # the uppermost layer alone is the first of both ways
    tables: dict[str, np.ndarray] = {}
    for way in plan.ways:
        columns = []
        for layer, lost in randomisation.losses(fresh.layers(), way):
            if layer in plan.layers:
                if lost not in done:
                    others = method.importance(fresh.network(lost), pairs)
                    done[lost] = np.concatenate(
                        [
                            randomisation.correlation(
                                trained[start : start + _TOGETHER], others[start : start + _TOGETHER]
                            )
                            for start in range(0, max(1, len(trained)), _TOGETHER)
                        ]
                    )
                columns.append(done[lost])
        tables[way] = np.stack(columns, axis=1).astype(np.float32)
    return Randomisation(plan.layers, "signed", **tables)
