"""Raters beside runs: their scores, how far they agree, and where they contradict the data set's labels."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean

from cbir_cli import agreement, raters
from cbir_cli.agreement import Agreement
from cbir_cli.artifacts import history
from cbir_cli.artifacts.ranks import RankRow, read_ranks
from cbir_cli.artifacts.run import read_lists
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.raters import PANEL, Disagreement
from cbir_cli.records import MISSING
from cbir_cli.scores import Score, summarise
from cbir_cli.stages.known_items import Known
from cbir_cli.stages.runs import Asked, scores_of_run
from cbir_cli.truth import Lacking

log = logging.getLogger("cbir")

ONE_OUT = "leave-one-out panel"
"""What scores are against where a rater is compared with the others, and a method with each of these panels."""

CONFLICTS = ("query", "id", "rater", "label", "expert", "dataset", "by")


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
    labels = _labels({image for row in ranks for image in (row.query, row.id)}, runs.values(), known, complete=True)
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


def conflicts(
    names: Sequence[str],
    table: str,
    *,
    known: Known | None = None,
    rater: str | None = None,
    label: str | None = None,
    paths: Mapping[str, str] | None = None,
) -> list[Disagreement]:
    """List the images that raters label otherwise than the data set does, and say how many.

    Parameters
    ----------
    names : sequence of str
        Runs, which state the data set's labels.
    table : str
        Rank table with the columns ``labels``, ``query_labels`` or severities.
    known : Known, optional
        The index.
    rater, label : str, optional
        Only those.
    paths : mapping of str to str, optional
        Where the file of a name is, if it came through a pipe (``files.spooled``).

    Returns
    -------
    list of Disagreement
        In the order of the table.

    Raises
    ------
    UsageError
        If nothing says what the data set's labels are, if the raters state none of them, or if a rater or label is
        unknown.
    """
    if not names and not known:
        raise UsageError("--conflicts compares raters with the data set's labels: give a run or --items IDX")
    ranks = read_ranks(table)
    if rater is not None and raters.reference(ranks, rater) == PANEL:
        raise UsageError("--conflicts: a panel gives no labels")
    runs = [read_lists((paths or {}).get(name, name), name) for name in names]
    said = _labels({image for row in ranks for image in (row.query, row.id)}, runs, known)
    stated = {name for codes in said.values() for name in codes}
    own = {name for row in ranks for name in (*row.labels, *row.query_labels)}
    if label is not None and label not in stated:
        raise UsageError(f"no image of the data set has the label {label!r}; there are: {', '.join(sorted(stated))}")
    if label is None and not own & stated:
        graded = any(row.severity is not None for row in ranks)
        hint = "; severities count for the label that --label names" if graded else ""
        raise UsageError(
            f"the raters' labels are {', '.join(sorted(own)) or 'none'}, those of the data set "
            f"{', '.join(sorted(stated)) or 'none'}: nothing to compare{hint}"
        )
    if label is None and (strange := sorted(own - stated)):
        log.warning("the data set does not have the raters' label %s", ", ".join(strange))
    found = [one for every in raters.disagreements(ranks, said, rater=rater, label=label).values() for one in every]
    order = {(row.key, row.rater): at for at, row in reversed(list(enumerate(ranks)))}
    found.sort(key=lambda one: order[one.key, one.rater])
    counts = Counter(one.rater for one in found)
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    images = len({one.id for one in found})
    log.info(
        "%d labels of raters contradict the data set, of %d images%s", len(found), images, f": {told}" * bool(told)
    )
    return found


def conflict_cells(found: Sequence[Disagreement]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return columns and cells of a table of conflicts; seed and set only if there are any."""
    sets = any(one.key[0] is not None for one in found)
    rows = [
        (one.key[2], one.id, one.rater, one.label, str(one.expert), str(one.dataset), one.by)
        + ((str(one.key[0]), str(one.key[1])) if sets else ())
        for one in found
    ]
    return CONFLICTS + ("seed", "set") * sets, [tuple(" ".join(cell.split()) for cell in row) for row in rows]


def conflict_lines(found: Sequence[Disagreement]) -> Iterator[dict[str, object]]:
    """Yield conflicts as objects of JSON."""
    for one in found:
        seed, number, query = one.key
        yield {"seed": seed, "set": number, "query": query} | {k: v for k, v in asdict(one).items() if k != "key"}


def _tried(method: str, lists: RankedLists, asked: Asked, known: Known | None) -> Iterator[Score]:
    """Yield the scores of a run, metric by metric where they are named: what it lacks for one is passed over."""
    for metrics in [[metric] for metric in asked.metrics] or [[]]:
        one = replace(asked, metrics=metrics)
        try:
            yield from scores_of_run(method, lists, one, known)
        except Lacking as problem:
            log.info("%s: passed over: %s", method, problem)


def _labels(
    images: Iterable[str], runs: Iterable[RankedLists], known: Known | None, *, complete: bool = False
) -> dict[str, dict[str, int]]:
    """Return what the data set says of images: as runs have it, else the index.

    With ``complete`` nothing is returned where an image is in no run nor in the index: it would be taken for one
    without label.
    """
    stated: dict[str, Mapping[str, int]] = {}
    for lists in runs:
        stated |= {lists.names[n]: lists.cells[c] for n, c in zip(lists.results, lists.result_cells, strict=True)}
        stated |= {query: lists.cells[c] for query, c in zip(lists.queries, lists.query_cells, strict=True)}
    wanted = set(images)
    if complete and any(image not in stated and (known is None or image not in known.places) for image in wanted):
        return {}
    found: dict[str, dict[str, int]] = {image: dict(stated.get(image, {})) for image in wanted}
    for name, codes in known.labels.items() if known else ():
        for image in wanted:
            if (code := codes.get(image, MISSING)) != MISSING:
                found[image].setdefault(name, code)
    return found
