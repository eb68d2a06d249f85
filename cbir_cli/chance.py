"""How often random rankings score as well as a method did: the tail beside the mean by chance.

Under the null every query's catalogue is ranked in a random order, all orders equally likely and queries independent.
``p_random`` is the chance that the mean over queries is then at least as high as the one observed (within 1e-9).

What one query scores is the business of ``random_orders``; queries whose catalogues hold the same share one
distribution, and what has to be drawn is 4 million numbers a metric, at most 200,000 orders of one catalogue. The mean
follows from those distributions:

- *One query*: the sum over its distribution. Of m drawn orders, b as high: ``(b + 1) / (m + 1)``.
- *Convolved*: exact, where all scores are multiples of one fraction (precision@k) and queries count alike.
- *Sampled*: ``(b + 1) / (m + 1)`` over m means; m is 100,000 for up to 20 queries and 10,000 for 200. Its standard
  error is ``sqrt(p (1 - p) / m)``: at p = .05 it is .0007 and .0022.
- *Approximated*, for more than 200 queries: the normal distribution and the first term of its expansion for skewness,
  from exact means and exact or drawn variances; never below .0001. Over 300 queries it is within .002 of 200,000
  sampled means for nDCG, average precision and recall, and within .01 where one image in a hundred is relevant.

Of ten images ranked by an expert, all ranks different, a random order has nDCG@10 of at least .80, .88 and .90 in
17.7 %, 8.0 % and 5.3 % of cases: a single query says little.

Reference
---------
B. Phipson, G. K. Smyth. Permutation p-values should never be zero. Statistical Applications in Genetics and Molecular
Biology 9, 2010 (the added one).
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from math import lcm
from types import ModuleType

import numpy as np

from cbir_cli.random_orders import Distribution, Orders, levels
from cbir_cli.ranked_lists import Key
from cbir_cli.scores import weights
from cbir_cli.truth import Case

DRAWN = 4_000_000
"""Numbers that are drawn for one metric, about."""

SAMPLED, MOST_SAMPLED = 2_000_000, 100_000
"""Scores that are sampled for one mean, and most means."""

FEW = 200
"""Queries up to which means are sampled."""

_LEAST = 1e-4
_FINEST = 5000  # a common denominator past it is no fraction that scores share
_STEPS = 20_000
_SAME = 1e-9


class RandomRankings:
    """Random rankings of the catalogues of some queries.

    Parameters
    ----------
    module : module
        The metric that rates them.
    k : int or None
        Its cut-off.
    cases : sequence of Case
        The queries. Nothing is computed before ``p_random`` is called.
    seed : int
        Of what is drawn: same seed, same figures, in any order of the cases.
    """

    def __init__(self, module: ModuleType, k: int | None, cases: Sequence[Case], *, seed: int = 1) -> None:
        self._module, self._k, self._seed = module, k, seed
        self._cases = {case.key: case for case in cases}
        self._kinds: dict[Key, Hashable] = {}
        self._known: dict[Hashable, Distribution] = {}

    def p_random(self, values: Mapping[Key, float]) -> float | None:
        """Chance that random rankings have a mean at least as high as these values.

        Parameters
        ----------
        values : mapping of Key to float
            Scores of all or some of the queries. With seeds, the mean is that of the seeds' means.

        Returns
        -------
        float or None
            From 0 to 1; None if there are no values, or the catalogue of one is not known.
        """
        if not values or not self._prepared():
            return None
        share = weights(values)
        observed = sum(share[key] * value for key, value in values.items())
        groups = Counter((self._kinds[key], round(len(values) * share[key], 12)) for key in values)
        parts = [(self._known[kind], weight, count) for (kind, weight), count in sorted(groups.items(), key=repr)]
        return tail(parts, observed * len(values), np.random.default_rng([self._seed, 1]))

    def _prepared(self) -> bool:
        """Find the distribution of every query; False if a catalogue is not known."""
        if self._kinds:
            return True
        orders: dict[Hashable, Orders] = {}
        kinds: dict[Key, Hashable] = {}
        for key, case in self._cases.items():
            held = levels(self._module, case)
            if held is None:
                return False
            whole = (tuple(held.values.tolist()), tuple(held.counts.tolist()))
            kind: Hashable = (*whole, case.query_class, case.total)
            kinds[key] = kind
            if kind not in orders:
                orders[kind] = Orders(self._module, self._k, case, held)
        for number, each in enumerate(sorted(orders, key=repr)):
            rng = np.random.default_rng([self._seed, 0, number])
            self._known[each] = orders[each].distribution(DRAWN // len(orders), rng)
        self._kinds = kinds
        return True


def tail(parts: Sequence[tuple[Distribution, float, int]], observed: float, rng: np.random.Generator) -> float:
    """Chance that a weighted sum of independent scores is at least the one observed.

    Parameters
    ----------
    parts : sequence of (Distribution, weight, count)
        ``count`` scores each, independent, times their weight.
    observed : float
        The sum.
    rng : numpy Generator
        For what is sampled.

    Returns
    -------
    float
        From 0 to 1.
    """
    number = sum(count for _, _, count in parts)
    if number == 1:
        (one, weight, _) = parts[0]
        reached = weight * one.values >= observed - _SAME
        return float((reached.sum() + 1) / (one.drawn + 1)) if one.drawn else float(min(1.0, one.shares[reached].sum()))
    step = _fraction(parts)
    if step and number * step <= _STEPS:
        return _convolved(parts, step, observed)
    return _sampled(parts, observed, rng) if number <= FEW else _approximated(parts, observed, step)


def _fraction(parts: Sequence[tuple[Distribution, float, int]]) -> int:
    """Return the common denominator of all scores, 0 if there is none below 5000 or weights differ."""
    common = 1
    for one, weight, _ in parts:
        if one.drawn or abs(weight - 1) > _SAME:
            return 0
        for value in np.unique(one.values.round(12)).tolist():
            near = Fraction(value).limit_denominator(_FINEST)
            common = lcm(common, near.denominator)
            if abs(near - value) > _SAME or common > _FINEST:
                return 0
    return common


def _convolved(parts: Sequence[tuple[Distribution, float, int]], step: int, observed: float) -> float:
    sums = np.ones(1)
    for one, _, count in parts:
        places = np.rint(one.values * step).astype(np.int64)
        shares = np.bincount(places, one.shares)
        for _ in range(count):
            sums = np.convolve(sums, shares)
    return float(np.clip(sums[max(0, int(np.ceil(observed * step - 1e-6))) :].sum(), np.finfo(float).tiny, 1.0))


def _sampled(parts: Sequence[tuple[Distribution, float, int]], observed: float, rng: np.random.Generator) -> float:
    number = sum(count for _, _, count in parts)
    means = min(MOST_SAMPLED, SAMPLED // number)
    sums = np.zeros(means)
    for one, weight, count in parts:
        ends = np.cumsum(one.shares)
        for _ in range(count):
            if one.drawn:  # all equally likely
                chosen = rng.integers(0, len(ends), means)
            else:
                chosen = np.searchsorted(ends[:-1], rng.random(means), side="right")
            sums += weight * one.values[chosen]
    return float(((sums >= observed - _SAME * number).sum() + 1) / (means + 1))


def _approximated(parts: Sequence[tuple[Distribution, float, int]], observed: float, step: int) -> float:
    from scipy.special import ndtr

    mean, variance, third = np.sum(
        [
            [count * weight**power * moment for power, moment in zip((1, 2, 3), one.moments(), strict=True)]
            for one, weight, count in parts
        ],
        axis=0,
    )
    if variance <= 0:
        return float(observed <= mean + _SAME)
    z = (observed - mean - (0.5 / step if step else 0.0)) / np.sqrt(variance)
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return float(np.clip(ndtr(-z) + density * third / variance**1.5 * (z * z - 1) / 6, _LEAST, 1.0))
