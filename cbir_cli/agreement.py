"""How far raters agree with each other, and methods with raters: pair by pair, and all raters together.

Statistics of ranks (``metrics/agreement``) are taken query by query and averaged, those of severities over the images
of all queries together, the queries' own included. Two rankings are compared where they hold the same images; queries
that only one of the two ranked are left out and counted, and so are those with other images.

Intervals of 95 % are over queries, those of means by ``bootstrap``, those of severities by ``jackknife``; queries that
show the same patient, as far as known, or the same image count as one.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, product
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import bootstrap, jackknife, registry, uncertainty
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.errors import UsageError
from cbir_cli.ranked_lists import Key, RankedLists

FOLDER = "metrics/agreement"
DEFAULTS = (
    "kendall-tau",
    "spearman-rho",
    "kendall-w",
    "kappa-linear",
    "kappa-quadratic",
    "icc.agreement",
    "icc.consistency",
    "icc.agreement-mean",
)
ALL = "all"
"""In place of a pair's first name; there is no second then."""

_OF_PAIRS = (("first", "second"), ("first_severity", "second_severity"), ("severities",))
_OF_ALL = (("ranks",), ("severities",))
_OF_RANKS = (("first", "second"), ("ranks",))
_ONLY_ALL = ("icc.one-way-mean", "icc.agreement-mean", "icc.consistency-mean")
"""Of the mean of all raters: of two of them it says nothing that the single one does not."""


