"""Score runs, embeddings and, in ``localisation``, maps: the library behind ``cbir evaluate``."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cbir_cli import evaluation, label_truth, registry, truth
from cbir_cli.artifacts import embeddings, files, history, saliency
from cbir_cli.artifacts.ranks import RankRow, read_ranks
from cbir_cli.artifacts.run import Key, RunRow, read_run
from cbir_cli.artifacts.split import read_split
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.label_truth import LabelTruth
from cbir_cli.raters import with_range
from cbir_cli.records import MISSING
from cbir_cli.scores import Score
from cbir_cli.splits import SplitRow
from cbir_cli.stages import leaks, localisation, rated
from cbir_cli.tasks import find_label

log = logging.getLogger("cbir")

ALL = "all"
"""In place of a label: each of them."""

HELD_OUT = ("", "test")
"""Values of ``seen`` of images that neither trained nor selected a network."""


@dataclass(frozen=True)
class Known:
    """What an index or embedding says of the catalogue: labels by name, and patients, of each id."""

    labels: Mapping[str, Mapping[str, int]]
    patients: Mapping[str, str]
    targets: Sequence[str]
    seen: Mapping[str, str]


def known_items(name: str) -> Known:
    """Read what an index or embedding says of its images."""
    with files.open_artifact(name, embeddings.KIND, "cbir-index") as artifact:
        stored = embeddings.read(artifact)
        ids = stored.items.ids.tolist()
        labels = {n: dict(zip(ids, stored.items.label(n).tolist(), strict=True)) for n in stored.items.label_names}
        patients = dict(zip(ids, stored.items["patient"].tolist(), strict=True))
        seen = dict(zip(ids, stored.items["seen"].tolist(), strict=True))
        return Known(labels, {k: p for k, p in patients.items() if p}, stored.space.targets, seen)


def evaluate(
    names: Sequence[str],
    *,
    items: str | None = None,
    raters: str | None = None,
    rater: str | None = None,
    split: str | None = None,
    label: str | None = None,
    masks: str | None = None,
    metrics: Sequence[str] | None = None,
    settings: Sequence[str] = (),
    allow_leaks: bool = False,
    paths: Mapping[str, str] | None = None,
) -> list[Score]:
    """Score files: ranked lists, classifiers by the logits of an embedding, or saliency maps against masks.

    Parameters
    ----------
    names : sequence of str
        Runs and embedding artifacts, or with ``masks`` maps artifacts; ``-`` is standard input. With ``raters`` there
        may be none.
    items : str, optional
        Index or embedding that knows the catalogue.
    raters, rater : str, optional
        Rank table, and who in it is the reference: R1, else the first, by default; ``panel`` for all of them, and for
        each rater the others. The raters are scored as runs are.
    split : str, optional
        Split table of a run with sets.
    label : str, optional
        Label that decides what is relevant; ``all`` for each of several in turn.
    masks : str, optional
        Folder of masks of the lesions; goes with none of the above.
    metrics : sequence of str, optional
        All that fit by default.
    settings : sequence of str
        ``KEY=VALUE``: parameters of the metrics of saliency maps with ``masks``, else ``uncertain=POLICY`` and
        ``blank=POLICY`` for labels that are uncertain or not stated; both are ignored by default. ``labels=``: those
        that metrics of sets of labels look at, names between commas or ``chexpert-5``, ``-13``, ``-14``; all by
        default.
    allow_leaks : bool
        Score runs whose queries a network was trained on, or that show the query's own patient.
    paths : mapping of str to str, optional
        Where the file of a name is, if it came through a pipe (``files.spooled``).

    Returns
    -------
    list of Score

    Raises
    ------
    UsageError
        If a metric or a policy is unknown, or a metric lacks what it needs.
    CbirError
        If there is such a leak.
    """
    chosen = registry.settings(settings, {**asdict(truth.Policy()), "labels": ""}, "evaluate")
    label_set = chosen.pop("labels", "")
    policy = truth.Policy(**chosen)
    if masks is not None:
        if not masks:
            raise UsageError("--masks: expected the name of a folder, found nothing")
        others: dict[str, object] = {
            "--items": items,
            "--raters": raters,
            "--rater": rater,
            "--split": split,
            "--label": label,
        }
        if given := [option for option, value in others.items() if value is not None]:
            raise UsageError(f"{given[0]} does not go with --masks")
        found = localisation.evaluate(names, masks, metrics, settings, paths)
        return [replace(score, against=f"masks {history.public_path(masks)}") for score in _public(found, names)]
    if not names and not raters:
        raise UsageError("expected a FILE to score, or --raters RANKS to score raters alone")
    ranks = read_ranks(raters) if raters else []
    orders, whose = rated.reference(ranks, rater)
    rows = read_split(split) if split else []
    known = known_items(items) if items else None
    parsed = evaluation.parse_metrics(metrics or [])
    if of_maps := [m for m in parsed if m.folder == evaluation.EXPLANATION]:
        raise UsageError(f"metric {of_maps[0]} scores saliency maps: give masks of what they should show (--masks DIR)")
    of_sets = [str(m) for m in parsed if evaluation.of_label_sets(m)]
    of_run = [str(m) for m in parsed if m.folder == evaluation.RANKING and str(m) not in of_sets]
    if label_set and not of_sets:
        raise UsageError("--set labels=: only metrics of sets of labels, such as acg@50, look at them")
    of_classifier = [str(m) for m in parsed if m.folder == evaluation.CLASSIFICATION]
    scores: list[Score] = []
    runs: dict[str, list[RunRow]] = {}

    def run_scores(
        name: str, run: list[RunRow], metrics: Sequence[str], ranks: Sequence[RankRow], rater: str | None
    ) -> list[Score]:
        labels: Sequence[str | None] = truth.label_names(run) if label == ALL else [label]
        return [s for one in labels for s in _run(name, run, metrics, ranks, rater, one, known, rows, policy)]

    for name in names:
        path = (paths or {}).get(name, name)
        try:
            if path != files.STDIO and files.is_artifact(Path(path)):
                if metrics and not of_classifier:
                    raise UsageError(f"an embedding is scored by {', '.join(evaluation.CLASSIFICATION_DEFAULTS)}")
                scores += _classifier(name, path, label, of_classifier or evaluation.CLASSIFICATION_DEFAULTS, policy)
            else:
                if metrics and not of_run and not of_sets:
                    raise UsageError("a run is scored by ranking metrics")
                run = read_run(path, name)
                if known:
                    leaks.guard(leaks.of_run(run, known.patients, known.seen), allow=allow_leaks)
                    run = _with_labels(run, known)
                runs[name] = run
                if of_run or not metrics:
                    scores += run_scores(name, run, of_run, orders, whose)
                if of_sets:
                    against = _label_truth(run, label_set, known, rows, policy)
                    scores += evaluation.evaluate_label_sets(against, metrics=of_sets, method=name)
        except (SourceError, UsageError) as error:  # of one file among several
            raise type(error)(f"{name}: {error}") from error
    if ranks and (of_run or not metrics) and (runs or not names):
        labels = rated.labels_of((row for run in runs.values() for row in run), known.labels if known else None)
        scores += rated.scores(run_scores, runs, ranks, rater, metrics=of_run, labels=labels)
        scores = with_range(rated.named(scores), ranks)
        rated.say_range(scores)
    return _public(scores, names)


def _public(scores: Sequence[Score], names: Sequence[str]) -> list[Score]:
    """Return scores whose files are called as they may be written: without the folders of absolute paths."""
    shown = dict(zip(names, history.public_paths(names), strict=True))
    return [replace(score, method=shown.get(score.method, score.method)) for score in scores]


def _run(
    name: str,
    rows: list[RunRow],
    metrics: Sequence[str],
    ranks: Sequence[RankRow],
    rater: str | None,
    label: str | None,
    known: Known | None,
    split: Sequence[SplitRow],
    policy: truth.Policy,
) -> list[Score]:
    if known and label is None and len(known.targets) == 1:
        label = known.targets[0]
    label = truth.pick_label(rows, label)
    catalogues: Mapping[Key, truth.Catalogue] | None = None
    if label is not None:
        rows = truth.with_policy(rows, label, policy)
    if label is not None and (known or split):
        catalogues = truth.count_catalogues(
            rows,
            label=label,
            items={key: policy(code) for key, code in known.labels.get(label, {}).items()} if known else None,
            patients=known.patients if known else None,
            split=split or None,
        )
    found = evaluation.evaluate_run(
        rows, metrics=metrics, method=name, ranks=ranks, rater=rater, label=label, catalogues=catalogues
    )
    return [_named(score, policy) for score in found]


def _label_truth(
    rows: list[RunRow], labels: str, known: Known | None, split: Sequence[SplitRow], policy: truth.Policy
) -> LabelTruth:
    stated = {name for row in rows for name in (*row.query_labels, *row.labels)}
    names = label_truth.named(labels, stated | set(known.labels if known else ()))
    rows = _completed(rows, names, known) if known else rows
    if untold := [name for name in names if not any(name in row.query_labels for row in rows)]:
        log.warning("no query states %s: what is not stated does not count", ", ".join(untold))
    return LabelTruth(
        rows,
        names,
        policy,
        labels=known.labels if known else None,
        patients=known.patients if known else None,
        split=split or None,
    )


def _named(score: Score, policy: truth.Policy) -> Score:
    """Say in the score which policy its labels went through: another policy, another number."""
    return replace(score, against=f"{score.against}{policy}") if score.against.startswith("label ") else score


def _completed(rows: list[RunRow], names: Sequence[str], known: Known) -> list[RunRow]:
    """Add the labels that the index knows of images and the run does not say: it has only those of the model's task."""

    def whole(image: str, said: Mapping[str, int]) -> dict[str, int]:
        codes = {name: known.labels.get(name, {}).get(image, MISSING) for name in names}
        return {**{name: code for name, code in codes.items() if code != MISSING}, **said}

    return [
        replace(row, query_labels=whole(row.query, row.query_labels), labels=whole(row.id, row.labels)) for row in rows
    ]


