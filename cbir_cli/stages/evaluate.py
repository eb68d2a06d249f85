"""Score runs, embeddings and, in ``localisation``, maps: the library behind ``cbir evaluate``."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from cbir_cli import groups, registry, uncertainty
from cbir_cli.artifacts import files, history
from cbir_cli.artifacts.qrels import lines, read_qrels
from cbir_cli.artifacts.ranks import RankRow, read_ranks
from cbir_cli.artifacts.run import read_lists
from cbir_cli.artifacts.split import read_split
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.label_policy import Policy
from cbir_cli.metric_names import (
    ANOMALY,
    CLASSIFICATION,
    CLASSIFICATION_DEFAULTS,
    EXPLANATION,
    RANKING,
    Metric,
    parse_metrics,
)
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.scores import Score
from cbir_cli.stages import anomalies, classifiers, leaks, localisation, rated
from cbir_cli.stages.known_items import known_items
from cbir_cli.stages.runs import Asked, qrels_of_run, scores_of_run


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
    by: str | None = None,
    ties: str | None = None,
    qrels: str | None = None,
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
        Label that decides what is relevant; ``all`` for each of several in turn, ``classes`` for images of the query's
        class, where several labels tell classes apart.
    masks : str, optional
        Folder of masks of the lesions; goes with none of the above.
    metrics : sequence of str, optional
        All that fit by default.
    by : str, optional
        What to group queries by, names between commas: see ``groups``.
    ties : str, optional
        How results that are equally far are scored: ``rank``, as the run ranks them (default), or ``average``, the mean
        over all their orders.
    qrels : str, optional
        Grades of the images, in place of ranks and labels.
    settings : sequence of str
        ``KEY=VALUE``: parameters of the metrics of saliency maps with ``masks``, else ``uncertain=POLICY`` and
        ``blank=POLICY`` for labels that are uncertain or not stated; both are ignored by default. ``labels=``: those
        that metrics of sets of labels look at, or that make the classes, names between commas or ``chexpert-5``,
        ``-13``, ``-14``; all by default. ``score=centre`` or ``nearest``: what anomalies are far from.
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
    if masks is not None:
        if not masks:
            raise UsageError("--masks: expected the name of a folder, found nothing")
        others: dict[str, object] = {
            "--items": items,
            "--raters": raters,
            "--rater": rater,
            "--split": split,
            "--label": label,
            "--by": by,
            "--ties": ties,
            "--qrels": qrels,
        }
        if given := [option for option, value in others.items() if value is not None]:
            raise UsageError(f"{given[0]} does not go with --masks")
        return _against_masks(names, masks, metrics, settings, paths)
    parsed = parse_metrics(metrics or [])
    if of_maps := [m for m in parsed if m.folder == EXPLANATION]:
        raise UsageError(f"metric {of_maps[0]} scores saliency maps: give masks of what they should show (--masks DIR)")
    of_run = [m for m in parsed if m.folder == RANKING]
    of_classifier = [str(m) for m in parsed if m.folder == CLASSIFICATION]
    of_anomaly = [m for m in parsed if m.folder == ANOMALY]
    ranks = read_ranks(raters) if raters else []
    asked, origin = _asked(of_run, label, by, ties, settings, ranks, rater, split)
    if qrels is not None:
        if given := [option for option, value in (("--raters", raters), ("--label", label)) if value is not None]:
            raise UsageError(f"{given[0]} does not go with --qrels, which say what is relevant")
        asked.qrels, asked.qrels_name = read_qrels(qrels), history.public_path(qrels)
    if rater is not None and not raters:
        raise UsageError("--rater: give the raters' table (--raters RANKS)")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"{twice[0]}: is named twice")
    if not names and not ranks:
        raise UsageError("expected a FILE to score, or --raters RANKS to score raters alone")
    scores: list[Score] = []
    runs: dict[str, RankedLists] = {}
    with known_items(items) as known:
        for name in names:
            path = (paths or {}).get(name, name)
            try:
                if path != files.STDIO and files.is_artifact(Path(path)):
                    if metrics and not (of_classifier or of_anomaly):
                        raise UsageError(f"an embedding is scored by {', '.join(CLASSIFICATION_DEFAULTS)}")
                    if of_anomaly:
                        anomaly = anomalies.Wanted(label or "", of_anomaly, origin, asked.policy)
                        scores += anomalies.evaluate(name, path, items, anomaly)
                    if of_classifier or not metrics:
                        wanted = of_classifier or CLASSIFICATION_DEFAULTS
                        scores += classifiers.evaluate(name, path, label=label, metrics=wanted, policy=asked.policy)
                else:
                    if metrics and not of_run:
                        raise UsageError("a run is scored by ranking metrics")
                    lists = read_lists(path, name)
                    if known:
                        known.check(lists.names)
                        leaks.guard(leaks.of_run(lists, known.patients, known.seen), allow=allow_leaks)
                    runs[name] = lists
                    scores += scores_of_run(name, lists, asked, known)
            except (SourceError, UsageError) as error:  # of one file among several
                raise type(error)(f"{name}: {error}") from error
        if ranks and (runs or not names):
            scores = rated.with_raters(scores, runs, ranks, asked, known)
        return uncertainty.filled(_public(scores, names), known.patients if known else {})


def qrels_lines(
    names: Sequence[str],
    *,
    items: str | None = None,
    raters: str | None = None,
    rater: str | None = None,
    split: str | None = None,
    label: str | None = None,
    settings: Sequence[str] = (),
    paths: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Write what a run is judged against as qrels, line by line: expert ranks if there are any, else classes.

    Parameters
    ----------
    names : sequence of str
        One run, whose queries they are.
    items, raters, rater, split, label, settings, paths
        As ``evaluate``.

    Raises
    ------
    UsageError
        If there are several runs, or nothing says what is relevant or what the catalogues hold.
    """
    if len(names) != 1:
        raise UsageError("--format qrels: expected one run, whose queries they are")
    path = (paths or {}).get(names[0], names[0])
    if path != files.STDIO and files.is_artifact(Path(path)):
        raise UsageError(f"{names[0]}: --format qrels: expected a run, found an artifact")
    asked, _ = _asked([], label, None, None, settings, read_ranks(raters) if raters else [], rater, split)
    with known_items(items) as known:
        yield from lines(qrels_of_run(read_lists(path, names[0]), asked, known))