@dataclass(frozen=True)
class Opinion:
    """What a rater, or a method, says of the images of each query.

    Attributes
    ----------
    name : str
    orders : mapping of Key to mapping
        Rank of each image.
    severities : mapping of Key to mapping
        Severity of each image, the query included; a method has none.
    """

    name: str
    orders: Mapping[Key, Mapping[str, float]]
    severities: Mapping[Key, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """One statistic of a pair, or of all raters.

    Attributes
    ----------
    first, second : str
        Who; ``ALL`` and empty for all raters.
    statistic : str
    n : int
        Queries that were compared.
    left_out : int
        Queries that one of them has and that were not: not ranked (or graded) by all of them, with other images, or
        where the statistic is not defined.
    images : int or None
        Images whose severities were compared; None for a statistic of ranks.
    value : float or None
        Mean over queries, or of all images together; None where not defined.
    low, high : float or None
        Ends of the 95 % interval.
    minimum, maximum : float or None
        Over queries; None for a statistic of severities.
    random : float or None
        Exact mean by chance; None where there is no closed form.
    values : mapping of Key to float
        Of each query; empty for a statistic of severities.
    """

    first: str
    second: str
    statistic: str
    n: int
    left_out: int
    images: int | None
    value: float | None
    low: float | None = None
    high: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    random: float | None = None
    values: Mapping[Key, float] = field(default_factory=dict)


def of_ranks(ranks: Iterable[RankRow]) -> list[Opinion]:
    """Return what each rater of a table says, in its order."""
    orders: dict[str, dict[Key, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    severities: dict[str, dict[Key, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in ranks:
        orders[row.rater][row.key][row.id] = row.rank
        for image, severity in ((row.query, row.query_severity), (row.id, row.severity)):
            if severity is not None:
                severities[row.rater][row.key][image] = severity
    return [Opinion(name, found, severities[name]) for name, found in orders.items()]


def of_run(name: str, lists: RankedLists) -> Opinion:
    """Return what a method says."""
    orders = {key: {image: at for at, image in enumerate(lists.ids(q), 1)} for q, key in enumerate(lists.keys)}
    return Opinion(name, orders)


def agreement(
    raters: Sequence[Opinion],
    methods: Sequence[Opinion] = (),
    *,
    statistics: Sequence[str] = (),
    patients: Mapping[str, str] | None = None,
) -> list[Agreement]:
    """Compare raters with each other and methods with each rater.

    Parameters
    ----------
    raters, methods : sequence of Opinion
    statistics : sequence of str
        Names in ``metrics/agreement``; the usual ones by default, those of severities only if a rater gives any.
    patients : mapping of str to str, optional
        Patient of each query, as far as known: those of one count as one for the intervals.

    Returns
    -------
    list of Agreement
        Pairs of raters, methods with raters, all raters.

    Raises
    ------
    UsageError
        If a statistic is unknown, nothing is there to be compared, or ranks have seeds and a run has none.
    """
    known = registry.names(FOLDER)
    graded = any(opinion.severities for opinion in raters)
    chosen: dict[str, tuple[str, ...]] = {}
    for name in statistics or DEFAULTS:
        if registry.canonical(name) not in known:
            raise registry.unknown("statistic of agreement", name, known)
        kind = tuple(inspect.signature(registry.load(FOLDER, name).score).parameters)
        if graded or kind in _OF_RANKS:
            chosen[registry.canonical(name)] = kind
        elif statistics:
            raise UsageError(f"{name} needs severities, and the rank table has none")
    if len(raters) < 2 and not methods:
        raise UsageError("agreement needs two raters at least, or runs to compare with one")
    of_pair = {name: kind for name, kind in chosen.items() if kind in _OF_PAIRS and name not in _ONLY_ALL}
    of_ranks = {name: kind for name, kind in of_pair.items() if kind in _OF_RANKS}
    of_all = {name: kind for name, kind in chosen.items() if kind in _OF_ALL}
    if len(raters) == 2:  # what all two say is there already
        of_all = {name: kind for name, kind in of_all.items() if name not in of_pair}
    of = patients or {}
    found = [row for pair in combinations(raters, 2) for row in _rows(pair, of_pair, of)]
    found += [row for pair in product(methods, raters) for row in _rows(pair, of_ranks, of)]
    if len(raters) > 1:
        found += [replace(row, first=ALL, second="") for row in _rows(raters, of_all, of)]
    return found


def _rows(
    opinions: Sequence[Opinion], chosen: Mapping[str, tuple[str, ...]], patients: Mapping[str, str]
) -> Iterator[Agreement]:
    """Yield each statistic of two opinions or more."""
    first, second = opinions[0].name, opinions[1].name
    ranked, ranked_by_any = _tables([opinion.orders for opinion in opinions], alike=True)
    graded, graded_by_any = _tables([opinion.severities for opinion in opinions], alike=False)
    for name, kind in chosen.items():
        module = registry.load(FOLDER, name)
        score = partial(_score, module, kind)
        expected = getattr(module, "expected", None)
        random = expected(len(opinions)) if expected else None
        if kind in _OF_RANKS:
            given = {key: score(table) for key, table in ranked.items()}
            values = {key: value for key, value in given.items() if value is not None}
            value = fmean(values.values()) if values else None
            low, high = bootstrap.of_mean(list(values.values()), _whom(values, patients)) or (None, None)
            n, left = len(values), ranked_by_any - len(values)
            ends = min(values.values(), default=None), max(values.values(), default=None)
            yield Agreement(first, second, name, n, left, None, value, low, high, *ends, random, values)
        else:
            images = sum(table.shape[1] for table in graded.values())
            value, low, high = _pooled(score, graded, patients)
            n, left = len(graded), graded_by_any - len(graded)
            yield Agreement(first, second, name, n, left, images, value, low, high, random=random)


def _score(module: Any, kind: tuple[str, ...], table: NDArray[np.float64]) -> float | None:
    """Return a statistic of what M raters say of N images, (M, N)."""
    value: float | None
    if kind == ("ranks",):
        value = module.score(table)
    elif kind == ("severities",):
        value = module.score(table.T)
    else:
        value = module.score(*table)
    return value


def _pooled(
    score: Callable[[NDArray[np.float64]], float | None],
    tables: Mapping[Key, NDArray[np.float64]],
    patients: Mapping[str, str],
) -> tuple[float | None, float | None, float | None]:
    """Return a statistic of the images of all queries together, and the ends of its interval."""

    def of(several: list[NDArray[np.float64]]) -> float | None:
        return score(np.concatenate(several, axis=1)) if several else None

    clusters: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for whom, table in zip(_whom(tables, patients), tables.values(), strict=True):
        clusters[whom].append(table)
    low, high = jackknife.interval(of, clusters.values()) or (None, None)
    return of(list(tables.values())), low, None if high is None else min(1.0, high)


def _whom(keys: Iterable[Key], patients: Mapping[str, str]) -> list[str]:
    """Return whom each query shows: its patient, else the query itself."""
    keys = list(keys)
    return uncertainty.clusters(keys, {key: patients.get(key[2], "") for key in keys})


def _tables(
    said: Sequence[Mapping[Key, Mapping[str, float]]], *, alike: bool
) -> tuple[dict[Key, NDArray[np.float64]], int]:
    """Return what all say of the same images, (M, N) for each query of the first, and how many queries anybody has.

    With ``alike`` a query counts only if all have the same images.
    """
    first, others = said[0], [(other, _places(said[0], other)) for other in said[1:]]
    asked = set(first).union(*(set(other) - set(places.values()) for other, places in others))
    tables = {}
    for key, own in first.items():
        found = [own, *(other[places[key]] for other, places in others if key in places)]
        common = sorted(set(own).intersection(*found))
        same = all(len(one) == len(common) for one in found)
        if len(found) == len(said) and common and (same or not alike):
            tables[key] = np.array([[one[image] for image in common] for one in found], np.float64)
    return tables, len(asked)


def _places(first: Mapping[Key, Any], other: Mapping[Key, Any]) -> dict[Key, Key]:
    """Return which query of the second each of the first is; a rank table need not have the run's seeds and sets."""
    if any(key[0] is not None for key in other) and any(key[0] is None for key in first):
        raise UsageError("the expert ranks have a seed and a set for each query, but the run has none")
    keys = {key: key if key in other else (None, None, key[2]) for key in first}
    return {key: place for key, place in keys.items() if place in other}
