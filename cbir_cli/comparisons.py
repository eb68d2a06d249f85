"""Methods compared on the same queries: difference, interval, paired permutation test, Holm's correction.

Two scores are compared where they are of the same metric, ground truth and group. Queries are paired by seed, set and
id; those that one of the two lacks are left out and counted. The difference is that of the means over what is left.

Holm's correction takes all rows of one metric's name for one family, whatever their cut-off, group or label: who looks
at nDCG@4, @7 and @10 of three pairs of methods has nine chances to find a difference.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from cbir_cli import bootstrap, sign_flips
from cbir_cli.errors import UsageError
from cbir_cli.intervals import holm
from cbir_cli.registry import unknown
from cbir_cli.scores import RATER, Score, metric_names, spell_p, weights
from cbir_cli.uncertainty import clusters

COLUMNS = ("a", "b", "metric", "group", "n", "difference", "low", "high", "p", "p_holm")

ALL = "all"
"""In place of a method: every pair."""

_LOG = logging.getLogger("cbir")


@dataclass(frozen=True)
class Comparison:
    """Two methods by one metric.

    Attributes
    ----------
    a, b : str
        The methods.
    metric, against, group : str
        As in their scores.
    n, patients, left_out : int
        Queries (images, for maps) that both have, whom they show, and queries that one alone has.
    difference : float
        Mean of a less mean of b.
    low, high : float or None
        Ends of its 95 % interval, over patients (``bootstrap``).
    p, p_holm : float
        Of the paired permutation test (``sign_flips``), and corrected within its family.
    """

    a: str
    b: str
    metric: str
    against: str
    group: str
    n: int
    patients: int
    left_out: int
    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float = 1.0


def compare(scores: Sequence[Score], method: str = ALL) -> list[Comparison]:
    """Compare methods.

    Parameters
    ----------
    scores : sequence of Score
        Of several methods, as ``uncertainty.filled`` returns them.
    method : str
        The one that is compared with each other one: a method, or the last part of its name with or without its ending.
        ``all`` for every pair. Raters take no part, unless one is named: he is compared with each method.

    Returns
    -------
    list of Comparison
        By metric, in the order of the scores.

    Raises
    ------
    UsageError
        If there is no such method or only one, scores have no values of queries or images, or two methods have no query
        in common.
    """
    valued = [score for score in scores if score.values]
    methods = list(dict.fromkeys(score.method for score in valued))
    if not methods:
        raise UsageError("--compare: these scores have no values of single queries or images that could be paired")
    first = None if method == ALL else _named(method, methods)
    if first is None or not first.startswith(RATER):  # more tests for Holm's correction, and not what is asked
        methods = [name for name in methods if not name.startswith(RATER)]
    if len(methods) < 2:
        raise UsageError(f"--compare: expected several methods, found {methods[0]} alone")
    pairs = (
        list(combinations(methods, 2))
        if first is None
        else [(first, m) for m in methods if not m.startswith(RATER) and m != first]
    )
    rows: dict[tuple[str, str, str], dict[str, Score]] = defaultdict(dict)
    for score in valued:
        rows[score.metric, score.against, score.group][score.method] = score
    found = [
        _pair(of[a], of[b]) for of in rows.values() for a, b in pairs if a in of and b in of and _shared(of[a], of[b])
    ]
    if not found:
        raise UsageError("--compare: no two methods were scored by the same metric and ground truth")
    _say_left_out(found)
    return _corrected(found)


def tsv(comparisons: Iterable[Comparison]) -> Iterator[str]:
    """Write comparisons as TSV with a header, line by line."""
    yield "\t".join(COLUMNS) + "\n"
    for row in cells(comparisons):
        yield "\t".join(row) + "\n"


def cells(comparisons: Iterable[Comparison]) -> Iterator[tuple[str, ...]]:
    """Return each comparison as text, one cell for each of ``COLUMNS``."""
    comparisons = list(comparisons)
    for one, metric in zip(comparisons, metric_names((c.metric, c.against) for c in comparisons), strict=True):
        words = (" ".join(text.split()) for text in (one.a, one.b, metric, one.group))  # a tab would shift the columns
        numbers = ("" if x is None else f"{x:.4f}" for x in (one.difference, one.low, one.high))
        yield (*words, str(one.n), *numbers, spell_p(one.p), spell_p(one.p_holm))


def json_lines(comparisons: Iterable[Comparison]) -> Iterator[str]:
    """Write comparisons as JSON, one object a line, unrounded."""
    for one in comparisons:
        yield json.dumps(vars(one)) + "\n"


def _named(method: str, methods: Sequence[str]) -> str:
    if method in methods:
        return method
    last = Path(method).name
    fits = [name for name in methods if last in (Path(name).name, Path(name).stem)]
    if len(fits) != 1:
        raise unknown("method to compare", method, [*methods, ALL])
    return fits[0]


def _shared(a: Score, b: Score) -> bool:
    """Whether two scores have a query in common, which small groups may not; if none of the whole have, it is wrong."""
    common = not a.values.keys().isdisjoint(b.values)
    if not common and not a.group:
        raise UsageError(f"--compare: {a.method} and {b.method} have no query in common ({a.metric})")
    return common


def _pair(a: Score, b: Score) -> Comparison:
    keys = sorted(a.values.keys() & b.values.keys(), key=str)
    share = weights(keys)
    away = np.array([a.values[key] - b.values[key] for key in keys])
    each = np.array([share[key] for key in keys])
    whom, place = np.unique(clusters(keys, {**b.patients, **a.patients}), return_inverse=True)
    low, high = bootstrap.of_mean(away, place, each) or (None, None)
    return Comparison(
        a=a.method,
        b=b.method,
        metric=a.metric,
        against=a.against,
        group=a.group,
        n=len(keys),
        patients=len(whom),
        left_out=len(a.values.keys() ^ b.values.keys()),
        difference=float(each @ away),
        low=low,
        high=high,
        p=sign_flips.p_value(np.bincount(place, each * away)),
    )


def _say_left_out(found: Sequence[Comparison]) -> None:
    most = max(found, key=lambda one: one.left_out)
    if most.left_out:
        _LOG.warning(
            "compared on the queries that both methods have: up to %d are left out (%s and %s, %s)",
            most.left_out,
            most.a,
            most.b,
            most.metric,
        )


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    families: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(found):
        families[one.metric.partition("@")[0]].append(place)
    corrected = list(found)
    for places in families.values():
        for place, p in zip(places, holm([found[place].p for place in places]).tolist(), strict=True):
            corrected[place] = replace(found[place], p_holm=p)
    return corrected
