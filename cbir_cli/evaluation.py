"""How good ranked lists and classifiers are: the library behind ``cbir evaluate``.

A run is scored query by query, against the ranking of an expert (nDCG) or against class labels (R-precision,
precision), beside the exact mean of a random ranking. With seeds from a split table a seed's value is the mean over its
queries, and mean, minimum, maximum and standard deviation are taken over the seeds, as table 1 of the IG-CBIR paper
prints them; without seeds they are taken over the queries.

What is left out is counted and said: queries that the expert did not rank, queries whose label is uncertain or missing,
and queries for which a metric is not defined. Results whose label is uncertain or missing stay and are not relevant.
"""

import inspect
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli import metric_settings, registry, relevance, resampling, shared_labels
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.artifacts.run import Key, RunRow
from cbir_cli.errors import ShapeError, SourceError, UsageError
from cbir_cli.label_truth import LabelTruth
from cbir_cli.scores import Score, summarise
from cbir_cli.truth import Case, Catalogue, Lacking, Truth

RANKING, CLASSIFICATION, EXPLANATION = "metrics/ranking", "metrics/classification", "metrics/explanation"
GRADED_DEFAULTS = ("ndcg@4", "ndcg@7", "ndcg@10")
BINARY_DEFAULTS = ("r-precision", "precision@5")
CLASSIFICATION_DEFAULTS = ("f1", "auroc")
EXPLANATION_DEFAULTS = ("relevance-rank", "pointing-game")
_WHAT = {RANKING: "a run", CLASSIFICATION: "an embedding's logits", EXPLANATION: "saliency maps"}
_SHORT = {"ap": "average-precision", "p": "precision"}
_LOG = logging.getLogger("cbir")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as the command line names it.

    Attributes
    ----------
    folder : str
        ``RANKING`` (scores a run), ``CLASSIFICATION`` (an embedding's logits) or ``EXPLANATION`` (saliency maps).
    name : str
        Name of the method, short forms spelt out.
    k : int or None
        Cut-off, for metrics that have one.
    setting : tuple of str and float, or None
        The parameter that is spelt with its name, such as ``("specificity", 0.95)``, and its value.
    """

    folder: str
    name: str
    k: int | None = None
    setting: tuple[str, float] | None = None

    def __str__(self) -> str:
        if self.setting:
            return f"{self.name}@{metric_settings.spelt(self.setting)}"
        return self.name if self.k is None else f"{self.name}@{self.k}"

    @property
    def module(self) -> ModuleType:
        """The metric's file."""
        return registry.load(self.folder, self.name)

    @property
    def what(self) -> str:
        """What it scores, in words."""
        return _WHAT[self.folder]


def parse_metrics(names: Iterable[str]) -> list[Metric]:
    """Read metrics as the command line spells them: ``ndcg@4``, ``p@5`` or ``precision@5``, ``f1``, ``pointing-game``.

    Raises
    ------
    UsageError
        If there is no such metric, or a cut-off is lacking, superfluous, or no integer of at least 1.
    """
    folders = {name: folder for folder in _WHAT for name in registry.names(folder)}
    metrics = []
    for text in names:
        name, at, k = text.strip().partition("@")
        name = _SHORT.get(name, name)
        if name not in folders:
            raise registry.unknown("metric", name, folders)
        metric = Metric(folders[name], name)
        if hasattr(metric.module, "SPELT"):
            metric = replace(metric, setting=metric_settings.parse(name, metric.module, k if at else None))
        elif "k" not in inspect.signature(metric.module.score).parameters:
            if at:
                raise UsageError(f"metric {text!r}: {name} takes no cut-off")
        elif not (k.isascii() and k.isdigit() and int(k) > 0):
            raise UsageError(f"metric {text!r}: expected a cut-off of at least 1, such as {name}@5")
        else:
            metric = Metric(metric.folder, name, int(k))
        metrics.append(metric)
    return metrics


def evaluate_run(
    rows: Sequence[RunRow],
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
    rows : sequence of RunRow
        Ranked lists. Their ranks are the order, also where distances are equal.
    metrics : sequence of str
        As on the command line. None named: nDCG@4, @7 and @10 if there are expert ranks, R-precision and precision@5 if
        the run states labels, as far as they can be had.
    method : str
        Name of the result, such as the run's file.
    ranks : sequence of RankRow
        Expert ranks; nDCG needs them.
    rater : str, optional
        Whose ranks count: by default R1, else the first in the table.
    label : str, optional
        Which label decides what is relevant; needed if the run states several.
    catalogues : mapping of Key to Catalogue, optional
        What each query's catalogue holds (``count_catalogues``). Without it that is known only where the run lists
        exactly the images that the expert ranked. R-precision needs it; precision has no random baseline without it.

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
    truth = Truth(rows, ranks, rater, label, catalogues or {})
    labelled = any(row.query_labels for row in rows)
    named = parse_metrics(metrics or GRADED_DEFAULTS * bool(ranks) + BINARY_DEFAULTS * (labelled or label is not None))
    if not named:
        raise UsageError("nothing to evaluate: the run states no labels, and there are no expert ranks (--raters)")
    scores: list[Score] = []
    problems: list[Lacking] = []
    for metric in named:
        try:
            scores.append(_score(truth, metric, method))
        except Lacking as problem:
            if metrics:
                raise
            problems.append(problem)
    if not scores:
        raise problems[0]
    for passed_over in problems:
        _LOG.info("passed over: %s", passed_over)
    for score in scores:
        if score.left_out:
            _LOG.info("%s: %d of %d queries left out", score.metric, score.left_out, score.left_out + score.n)
    return scores


def of_label_sets(metric: Metric) -> bool:
    """Whether a metric looks at sets of labels, not at one."""
    return metric.folder == RANKING and metric.module.RELEVANCE in shared_labels.WORDS


def evaluate_label_sets(truth: LabelTruth, *, metrics: Sequence[str], method: str = "") -> list[Score]:
    """Score a run by sets of labels.

    Parameters
    ----------
    truth : LabelTruth
        The run, and the labels of its images.
    metrics : sequence of str
        As on the command line, each of sets of labels.
    method : str
        Name of the result, such as the run's file.

    Returns
    -------
    list of Score
        One a metric, in the order asked for.

    Raises
    ------
    UsageError
        If a metric is unknown or looks at something else, lists are too short for it, no query has labels that count,
        or run and catalogues do not belong together.
    """
    scores = []
    for metric in parse_metrics(metrics):
        if not of_label_sets(metric):
            raise UsageError(f"metric {metric} does not look at sets of labels")
        kind = metric.module.RELEVANCE
        cases = truth.cases(kind)
        _check_depth(metric, cases)
        values, chance = _values(metric, cases)
        left_out = len(truth.lists) - len(values)
        against = f"{truth}: {shared_labels.WORDS[kind]}"
        scores.append(summarise(values, chance, method=method, metric=str(metric), against=against, left_out=left_out))
        if left_out:
            _LOG.info("%s: %d of %d queries left out", metric, left_out, len(truth.lists))
    return scores


def classification(
    logits: ArrayLike,
    truth: ArrayLike,
    *,
    metrics: Sequence[str] = CLASSIFICATION_DEFAULTS,
    method: str = "",
    label: str = "",
    keep: ArrayLike | None = None,
    patients: Sequence[str] | None = None,
) -> list[Score]:
    """Score a classifier from the logits of one class; an image is called positive if its probability is above 0.5.

    Parameters
    ----------
    logits : array (N,) of float
        Before the sigmoid.
    truth : array (N,) of int
        Raw label codes; images whose label is uncertain or missing are left out.
    metrics : sequence of str
        As on the command line.
    method, label : str
        Names for the result.
    keep : array (N,) of bool, optional
        False for images to leave out: those of patients that a network was trained or selected on.
    patients : sequence of str, (N,), optional
        Patient of each image; with them scores have intervals.

    Returns
    -------
    list of Score
        One a metric, in the order asked for; ``mean`` is None where the metric is not defined, which is also said.

    Raises
    ------
    UsageError
        If a metric is unknown or scores runs.
    ShapeError
        If lengths differ or a logit is not finite.
    SourceError
        If no image is left.
    """
    values, codes = np.asarray(logits, dtype=np.float64), np.asarray(truth)
    kept = np.ones(codes.shape, dtype=bool) if keep is None else np.asarray(keep, dtype=bool)
    if not values.shape == codes.shape == kept.shape or values.ndim != 1:
        raise ShapeError(f"expected logits, labels and mask (N,), found {values.shape}, {codes.shape}, {kept.shape}")
    unstated = int((kept & ~relevance.stated(codes)).sum())
    chosen = kept & relevance.stated(codes)
    if not chosen.any():
        raise SourceError(
            f"no image to score: of {len(codes)}, {(~kept).sum()} are not held out, {unstated} have no label"
        )
    _LOG.info(
        "%d images scored; left out: %d not held out, %d uncertain or without label",
        chosen.sum(),
        (~kept).sum(),
        unstated,
    )
    scores = []
    for metric in parse_metrics(metrics):
        if metric.folder != CLASSIFICATION:
            raise UsageError(f"metric {metric} scores {metric.what}, not {_WHAT[CLASSIFICATION]}")
        score, given = metric_settings.bound(metric.module, "score", metric.setting), values[chosen]
        if getattr(metric.module, "TAKES", "") == "probability":
            given = metric_settings.sigmoid(given)
        mean = score(codes[chosen], given)
        random = metric_settings.bound(metric.module, "expected", metric.setting)(codes[chosen], given)
        if mean is None:
            _LOG.warning("%s is not defined: %s", metric, _classes(codes[chosen]))
        n = int(chosen.sum())
        ends = None
        if patients is not None and getattr(metric.module, "BOOTSTRAP", True):
            ends = resampling.interval(score, codes[chosen], given, np.asarray(patients)[chosen])
        low, high = ends or (None, None)
        against = f"label {label}"
        scores.append(Score(method, str(metric), against, n, len(codes) - n, mean, random=random, low=low, high=high))
    return scores


def _score(truth: Truth, metric: Metric, method: str) -> Score:
    if metric.folder != RANKING:
        raise UsageError(f"metric {metric} scores {metric.what}, not {_WHAT[RANKING]}")
    graded = metric.module.RELEVANCE == "graded"
    cases = truth.graded if graded else truth.binary
    _check_depth(metric, cases)
    values, chance = _values(metric, cases)
    against = f"rater {truth.rater}" if graded else f"label {truth.label}"
    left_out = len(truth.lists) - len(values)
    return summarise(values, chance, method=method, metric=str(metric), against=against, left_out=left_out)


def _check_depth(metric: Metric, cases: Iterable[Case]) -> None:
    """Refuse lists that were cut off before the depth that a metric looks at."""
    short = 0
    for case in cases:
        depth = metric.k if metric.k is not None else case.relevant
        if depth is None:
            raise Lacking(
                f"{metric} needs the number of relevant images in each catalogue: give --items INDEX (and --split "
                "TABLE if the run has sets)"
            )
        if case.size is None:
            short += len(case.relevance) < depth
        elif len(case.relevance) < (needed := min(depth, case.size)):
            raise Lacking(
                f"{metric} needs the first {needed} results of query {case.key[2]!r}, the run has "
                f"{len(case.relevance)} of the {case.size} images in its catalogue"
            )
    if short:
        _LOG.warning("%s: %d queries have fewer results; those they lack count as not relevant", metric, short)


def _values(metric: Metric, cases: Iterable[Case]) -> tuple[dict[Key, float], dict[Key, float]]:
    groups: dict[tuple[int, int, bool], list[Case]] = defaultdict(list)
    for case in cases:
        groups[len(case.relevance), 0 if case.ideal is None else len(case.ideal), case.size is None].append(case)
    values: dict[Key, float] = {}
    chance: dict[Key, float] = {}
    for (_, _, unknown), group in groups.items():
        given: dict[str, Any] = {"k": metric.k}
        for name in ("relevance", "ideal", "relevant", "size", "total"):
            given[name] = np.asarray([getattr(case, name) for case in group])
        score = _call(metric.module.score, given)
        baseline = np.ma.masked_all(len(group)) if unknown else _call(metric.module.expected, given)
        for case, value, random in zip(group, score.tolist(), baseline.tolist(), strict=True):
            if value is not None:
                values[case.key] = value
                if random is not None:
                    chance[case.key] = random
    order = {case.key: None for case in cases}
    return {key: values[key] for key in order if key in values}, {key: chance[key] for key in order if key in chance}


def _call(function: Any, given: Mapping[str, Any]) -> np.ma.MaskedArray:
    return function(**{name: given[name] for name in inspect.signature(function).parameters})


def _classes(codes: NDArray[Any]) -> str:
    return f"{(codes == 1).sum()} positive and {(codes == 0).sum()} negative images"
