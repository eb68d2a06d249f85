"""Raters beside runs: their scores, and how far they agree."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from cbir_cli import agreement, raters
from cbir_cli.agreement import Agreement
from cbir_cli.artifacts import history
from cbir_cli.artifacts.ranks import RankRow, read_ranks
from cbir_cli.artifacts.run import read_lists
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.raters import PANEL
from cbir_cli.scores import Score, summarise
from cbir_cli.stages import conflicts
from cbir_cli.stages.known_items import Known
from cbir_cli.stages.runs import Asked, scores_of_run
from cbir_cli.truth import Lacking

log = logging.getLogger("cbir")

ONE_OUT = "leave-one-out panel"
"""What scores are against where a rater is compared with the others, and a method with each of these panels."""


def reference(ranks: list[RankRow], asked: str | None) -> tuple[list[RankRow], str | None]:
    """Return the ranks that runs are scored against, and whose they are: a rater's, or the panel's.

    Raises
    ------
    UsageError
        If there is no such rater.
    SourceError
        If there is no panel: nobody shares a query, or raters ranked different images for one.
    """
    if not ranks:
        return ranks, asked
    name = raters.reference(ranks, asked)
    if name != PANEL:
        return ranks, name
    order = raters.panel(ranks)
    if not order:
        raise SourceError("no query was ranked by two raters, so there is no panel")
    return order, PANEL


def with_raters(
    found: Sequence[Score],
    runs: Mapping[str, RankedLists],
    ranks: Sequence[RankRow],
    asked: Asked,
    known: Known | None,
) -> list[Score]:
    """Score raters as methods, and methods as raters are scored where a panel is the reference.

    Parameters
    ----------
    found : sequence of Score
        What was scored before.
    runs : mapping of str to RankedLists
        The runs among it, by name. The raters are scored on their queries; without runs, on all.
    ranks : sequence of RankRow
        The whole rank table.
    asked : Asked
        What was asked of the runs, with the reference.
    known : Known or None
        The index.

    Returns
    -------
    list of Score
        What was scored before, with the range of the raters, and the scores of each rater but the reference; that one
        has scores against labels alone. With ``PANEL`` there are those of every rater against the panel without him,
        and of each run the mean over these panels, query by query. What a rater lacks for a metric is passed over.

    Raises
    ------
    UsageError
        If there is nothing to score: no runs, and one rater only.
    """
    keys = {key for lists in runs.values() for key in lists.keys}
    keys |= {(None, None, query) for _, _, query in keys}  # a rank table need not have the run's seeds and sets
    labels = conflicts.dataset_labels(
        {image for row in ranks for image in (row.query, row.id)}, runs.values(), known, complete=True
    )
    people: list[Score] = []
    parts: dict[tuple[str, str, str], list[Score]] = defaultdict(list)
    for name in raters.names(ranks):
        one = asked
        if asked.rater == PANEL:
            order = raters.panel(ranks, name)
            if not order:  # nobody else ranked what he ranked
                continue
            one = replace(asked, ranks=order, rater=order[0].rater)
        own = RankedLists.of(row for row in raters.as_run(ranks, name, labels) if row.key in keys or not runs)
        if own.keys:
            rows = _tried(raters.called(name), own, one, known)
            people += [row for row in rows if name != asked.rater or row.against != f"rater {name}"]  # not himself
        for method, lists in runs.items() if asked.rater == PANEL else ():
            for row in _tried(method, lists, one, known):
                if row.against == f"rater {one.rater}":  # against labels it was scored before
                    parts[method, row.metric, row.group].append(row)
    if not people and not runs:
        raise UsageError(
            f"nothing to evaluate: {asked.rater} is the only rater, and no label says what is relevant (--items IDX)"
        )
    scores = raters.with_range(named([*found, *map(_merged, parts.values()), *people]))
    say_range(scores)
    return scores


def named(found: Iterable[Score]) -> list[Score]:
    """Call panels by their names: they are no raters, and without one rater or another they are one reference."""
    return [
        replace(score, against=PANEL)
        if score.against == f"rater {PANEL}"
        else replace(score, against=ONE_OUT)
        if score.against.startswith(f"rater {PANEL} without ")
        else score
        for score in found
    ]


def _merged(rows: Sequence[Score]) -> Score:
    """Return the mean of a run's scores against several panels, query by query."""
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    values = {key: fmean(row.values[key] for row in rows if key in row.values) for key in keys}
    chances = {key: [row.chance[key] for row in rows if key in row.chance] for key in keys}
    chance = {key: fmean(found) for key, found in chances.items() if found}
    first = rows[0]
    left_out = first.n + first.left_out - len(values)
    found = summarise(
        values, chance, method=first.method, metric=first.metric, against=first.against, left_out=left_out
    )
    return replace(found, group=first.group)


def say_range(found: Iterable[Score]) -> None:
    """Say of each method by which metrics it lies within the range of the raters."""
    said: dict[tuple[str, str, int, int], list[str]] = defaultdict(list)
    for score in found:
        if score.raters and not score.group:
            place = score.method, score.raters.verdict, score.raters.raters, score.raters.n
            said[place].append(f"{score.metric} ({score.raters.low:.2f} to {score.raters.high:.2f})")
    for (method, verdict, people, n), metrics in said.items():
        log.info("%s: mean %s the range of %d raters by %s; n = %d", method, verdict, people, ", ".join(metrics), n)


def agree(
    names: Sequence[str],
    table: str,
    *,
    statistics: Sequence[str] = (),
    patients: Mapping[str, str] | None = None,
    paths: Mapping[str, str] | None = None,
) -> list[Agreement]:
    """Say how far raters agree, and runs with raters.

    Parameters
    ----------
    names : sequence of str
        Runs, if any.
    table : str
        Rank table.
    statistics : sequence of str
        The usual ones by default.
    patients : mapping of str to str, optional
        Patient of each query, as far as known.
    paths : mapping of str to str, optional
        Where the file of a name is, if it came through a pipe (``files.spooled``).

    Returns
    -------
    list of Agreement

    Raises
    ------
    UsageError
        If a statistic is unknown, or there is nothing to compare.
    """
    ranks = read_ranks(table)
    shown = dict(zip(names, history.public_paths(names), strict=True))
    methods = [agreement.of_run(shown[name], read_lists((paths or {}).get(name, name), name)) for name in names]
    found = agreement.agreement(agreement.of_ranks(ranks), methods, statistics=statistics, patients=patients)
    pairs = {(row.first, row.second): row for row in found if row.images is None and row.second}
    for (first, second), row in pairs.items():
        if row.left_out:
            log.info(
                "%s and %s: %d of %d queries left out, which one of them did not rank, or with other images",
                first,
                second,
                row.left_out,
                row.left_out + row.n,
            )
    return found


def _tried(method: str, lists: RankedLists, asked: Asked, known: Known | None) -> Iterator[Score]:
    """Yield the scores of a run, metric by metric where they are named: what it lacks for one is passed over."""
    for metrics in [[metric] for metric in asked.metrics] or [[]]:
        one = replace(asked, metrics=metrics)
        try:
            yield from scores_of_run(method, lists, one, known)
        except Lacking as problem:
            log.info("%s: passed over: %s", method, problem)