def _with_labels(rows: list[RunRow], known: Known) -> list[RunRow]:
    """Give a run without labels, such as a TREC run, those that the index knows."""
    if any(row.labels or row.query_labels for row in rows):
        return rows
    stated: dict[str, dict[str, int]] = defaultdict(dict)
    for name, codes in known.labels.items():
        for key, code in codes.items():
            if code != MISSING:
                stated[key][name] = code
    return [
        RunRow(r.query, r.rank, r.id, r.distance, stated.get(r.query, {}), stated.get(r.id, {}), r.seed, r.set)
        for r in rows
    ]


def _classifier(name: str, path: str, label: str | None, metrics: Sequence[str], policy: truth.Policy) -> list[Score]:
    with files.open_artifact(path, embeddings.KIND, "cbir-index", saliency.KIND, name=name) as artifact:
        if artifact.kind == saliency.KIND:
            raise UsageError("saliency maps are scored against masks of what they should show (--masks DIR)")
        stored = embeddings.read(artifact)
        columns = _columns(stored, label)
        keep = np.isin(stored.items["seen"], HELD_OUT)
        scores = []
        for column, target in columns.items():
            scores += evaluation.classification(
                np.array(stored.logits[:, column]),  # type: ignore[index]  # _columns has looked
                np.array([policy(code) for code in stored.items.label(target).tolist()], dtype=np.int64),
                metrics=metrics,
                method=name,
                label=target,
                keep=keep,
                patients=stored.items["patient"].tolist(),
            )
        return [_named(score, policy) for score in scores]


def _columns(stored: embeddings.Embedding, label: str | None) -> dict[int, str]:
    """Return which label each logit stands for: the one asked for, or all of a model with several outputs."""
    count = 0 if stored.logits is None else stored.logits.shape[1]
    known = stored.items.label_names
    names = ", ".join(known) or "none"
    if count == 1 and label != ALL:
        targets = [label] if label else stored.space.targets
        if len(targets) != 1 or targets[0] not in known:
            raise UsageError(f"which label does its model classify? give --label; it has: {names}")
        return {0: targets[0]}
    if count < 2 or len(stored.space.outputs) != count:
        raise UsageError("its model does not classify one finding")
    found = {column: find_label(known, [name]) for column, name in enumerate(stored.space.outputs)}
    columns = {column: name for column, name in found.items() if name and label in (None, ALL, name)}
    if not columns:
        raise UsageError(f"its model classifies {', '.join(stored.space.outputs)}; its images have the labels: {names}")
    return columns
