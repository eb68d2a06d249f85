"""What one query scores if its catalogue is ranked in a random order: values and their probabilities.

Scores come from the metric's own ``score``, so a new metric needs nothing here. In this order of preference:

- *Counted.* Where the order of the first k places does not matter (precision, recall, success, R-precision), one list
  for each number of relevant images, with its hypergeometric probability. Whether it matters is tried: a metric that
  rates relevant images first no better than last rates every order between alike.
- *Enumerated.* Every distinct order of the first k places with its probability, if they are at most 45,000: whole
  catalogues of 8 images, nDCG@5 of 10, 15 places of two classes.
- *Drawn.* Else random orders, evened out so that their mean is the exact one that ``expected`` gives (a control
  variate): of thousands of queries, the error of a drawn mean would outweigh the spread of theirs.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import hypergeometric
from cbir_cli.truth import Case

ENUMERATED = 45_000
"""Most orders that are counted out."""

MOST_DRAWN, FEWEST_DRAWN = 200_000, 16
"""Orders that are drawn of one catalogue."""

_BLOCK = 1_000_000
_SAME = 1e-9
_FIRST_R = ("r_precision", "average_precision_at_r")  # look at as many places as there are relevant images


@dataclass(frozen=True)
class Levels:
    """Values of relevance, or classes, in a catalogue (L,), and how many of its images have each (L,)."""

    values: NDArray[Any]
    counts: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Images in the catalogue."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class Distribution:
    """Scores of a query over random orders.

    Attributes
    ----------
    values, shares : ndarray (S,) of float64
        Scores, and their probabilities, which sum to 1.
    drawn : int
        How many orders were drawn; 0 where all were counted.
    """

    values: NDArray[np.float64]
    shares: NDArray[np.float64]
    drawn: int = 0

    def moments(self) -> tuple[float, float, float]:
        """Mean, variance, and third central moment."""
        mean = float(self.shares @ self.values)
        away = self.values - mean
        return mean, float(self.shares @ away**2), float(self.shares @ away**3)


def levels(module: ModuleType, case: Case) -> Levels | None:
    """Return what a query's catalogue holds, as far as a metric tells its images apart; None if that is not known."""
    if case.size is None:
        return None
    kind = module.RELEVANCE
    if kind == "binary":
        if case.relevant is None:
            return None
        return _positive(Levels(np.array([0.0, 1.0]), np.array([case.size - case.relevant, case.relevant])))
    if kind == "classes":
        if case.class_sizes is None:
            return None
        counts = np.append(case.class_sizes, case.size - case.class_sizes.sum())
        return _positive(Levels(np.append(np.arange(len(counts) - 1), -1), counts))
    if kind == "graded" and case.levels is None:
        if case.ideal is None or len(case.ideal) != case.size:
            return None
        return Levels(*np.unique(case.ideal, return_counts=True))
    if case.levels is None:
        return None
    values, place = np.unique(case.levels[0].round(12), return_inverse=True)
    return _positive(Levels(values, np.bincount(place, case.levels[1]).astype(np.int64)))


def _positive(found: Levels) -> Levels:
    order = np.argsort(found.values, kind="stable")
    kept = order[found.counts[order] > 0]
    return Levels(found.values[kept], found.counts[kept])


