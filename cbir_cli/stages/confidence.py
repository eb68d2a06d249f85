"""What a calibrated index says of answers: how likely they are of the query's class, and what it does not know.

The calibration is that of ``cbir index --calibrate`` (``cbir_cli.neighbour_calibration``).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cbir_cli import neighbour_calibration
from cbir_cli.artifacts.index import Index
from cbir_cli.errors import UsageError
from cbir_cli.stages import searchers
from cbir_cli.stages.guards import Filters, Guard
from cbir_cli.stages.query import Answer, Queries, Wanted

log = logging.getLogger("cbir")

_SHOWN = 5


@dataclass(frozen=True)
class Confidence:
    """What is asked of a calibration, as the options say it.

    Attributes
    ----------
    probability : bool
        Tell how likely each result is of the query's class.
    abstain : bool
        List no results for queries that are unlike the catalogue.
    quantile : float
        Share of the catalogue's own images whose nearest lies within the distance beyond which a query is unlike it.
    """

    probability: bool = False
    abstain: bool = False
    quantile: float = neighbour_calibration.QUANTILE

    def check(self, index: Index) -> None:
        """Refuse an index that has no calibration.

        Raises
        ------
        UsageError
            If one is needed, or the quantile is none.
        """
        default = self.quantile == neighbour_calibration.QUANTILE
        if index.calibration is None and (self.probability or self.abstain or not default):
            option = "--probability" if self.probability else "--abstain" if self.abstain else "--set quantile="
            name = index.embedding.name
            raise UsageError(f"{option}: {name} is not calibrated: cbir index {name} --calibrate LABEL -o {name}")
        if index.calibration is not None:
            neighbour_calibration.farthest(index.calibration.nearest, self.quantile)


def unlike(
    index: Index, queries: Queries, answers: Sequence[Answer], *, plain: bool, quantile: float
) -> dict[int, float]:
    """Find the queries that are unlike anything in an index, and say which.

    Parameters
    ----------
    index : Index
        Without a calibration nothing is unlike it.
    queries : Queries
    answers : sequence of Answer
    plain : bool
        Whether the first result of an answer is the nearest image of another patient; else it is looked for.
    quantile : float

    Returns
    -------
    dict of int to float
        Row of such a query, and the distance of its nearest.
    """
    if index.calibration is None:
        return {}
    if plain:
        nearest = {answer.query: float(answer.distances[0]) for answer in answers if len(answer.rows)}
    else:
        nearest = _nearest(index, queries, sorted({answer.query for answer in answers}))
    limit = neighbour_calibration.farthest(index.calibration.nearest, quantile)
    found = {query: far for query, far in nearest.items() if far > limit}
    _say(queries, found, limit, quantile)
    return found


def is_plain(wanted: Wanted, *, moved: bool) -> bool:
    """Say whether the first result is the nearest image of another patient."""
    return wanted == Wanted() and not moved


def abstained(answers: Sequence[Answer], queries: Mapping[int, float]) -> list[Answer]:
    """Return answers without the results of some queries, and say how many queries that are."""
    if queries:
        log.warning("abstained: no results are listed for %d of %d queries", len(queries), len(answers))
    nothing = np.empty(0, np.int64)
    return [answer.of(nothing) if answer.query in queries else answer for answer in answers]


def probability(index: Index, distances: np.ndarray) -> np.ndarray:
    """Return how likely results of a calibrated index at some distances are of the query's class, float64."""
    calibration = index.calibration
    if calibration is None:
        raise UsageError(f"{index.embedding.name} is not calibrated")
    return neighbour_calibration.Steps(calibration.distance, calibration.probability)(distances)


def _nearest(index: Index, queries: Queries, rows: Sequence[int]) -> dict[int, float]:
    asked = queries.take(rows)
    same = bool(queries.source) and queries.source == index.embedding.space.source
    guard = Guard(index.embedding.items, asked.items, Filters(), same_source=same)
    distances, _ = searchers.searcher(index).search(np.ascontiguousarray(asked.vectors), 1, allowed=guard.allowed)
    return {row: float(far) for row, far in zip(rows, distances[:, 0], strict=True) if np.isfinite(far)}


def _say(queries: Queries, found: Mapping[int, float], limit: float, quantile: float) -> None:
    for query, far in list(found.items())[:_SHOWN]:
        log.warning(
            "query %r is unlike anything in the catalogue: its nearest image is at %.4g; of the catalogue's own images "
            "%.4g %% have one within %.4g",
            *(str(queries.items.ids[query]), far, 100 * quantile, limit),
        )
    if len(found) > _SHOWN:
        log.warning("%d queries are unlike anything in the catalogue", len(found))
