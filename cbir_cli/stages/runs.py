"""Score the ranked lists of a run by all that is known of its images: part of ``cbir evaluate``."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cbir_cli import classes, groups, label_truth
from cbir_cli.artifacts.qrels import Qrels
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.catalogues import Catalogues
from cbir_cli.errors import UsageError
from cbir_cli.evaluation import score, score_run
from cbir_cli.label_policy import Policy
from cbir_cli.label_truth import LabelTruth
from cbir_cli.metric_names import BINARY_DEFAULTS, GRADED_DEFAULTS, Metric
from cbir_cli.qrel_truth import QrelTruth, qrels_of
from cbir_cli.ranked_lists import Key, RankedLists
from cbir_cli.records import MISSING
from cbir_cli.run_labels import RunLabels
from cbir_cli.scores import Score
from cbir_cli.splits import SplitRow
from cbir_cli.stages.known_items import Known
from cbir_cli.truth import Truth, count_classes

log = logging.getLogger("cbir")

CLASSES = "classes"
"""In place of a label: images are relevant that are of the query's class."""


@dataclass
class Asked:
    """What is asked of a run.

    Attributes
    ----------
    metrics : list of Metric
        Of runs; none for those that fit.
    label : str or None
        Label that decides what is relevant; ``all`` for each in turn, ``classes`` for the class.
    labels : str
        Labels that metrics of sets look at, or that make the classes, as ``label_truth.named`` reads them.
    policy : Policy
    by : list of str
        What to group queries by.
    tied : str
        How results that are equally far are scored: one of ``evaluation.TIES``.
    ranks : list of RankRow
    rater : str or None
        Whose ranks count.
    split : list of SplitRow or None
    qrels : dict or None
        Grades that count in place of ranks and labels.
    qrels_name : str
    """

    metrics: list[Metric]
    label: str | None
    labels: str
    policy: Policy
    by: list[str]
    tied: str = "rank"
    ranks: list[RankRow] = field(default_factory=list)
    rater: str | None = None
    split: list[SplitRow] | None = None
    qrels: Qrels | None = None
    qrels_name: str = ""

    def __post_init__(self) -> None:
        self.of_sets = [str(metric) for metric in self.metrics if metric.of_label_sets]
        self.others = [str(metric) for metric in self.metrics if not metric.of_label_sets]
        if self.labels and not self.of_sets and self.label != CLASSES:
            raise UsageError(
                "--set labels=: only metrics of sets of labels, such as acg@50, and --label classes look at them"
            )


def scores_of_run(name: str, lists: RankedLists, asked: Asked, known: Known | None) -> list[Score]:
    """Score a run.

    Parameters
    ----------
    name : str
        The run.
    lists : RankedLists
    asked : Asked
    known : Known or None
        The index.

    Returns
    -------
    list of Score
        One a metric, and after it those of the groups.

    Raises
    ------
    UsageError
        If a metric lacks what it needs, or run, index and ranks do not belong together.
    """
    labels = RunLabels(lists, known.labels if known else None, asked.policy)
    catalogues = _catalogues(lists, asked, known)
    scores: list[Score] = []
    if asked.qrels is not None and (asked.others or not asked.metrics):
        grouping = _grouping(labels, _chosen(labels, None, asked, known), asked.by, known)
        judge = QrelTruth(lists, asked.qrels, asked.qrels_name, catalogues)
        usual = (*BINARY_DEFAULTS, *GRADED_DEFAULTS)
        wanted = asked.others or usual
        found = score(judge, wanted, method=name, tied=asked.tied, as_far_as_can_be_had=not asked.others)
        scores += _grouped(found, grouping)
    elif asked.others or not asked.metrics:
        for one in labels.all() if asked.label == classes.ALL else [asked.label]:
            chosen = _chosen(labels, one, asked, known)
            grouping = _grouping(labels, chosen, asked.by, known)
            truth = _truth(labels, chosen, asked, catalogues, known)
            scores += _grouped(score_run(truth, metrics=asked.others, method=name, tied=asked.tied), grouping)
    if asked.of_sets:
        names = label_truth.named(asked.labels, {*lists.label_names, *labels.known})
        grouping = _grouping(labels, names, asked.by, known)
        sets = LabelTruth(labels, names, catalogues)
        if untold := [name for name in names if not (labels.codes(name, complete=True)[0] != MISSING).any()]:
            log.warning("no query states %s: what is not stated does not count", ", ".join(untold))
        scores += _grouped(score(sets, asked.of_sets, method=name, tied=asked.tied), grouping)
    for low in groups.lowest(scores):
        log.info("%s %s: lowest in %s, %.4f (n = %d)", name, low.metric, low.group, low.mean, low.n)
    return scores


