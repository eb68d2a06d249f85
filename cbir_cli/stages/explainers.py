"""Similarity explainers with what they are given: parameters, a seed, and images of another label."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cbir_cli import maps, registry
from cbir_cli.artifacts.explanation import IMPORTANCE, ON_QUERY, ON_RESULT, UNCERTAINTY
from cbir_cli.artifacts.index import Index
from cbir_cli.errors import ShapeError
from cbir_cli.stages.encoding import Encoder
from cbir_cli.stages.negatives import Negatives, needed
from cbir_cli.stages.pairs import Pairs
from cbir_cli.stages.pictures import Pictures
from cbir_cli.stages.rows import Rows

_TOGETHER = 64
"""Pairs that a method is given at a time: bounds memory."""

_GIVEN = ("references",)
"""Parameters of methods that are images for each pair, and come from the stage, not from ``--set``."""

_RETURNED = ((ON_QUERY, IMPORTANCE), (ON_RESULT, IMPORTANCE), (ON_QUERY, UNCERTAINTY), (ON_RESULT, UNCERTAINTY))
"""What the arrays are that a method returns, in their order; the last two are not there unless it knows them."""


@dataclass(frozen=True)
class Method:
    """A similarity explainer with its parameters.

    Attributes
    ----------
    name : str
    explain : callable
        See ``cbir_cli/similarity``.
    parameters : mapping
        Those that decide the maps; ``batch``, which does not, is among ``running``.
    on : str
        Which images get maps, as the module's ``MAPS``: ``both`` or ``result``.
    running : mapping
        Parameters of the same function that are not recorded.
    given : mapping of str to (ndarray (R, S, S[, 3]), ndarray (P, n))
        Parameters that hold n images for each pair: distinct images, and which of them go with a pair.
    """

    name: str
    explain: Callable[..., Sequence[np.ndarray]]
    parameters: Mapping[str, Any]
    on: str = "both"
    running: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def maps(self, encoder: Encoder, pairs: Pairs) -> Iterator[tuple[int, int, int, np.ndarray]]:
        """Yield the number of a pair, on which image, what it is, and the map (S, S) float32, pair by pair.

        Of an image that the method explains there is always a map, if it is zero everywhere. The order depends on the
        pairs and the method alone.

        Raises
        ------
        ShapeError
            If the method does not return two or four stacks of maps.
        """
        sides = (ON_RESULT,) if pairs.themselves or self.on == "result" else (ON_QUERY, ON_RESULT)
        for start in range(0, len(pairs.query), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            images = pairs.query_pixels[pairs.query[some]], pairs.result_pixels[pairs.result[some]]
            given = {name: pixels[rows[some]] for name, (pixels, rows) in self.given.items()}
            stacks = self.explain(encoder, *images, **self.parameters, **self.running, **given)
            if len(stacks) not in (2, 4) or {stack.shape for stack in stacks} != {images[0].shape[:3]}:
                raise ShapeError(f"method {self.name} returned {[stack.shape for stack in stacks]}")
            for number in range(len(images[0])):
                for stack, (on, what) in zip(stacks, _RETURNED, strict=False):
                    if on in sides:
                        yield start + number, on, what, stack[number]

    def importance(self, encoder: Encoder, pairs: Pairs) -> np.ndarray:
        """Return the importance of all pairs as it is stored, (M0, S, S) float16, in the order of ``maps``."""
        stored = Rows(pairs.query_pixels.shape[1:3], np.float16)
        for _, _, what, one in self.maps(encoder, pairs):
            if what == IMPORTANCE:
                stored.add(maps.finish(one[None, None])[0])
        return stored.array()


def parameters(name: str, *, seed: int = 0, batch: int | None = None) -> dict[str, Any]:
    """Return what can be set of a method, and its defaults; ``seed`` and ``batch`` are these, where it has them.

    Raises
    ------
    UsageError
        If there is no such method.
    """
    known = registry.parameters(registry.load("similarity", name).explain)
    instead = {"seed": seed, **({} if batch is None else {"batch": batch})}
    return {key: instead.get(key, value) for key, value in known.items() if key not in _GIVEN}


def make(name: str, chosen: Mapping[str, Any]) -> Method:
    """Return a method with its parameters, as ``parameters`` has them, given all."""
    module = registry.load("similarity", name)
    running = {key: value for key, value in chosen.items() if key == "batch"}
    recorded = {key: value for key, value in chosen.items() if key not in running}
    return Method(name, module.explain, recorded, str(chosen.get("on", module.MAPS)), running)


def with_references(method: Method, index: Index, pairs: Pairs, pictures: Pictures, *, source: str) -> Method:
    """Return a method with the images of another label that its variant compares each pair with, if it does.

    Parameters
    ----------
    method : Method
    index : Index
        What is drawn from.
    pairs : Pairs
    pictures : Pictures
    source : str
        Of the queries, as an artifact remembers it.

    Raises
    ------
    SourceError
        If the index has too few such images.
    """
    count = needed(method.name, method.parameters)
    if not count:
        return method
    same_ids = bool(source) and source == index.embedding.space.source
    negatives = Negatives(index, pairs.queries, pairs.results, same_ids=(same_ids, same_ids or not pairs.themselves))
    drawn = [
        negatives.draw(int(query), int(result), count) for query, result in zip(pairs.query, pairs.result, strict=True)
    ]
    against = {row: place for place, row in enumerate(dict.fromkeys(row for rows in drawn for row in rows))}
    pixels = pictures.load(pictures.results, index.embedding.items.take(list(against)))
    rows = np.array([[against[row] for row in some] for some in drawn], np.intp).reshape(-1, count)
    return replace(method, given={"references": (pixels, rows)})
