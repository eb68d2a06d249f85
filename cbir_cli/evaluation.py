"""How good ranked lists are: the library behind ``cbir evaluate`` of runs.

A run is scored query by query, against the ranking of an expert (nDCG), against classes (R-precision, precision) or by
sets of labels (ACG), beside the exact mean of a random ranking. With seeds from a split table a seed's value is the
mean over its queries, and mean, minimum, maximum and standard deviation are taken over the seeds, as table 1 of the
IG-CBIR paper prints them; without seeds they are taken over the queries.

What is left out is counted and said: queries that the expert did not rank, queries whose label is uncertain or missing
or that are of several classes, and queries for which a metric is not defined. Results whose label is uncertain or
missing stay and are not relevant.
"""

import inspect
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from cbir_cli import registry, ties
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.artifacts.run import RunRow
from cbir_cli.chance import RandomRankings
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.metric_names import BINARY_DEFAULTS, GRADED_DEFAULTS, RANKING, WHAT, Metric, parse_metrics
from cbir_cli.ranked_lists import Key, RankedLists
from cbir_cli.run_labels import RunLabels
from cbir_cli.scores import Score, summarise
from cbir_cli.truth import Case, Catalogue, Lacking, Truth

TIES = ("rank", "average")
"""What becomes of results that are equally far: they count as the run ranks them, or as the mean over their orders."""

_TOGETHER = 1 << 22
"""Numbers of one kind that a metric is handed at once: 32 MiB."""
_LOG = logging.getLogger("cbir")


class Judge(Protocol):
    """What knows how relevant the results of a run are: ``Truth``, ``LabelTruth`` or ``QrelTruth``."""

    @property
    def lists(self) -> RankedLists:
        """The run."""

    def cases(self, kind: str) -> list[Case]:
        """Its queries, by one kind of relevance."""

    def against(self, kind: str) -> str:
        """What that goes by, in words."""


def evaluate_run(
    rows: Iterable[RunRow],
    *,
    metrics: Sequence[str] = (),
    method: str = "",
    ranks: Sequence[RankRow] = (),
    rater: str | None = None,
    label: str | None = None,
    catalogues: Mapping[Key, Catalogue] | None = None,
) -> list[Score]:
    """Score a run.

    Parameters
    ----------
    rows : iterable of RunRow
        Ranked lists. Their ranks are the order, also where distances are equal.
    metrics : sequence of str
        As on the command line; see ``score_run``.
    method : str
        Name of the result, such as the run's file.
    ranks : sequence of RankRow
        Expert ranks; nDCG needs them.
    rater : str, optional
        Whose ranks count: by default R1, else the first in the table.
    label : str, optional
        Which label decides what is relevant; needed if the run states several.
    catalogues : mapping of Key to Catalogue, optional
        What each query's catalogue holds. Without it that is known only where the run lists exactly the images that the
        expert ranked. R-precision needs it; precision has no random baseline without it.

    Returns
    -------
    list of Score
        One a metric, in the order asked for.

    Raises
    ------
    UsageError
        If a metric is unknown or lacks what it needs, lists are too short for it, or run, ranks and catalogues do not
        belong together.
    """
    labels = RunLabels(RankedLists.of(rows))
    chosen = [] if label is None else [labels.pick(label) or ""]
    truth = Truth(labels.lists, labels, ranks, rater, chosen, catalogues or {})
    return score_run(truth, metrics=metrics, method=method)


def score_run(truth: Truth, *, metrics: Sequence[str] = (), method: str = "", tied: str = "rank") -> list[Score]:
    """Score a run of which is known what is relevant.

    Parameters
    ----------
    truth : Truth
    metrics : sequence of str
        As on the command line. None named: nDCG@4, @7 and @10 if there are expert ranks, R-precision and precision@5 if
        there are labels, as far as they can be had.
    method : str
        Name of the result.
    tied : str
        One of ``TIES``.

    Returns
    -------
    list of Score
        One a metric, in the order asked for.

    Raises
    ------
    UsageError
        As ``evaluate_run``.
    """
    labelled = bool(truth.class_labels or truth.labels.names)
    usual = GRADED_DEFAULTS * bool(truth.ranks) + BINARY_DEFAULTS * labelled
    if not (metrics or usual):
        raise UsageError("nothing to evaluate: the run states no labels, and there are no expert ranks (--raters)")
    return score(truth, metrics or usual, method=method, tied=tied, as_far_as_can_be_had=not metrics)


def score(
    judge: Judge,
    metrics: Sequence[str],
    *,
    method: str = "",
    tied: str = "rank",
    as_far_as_can_be_had: bool = False,
) -> list[Score]:
    """Score a run by some metrics.

    Parameters
    ----------
    judge : Judge
    metrics : sequence of str
        As on the command line, each of a kind of relevance that the judge has.
    method : str
        Name of the result.
    tied : str
        One of ``TIES``.
    as_far_as_can_be_had : bool
        Pass over metrics that lack what they need, as long as there is one that does not.

    Returns
    -------
    list of Score
        One a metric, in the order asked for.

    Raises
    ------
    UsageError
        As ``evaluate_run``; or if ties are averaged and a list is not sorted by distance.
    """
    if tied not in TIES:
        raise registry.unknown("way to treat ties", tied, TIES)
    named = parse_metrics(metrics)
    if not judge.lists.keys:
        raise UsageError("the run holds no results")
    scores: list[Score] = []
    problems: list[Lacking] = []
    for metric in named:
        try:
            scores.append(_score(judge, metric, method, tied))
        except Lacking as problem:
            if not as_far_as_can_be_had:
                raise
            problems.append(problem)
    if not scores:
        raise problems[0]
    for lacking in dict.fromkeys(map(str, problems)):
        _LOG.info("%spassed over: %s", f"{method}: " if method else "", lacking)
    for found in scores:
        if found.left_out:
            _LOG.info("%s: %d of %d queries left out", found.metric, found.left_out, found.left_out + found.n)
    return scores