def qrels_of_run(lists: RankedLists, asked: Asked, known: Known | None) -> Iterator[tuple[Key, str, int]]:
    """Yield query, image and grade of what is relevant to the queries of a run, by expert ranks if there are any.

    Raises
    ------
    UsageError
        If nothing says what is relevant, or what the catalogues hold.
    """
    if asked.label == classes.ALL:
        raise UsageError("qrels are of one label: choose it with --label, or --label classes")
    labels = RunLabels(lists, known.labels if known else None, asked.policy)
    catalogues = _catalogues(lists, asked, known)
    truth = Truth(lists, labels, asked.ranks, asked.rater, _chosen(labels, asked.label, asked, known))
    codes = None
    if catalogues is not None and not asked.ranks:
        codes = _codes(labels, truth.classes, catalogues, known)
    return qrels_of(truth, catalogues, codes)


def _chosen(labels: RunLabels, label: str | None, asked: Asked, known: Known | None) -> list[str]:
    """Return the labels that make the classes; none where nothing says which."""
    if label == CLASSES:
        targets = [name for name in known.targets if name in labels.known] if known else []
        names = label_truth.named(asked.labels, {*labels.names, *labels.known}) if asked.labels else targets
        return names or labels.all()
    if label is None and known and len(known.targets) == 1:
        label = known.targets[0]
    if label is None and len(labels.names) != 1:
        return []
    return [labels.pick(label) or ""]


def _catalogues(lists: RankedLists, asked: Asked, known: Known | None) -> Catalogues | None:
    """Return what the catalogues hold, as the index or the split table has it."""
    if known:
        return Catalogues(known.ids, known.own, asked.split)
    return Catalogues(lists.names, split=asked.split) if asked.split is not None else None


def _codes(labels: RunLabels, chosen: Sequence[str], catalogues: Catalogues, known: Known | None) -> np.ndarray:
    """Return the class of each image of the catalogues: as the index knows it, else as the run states it."""
    if known:
        return labels.known_classes(chosen, catalogues.ids)
    found = np.full(len(catalogues.ids), classes.NO_CLASS, np.int64)
    found[labels.lists.results] = labels.classes(chosen)[1]
    return found


def _truth(
    labels: RunLabels, chosen: Sequence[str], asked: Asked, catalogues: Catalogues | None, known: Known | None
) -> Truth:
    """Return what the run is judged against, with what the catalogues hold as far as that is known."""
    truth = Truth(labels.lists, labels, asked.ranks, asked.rater, chosen)
    if catalogues is None or not chosen:
        return truth
    codes = _codes(labels, chosen, catalogues, known)
    counts = count_classes(catalogues, labels.lists.keys, truth.numbers[0], codes, len(classes.names(chosen)))
    return replace(truth, catalogues=counts)


def _grouping(labels: RunLabels, chosen: Sequence[str], by: Sequence[str], known: Known | None) -> list[groups.Members]:
    """Return which query is of which group, for each thing to group by."""
    lists = labels.lists
    members = []
    for name in by:
        if name == "class":
            names = list(chosen) or labels.all()
            codes = [labels.codes(label)[0].tolist() for label in names]
            of = [classes.of(dict(zip(names, its, strict=True)), names) for its in zip(*codes, strict=True)]
            members.append(groups.members(name, lists.keys, of, classes.names(names)))
            continue
        if known is None:
            raise UsageError(f"--by {name}: a run does not say of which {name} its queries are: give --items INDEX")
        values = known.groups(name)
        members.append(groups.members(name, lists.keys, [[values.get(query, "")] for query in lists.queries]))
    return members


def _grouped(scores: Sequence[Score], grouping: Sequence[groups.Members]) -> list[Score]:
    """Return each score and those of the groups of its queries."""
    return [part for one in scores for part in groups.scores_of(one, grouping)]
