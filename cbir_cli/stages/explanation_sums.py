"""The values of explanations' maps, summed up over queries, with intervals.

As in X-MIR, the values of a query's results are averaged first, then the queries of a class; the row ``all`` is the
mean over all queries. Maps on queries and maps on results are kept apart. An interval is the 95 % t interval over
queries, from six queries on; that of a difference to a baseline is over the differences of each query.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Table 2, and the authors' code.)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cbir_cli import classes
from cbir_cli.artifacts.explanation import Explanation
from cbir_cli.intervals import interval
from cbir_cli.stages.explanation_values import Values

SIDES = ("query", "result")
"""What maps lie on, as the artifact counts them."""


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, and its interval; None where there is none."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One metric of the maps of one method.

    Attributes
    ----------
    file, method : str
    group : str
        The class of the queries, or ``all``.
    on : str
        Which images the maps lie on: ``query`` or ``result``.
    metric : str
        As the command line spells it, or ``cascade LAYER`` and ``independent LAYER`` for the rank correlation with the
        maps of a network that lost the layer.
    n, left_out : int
        Queries that have a value, and that have none.
    maps_left_out : int
        Maps without a value, also those of queries that have one by another map: the metric is not defined for them, or
        their image has no mask.
    own : Estimate
        Of the maps.
    random, network : float or None
        What the random map, and the maps of a network with fresh weights, get on the same pairs.
    over_random, over_network : Estimate
        Of the differences to the two, query by query.
    values, chance : mapping of str to float
        Of each query, and what the random map gets.
    """

    file: str
    method: str
    group: str
    on: str
    metric: str
    n: int
    left_out: int
    maps_left_out: int = 0
    own: Estimate = Estimate()
    random: float | None = None
    network: float | None = None
    over_random: Estimate = Estimate()
    over_network: Estimate = Estimate()
    values: Mapping[str, float] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)


def summed(made: Explanation, values: Mapping[str, Values], label: str | None = None) -> list[Row]:
    """Sum up what the maps of an artifact get, for ``all`` and each class of the queries.

    Parameters
    ----------
    made : Explanation
    values : mapping of str to Values
        By metric.
    label : str, optional
        The label whose classes are told apart, instead of those of the task; ``all`` for all of the images' labels.

    Returns
    -------
    list of Row
        Without the name of the file.

    Raises
    ------
    UsageError
        If there is no such label.
    """
    return list(_rows(made, values, groups_of(made, label)))


def groups_of(made: Explanation, label: str | None) -> dict[str, list[int]]:
    """Return the rows of all queries, and of those of each class of the task's labels.

    Raises
    ------
    UsageError
        If there is no such label.
    """
    labels = classes.labels_of(made.queries, made.targets, label, made.results)
    groups: dict[str, list[int]] = {classes.ALL: list(range(len(made.queries.ids)))}
    groups |= {name: [] for name in classes.names(labels)}
    for row in range(len(made.queries.ids)):
        for name in classes.of(made.queries.stated(row, labels), labels):
            groups[name].append(row)
    return {name: rows for name, rows in groups.items() if rows}


def _rows(made: Explanation, values: Mapping[str, Values], groups: Mapping[str, Sequence[int]]) -> Iterator[Row]:
    rows = made.importance
    asked = made.query[made.map_pair[rows]]
    for side, on in enumerate(SIDES):
        here = made.map_on[rows] == side
        if not here.any():
            continue
        for group, members in groups.items():
            for metric, found in values.items():
                if group == classes.ALL or found.by_class:
                    yield _row(made, found, np.where(here, asked, -1), members, group=group, on=on, metric=metric)


def _row(made: Explanation, values: Values, asked: np.ndarray, members: Sequence[int], **names: str) -> Row:
    """Average over the results of each query, then over the queries of a class.

    Parameters
    ----------
    asked : ndarray (M0,) of int
        The query of each map; -1 for maps that do not count.
    members : sequence of int
        The queries.
    """
    defined = np.isfinite(values.own)
    columns = {"own": values.own, "random": values.random, "network": values.network}
    units: dict[int, list[int]] = {query: np.flatnonzero(defined & (asked == query)).tolist() for query in members}
    units = {query: rows for query, rows in units.items() if rows}
    means = {
        key: np.array([column[rows].mean() for rows in units.values()])
        for key, column in columns.items()
        if column is not None and units
    }
    own, random, network = (means.get(key) for key in columns)
    ids = [str(made.queries.ids[query]) for query in units]

    def over(baseline: np.ndarray | None) -> Estimate:
        return Estimate() if own is None or baseline is None else _estimate(own - baseline)

    return Row(
        file="",
        method=made.method,
        **names,
        n=len(units),
        left_out=len(members) - len(units),
        maps_left_out=int((np.isin(asked, members) & ~defined).sum()),
        own=Estimate() if own is None else _estimate(own),
        random=None if random is None else float(random.mean()),
        network=None if network is None else float(network.mean()),
        over_random=over(random),
        over_network=over(network),
        values={} if own is None else dict(zip(ids, own.tolist(), strict=True)),
        chance={} if random is None else dict(zip(ids, random.tolist(), strict=True)),
    )


def _estimate(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), *(interval(values) or (None, None)))