def _against_masks(
    names: Sequence[str],
    masks: str,
    metrics: Sequence[str] | None,
    settings: Sequence[str],
    paths: Mapping[str, str] | None,
) -> list[Score]:
    found = _public(localisation.evaluate(names, masks, metrics, settings, paths), names)
    against = f"masks {history.public_path(masks)}"
    return [replace(score, against=against) for score in uncertainty.filled(found, {})]


def _asked(
    metrics: list[Metric],
    label: str | None,
    by: str | None,
    ties: str | None,
    settings: Sequence[str],
    ranks: list[RankRow],
    rater: str | None,
    split: str | None,
) -> tuple[Asked, str]:
    """Return what is asked of runs, and what anomalies are far from."""
    chosen = registry.settings(settings, {**asdict(Policy()), "labels": "", "score": anomalies.FROM[0]}, "evaluate")
    label_set, origin = chosen.pop("labels", ""), chosen.pop("score", anomalies.FROM[0])
    asked = Asked(metrics, label, label_set, Policy(**chosen), groups.parse(by), ties or "rank")
    asked.ranks, asked.rater = rated.reference(ranks, rater)
    asked.split = read_split(split) if split else None
    return asked, origin


def _public(scores: Sequence[Score], names: Sequence[str]) -> list[Score]:
    """Return scores whose files are called as they may be written: without the folders of absolute paths."""
    shown = dict(zip(names, history.public_paths(names), strict=True))
    return [replace(score, method=shown.get(score.method, score.method)) for score in scores]