class Orders:
    """Random orders of a catalogue, rated by a metric.

    Parameters
    ----------
    module : module
        The metric: ``score`` and perhaps ``expected``, which ask for what they need by the names of their parameters.
    k : int or None
        Its cut-off.
    case : Case
        The query.
    held : Levels
        Its catalogue.
    """

    def __init__(self, module: ModuleType, k: int | None, case: Case, held: Levels) -> None:
        self._module, self._k, self._case, self._held = module, k, case, held
        if k is not None:
            self._depth = min(k, held.size)
        elif module.__name__.rpartition(".")[2] in _FIRST_R and case.relevant is not None:
            self._depth = case.relevant
        else:
            self._depth = held.size

    @property
    def cells(self) -> int:
        """Numbers that rating one order takes."""
        return max(1, self._held.size if "ideal" in _asked(self._module.score) else self._depth)

    def distribution(self, cells: int, rng: np.random.Generator) -> Distribution:
        """Return the distribution of scores.

        Parameters
        ----------
        cells : int
            How many numbers to draw or enumerate, about; bounded by the constants above.
        rng : numpy Generator
        """
        found = self._counted() or self._enumerated(min(ENUMERATED, cells // self.cells))
        if found is not None:
            return _defined(*found)
        count = int(np.clip(cells // self.cells, FEWEST_DRAWN, MOST_DRAWN))
        values = np.concatenate([self._rate(self._held.values[part]) for part in self._drawn(count, rng)])
        return _defined(self._balanced(values), np.full(count, 1 / count), count)

    def _rate(self, lists: NDArray[Any]) -> NDArray[np.float64]:
        """Score lists (M, K) as lists of this query."""
        step = max(1, _BLOCK // self.cells)
        parts = [self._call(self._module.score, lists[i : i + step]) for i in range(0, len(lists), step)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _call(self, function: Callable[..., Any], lists: NDArray[Any]) -> NDArray[np.float64]:
        given: dict[str, Any] = {"k": self._k, "relevance": lists, "classes": lists}
        for name in _asked(function):
            if name not in given:
                given[name] = np.repeat(np.asarray(getattr(self._case, name))[None], len(lists), axis=0)
        values = function(**{name: given[name] for name in _asked(function)})
        return np.asarray(np.ma.filled(values, np.nan), np.float64)

    def _counted(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Scores and probabilities by the number of relevant images, if their order does not matter."""
        if self._held.values.tolist() != [0.0, 1.0] or not self._depth:
            return None
        rest, relevant = self._held.counts.tolist()
        found, shares = hypergeometric.shares(rest + relevant, relevant, self._depth)
        places = np.arange(self._depth)
        first, last = places < found[:, None], places >= self._depth - found[:, None]
        values = self._rate(self._held.values[np.concatenate([first, last]).astype(np.int64)]).reshape(2, -1)
        return (values[0], shares) if np.abs(np.ptp(values, axis=0)).max() < _SAME else None

    def _enumerated(self, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Scores and probabilities of all distinct orders of the first places, if they are not too many."""
        orders = np.zeros((1, 0), np.int64)
        left, shares = self._held.counts[None], np.ones(1)
        for _ in range(self._depth):
            row, level = np.nonzero(left)
            if len(row) > most:
                return None
            shares = shares[row] * left[row, level] / left[row].sum(axis=1)
            left = left[row]
            left[np.arange(len(row)), level] -= 1
            orders = np.column_stack([orders[row], level])
        return self._rate(self._held.values[orders]), shares

    def _drawn(self, count: int, rng: np.random.Generator) -> "list[NDArray[np.int64]]":
        """Levels of the first places of random orders, (M, K) in parts."""
        size, depth, ends = self._held.size, self._depth, np.cumsum(self._held.counts)
        parts = []
        if depth * depth < size:  # few places of many: draw again what holds an image twice
            while count > 0:
                images = rng.integers(0, size, (min(2 * count, max(1, _BLOCK // depth)), depth))
                ordered = np.sort(images, axis=1)
                whole = images[(np.diff(ordered, axis=1) > 0).all(axis=1)][:count]
                parts.append(np.searchsorted(ends, whole, side="right"))
                count -= len(whole)
            return parts
        every = np.repeat(np.arange(len(ends)), self._held.counts)
        step = max(1, _BLOCK // size)
        for start in range(0, count, step):
            rows = min(step, count - start)
            parts.append(rng.permuted(np.broadcast_to(every, (rows, size)), axis=1)[:, :depth])
        return parts

    def _balanced(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """As many drawn scores, a few of them repeated or left out, so that their mean is the exact one."""
        spread = values.var()
        if not spread > 0 or not hasattr(self._module, "expected"):
            return values
        exact = float(self._call(self._module.expected, self._held.values[:1][None])[0])
        shares = np.maximum(0.0, 1 + (exact - values.mean()) * (values - values.mean()) / spread)
        values, ends = np.sort(values), np.cumsum(shares[np.argsort(values)])
        return values[np.searchsorted(ends, (np.arange(len(values)) + 0.5) / len(values) * ends[-1])]


@cache
def _asked(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _defined(values: NDArray[np.float64], shares: NDArray[np.float64], drawn: int = 0) -> Distribution:
    """Leave out orders that the metric is not defined for, which it says of few metrics and of no whole query."""
    kept = ~np.isnan(values)
    if kept.all() or not kept.any():
        return Distribution(values, shares, drawn)
    return Distribution(values[kept], shares[kept] / shares[kept].sum(), drawn and int(kept.sum()))