def _score(judge: Judge, metric: Metric, method: str, tied: str) -> Score:
    if metric.folder != RANKING:
        raise UsageError(f"metric {metric} scores {metric.what}, not {WHAT[RANKING]}")
    kind = metric.module.RELEVANCE
    cases = judge.cases(kind)
    _check_depth(metric, cases)
    values, chance = _values(metric, cases, tied)
    left_out = len(judge.lists.keys) - len(values)
    against = judge.against(kind) + (", ties averaged" if tied == "average" else "")
    tail = RandomRankings(metric.module, metric.k, cases).p_random
    return summarise(values, chance, method=method, metric=str(metric), against=against, left_out=left_out, tail=tail)


def _check_depth(metric: Metric, cases: Iterable[Case]) -> None:
    """Refuse lists that were cut off before the depth that a metric looks at."""
    short = 0
    asks = inspect.signature(metric.module.score).parameters
    for case in cases:
        depth = metric.k if metric.k is not None else case.relevant
        if depth is None or ("relevant" in asks and case.relevant is None):
            raise Lacking(
                f"{metric} needs the number of relevant images in each catalogue: give --items INDEX (and --split "
                "TABLE if the run has sets)"
            )
        if "size" in asks and case.size is None:
            raise Lacking(f"{metric} needs the number of images in each catalogue: give --items INDEX")
        if case.size is None:
            short += len(case.relevance) < depth
        elif len(case.relevance) < (needed := min(depth, case.size)):
            raise Lacking(
                f"{metric} needs the first {needed} results of query {case.key[2]!r}, the run has "
                f"{len(case.relevance)} of the {case.size} images in its catalogue"
            )
    if short:
        _LOG.warning("%s: %d queries have fewer results; those they lack count as not relevant", metric, short)


def _values(metric: Metric, cases: Sequence[Case], tied: str) -> tuple[dict[Key, float], dict[Key, float]]:
    values: dict[Key, float] = {}
    chance: dict[Key, float] = {}
    for group in _alike(cases):
        given: dict[str, Any] = {"k": metric.k}
        unknown = group[0].size is None
        score = (_averaged if tied == "average" else _call)(metric.module.score, group, given)
        baseline = np.ma.masked_all(len(group)) if unknown else _call(metric.module.expected, group, given)
        for case, value, random in zip(group, score.tolist(), baseline.tolist(), strict=True):
            if value is not None:
                values[case.key] = value
                if random is not None:
                    chance[case.key] = random
    order = [case.key for case in cases]
    return {key: values[key] for key in order if key in values}, {key: chance[key] for key in order if key in chance}


def _alike(cases: Iterable[Case]) -> Iterable[list[Case]]:
    """Yield cases whose arrays have the same lengths together, a sensible number at once."""
    groups: dict[tuple[int, int, bool], list[Case]] = defaultdict(list)
    for case in cases:
        groups[len(case.relevance), _width(case), case.size is None].append(case)
    for (length, ideal, _), group in groups.items():
        step = max(1, _TOGETHER // max(1, length, ideal))
        for start in range(0, len(group), step):
            yield group[start : start + step]


def _width(case: Case) -> int:
    """How many images the ideal order has: the catalogue's, as far as it is known."""
    return 0 if case.ideal is None else max(len(case.ideal), len(case.relevance), case.size or 0)


def _call(function: Any, group: Sequence[Case], given: dict[str, Any]) -> np.ma.MaskedArray:
    """Call a function with what it asks for; what was put together before is taken again."""
    return function(**_given(function, group, given))


def _averaged(function: Any, group: Sequence[Case], given: dict[str, Any]) -> np.ma.MaskedArray:
    """Call a score for the mean over the orders of what is equally far."""
    (_, results), *others = _given(function, group, given).items()
    far = np.asarray([case.distances for case in group])
    sizes = None if group[0].size is None else np.asarray([case.size for case in group])
    try:
        return ties.average(function, results, far, **{"size": sizes, **dict(others)})
    except ShapeError as error:
        raise UsageError(f"--ties average: {error}") from None


def _given(function: Any, group: Sequence[Case], given: dict[str, Any]) -> dict[str, Any]:
    names = inspect.signature(function).parameters
    for name in names:
        if name == "ideal" and name not in given:
            given[name] = np.zeros((len(group), _width(group[0])))
            for row, case in enumerate(group):
                if case.ideal is not None:
                    given[name][row, : len(case.ideal)] = case.ideal
        elif name not in given:
            given[name] = np.asarray([getattr(case, name) for case in group])
    return {name: given[name] for name in names}
