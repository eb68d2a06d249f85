"""Raters as methods, as a panel, and against the labels of a data set.

A rater's rankings are ranked lists, so he is scored as a method is, against a reference rater or against a panel. Where
the mean of a method lies between those of the raters, against the same reference and on the same queries, it is said to
lie within the inter-rater range.

Reference
---------
W. Silva et al. Computer-aided diagnosis through medical image retrieval in radiology. Scientific Reports 12, 2022:
figures 5 and 7 (nDCG of further radiologists beside the methods, against the first), figures 3 and 8 (frames where the
first radiologist and the label disagree).

The panel
---------
The order of the mean ranks of all raters who ranked a query; images with equal means share the mean of their places,
and so their relevance. A rater is compared with the panel without himself: a panel that holds him agrees with him for
no reason. To be compared with raters, a method is scored against each of these panels, and the mean of a query is
taken.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from cbir_cli import registry
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.artifacts.run import RunRow
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.ranked_lists import Key
from cbir_cli.records import NEGATIVE, POSITIVE
from cbir_cli.scores import RATER, RaterRange, Score, units_of

FIRST = "R1"
"""The reference, where nobody else is asked for."""

PANEL = "panel"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An image of which a rater and the data set say opposite things.

    Attributes
    ----------
    key : Key
        Seed, set and query at which the rater said it.
    id : str
        The image; the query itself, or one of its catalogue.
    rater, label : str
        Who, and of which finding.
    expert, dataset : int
        What they say: 1 or 0.
    by : str
        ``label``, or ``severity`` where the rater gave none but a severity.
    """

    key: Key
    id: str
    rater: str
    label: str
    expert: int
    dataset: int
    by: str


def names(ranks: Iterable[RankRow]) -> list[str]:
    """Return the raters, in the table's order."""
    return list(dict.fromkeys(row.rater for row in ranks))


def usual(known: Sequence[str]) -> str | None:
    """Return whose ranks count where nobody is asked for: R1, else the first; None if there are no raters."""
    return FIRST if FIRST in known else next(iter(known), None)


def reference(ranks: Sequence[RankRow], asked: str | None = None) -> str:
    """Return whose ranks count: the rater asked for, else R1, else the first; ``PANEL`` if that is asked for.

    Raises
    ------
    UsageError
        If there is no such rater, or if a panel is asked for and a rater has its name.
    """
    known = names(ranks)
    if asked == PANEL:
        if PANEL in known:
            raise UsageError(f"--rater {PANEL} is the panel of all raters, but the table has a rater of that name")
        if len(known) < 2:
            raise UsageError(f"a panel needs at least two raters, the table has {known[0]}")
        return PANEL
    if asked is not None and asked not in known:
        raise registry.unknown("rater", asked, known, [*known, PANEL])
    return asked or usual(known) or ""


def as_run(ranks: Iterable[RankRow], rater: str, labels: Mapping[str, Mapping[str, int]] | None = None) -> list[RunRow]:
    """Return the rankings of a rater as a run.

    Parameters
    ----------
    ranks : iterable of RankRow
    rater : str
    labels : mapping of str to mapping, optional
        What the data set says of each image, by id.

    Returns
    -------
    list of RunRow
        The distance of an image is its rank.
    """
    said = labels or {}
    return [
        RunRow(r.query, int(r.rank), r.id, float(r.rank), said.get(r.query, {}), said.get(r.id, {}), r.seed, r.set)
        for r in ranks
        if r.rater == rater
    ]


def panel(ranks: Iterable[RankRow], without: str | None = None) -> list[RankRow]:
    """Return the order that a panel gives each query: that of the raters' mean ranks.

    Parameters
    ----------
    ranks : iterable of RankRow
    without : str, optional
        Rater to leave out. Then only the queries that he ranked, and somebody else too; by default those that two
        raters ranked at least.

    Returns
    -------
    list of RankRow
        Of a rater called ``panel`` or ``panel without NAME``; without severities and labels. Ranks of images with equal
        means are the mean of their places, so they need not be whole.

    Raises
    ------
    SourceError
        If raters ranked different images for a query.
    """
    from scipy.stats import rankdata

    name = PANEL if without is None else f"{PANEL} without {without}"
    orders: dict[Key, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in ranks:
        orders[row.key][row.rater][row.id] = row.rank
    rows = []
    for (seed, number, query), of in orders.items():
        if len(of) < 2 or (without is not None and without not in of):
            continue
        images = sorted(next(iter(of.values())))
        for rater, order in of.items():
            if sorted(order) != images:
                raise SourceError(
                    f"query {query!r}: {next(iter(of))} and {rater} ranked different images, so there is no panel"
                )
        # Sums of whole numbers: means that are equal on paper are ties.
        sums = [sum(order[image] for rater, order in of.items() if rater != without) for image in images]
        placed = sorted(zip(rankdata(sums).tolist(), images, strict=True))
        rows += [RankRow(query, name, rank, image, seed, number) for rank, image in placed]
    return rows


def disagreements(
    ranks: Iterable[RankRow],
    labels: Mapping[str, Mapping[str, int]],
    *,
    rater: str | None = None,
    label: str | None = None,
) -> dict[str, list[Disagreement]]:
    """Say which images raters label otherwise than the data set does.

    Both have to be sure: what is uncertain or not stated disagrees with nothing. A ranking alone says nothing of
    labels. Where a rater gives an image a severity and no label, he has labelled it nevertheless: severity 0 is
    negative, any other positive; this holds for the one label that the study is about, so that has to be named.

    Parameters
    ----------
    ranks : iterable of RankRow
    labels : mapping of str to mapping
        Raw codes of each image by the names of labels, as the data set has them.
    rater : str, optional
        Only what this one says, such as the reference, whose disagreement is Silva's orange frame.
    label : str, optional
        Only this label.

    Returns
    -------
    dict of str to list of Disagreement
        By image; images without any are not in it. One for each rater, query and label.
    """
    found: dict[str, list[Disagreement]] = defaultdict(list)
    asked: set[tuple[Key, str]] = set()
    for row in ranks:
        if rater is not None and row.rater != rater:
            continue
        told = [(row.id, row.labels, row.severity)]
        if (row.key, row.rater) not in asked:  # what is said of the query stands in every row of it
            asked.add((row.key, row.rater))
            told.append((row.query, row.query_labels, row.query_severity))
        for image, codes, severity in told:
            given = {name: (code, "label") for name, code in codes.items() if label in (None, name)}
            if label is not None and label not in codes and severity is not None:
                given[label] = (POSITIVE if severity else NEGATIVE, "severity")
            for name, (code, by) in given.items():
                truth = labels.get(image, {}).get(name)
                if {code, truth} == {POSITIVE, NEGATIVE}:
                    found[image].append(Disagreement(row.key, image, row.rater, name, code, 1 - code, by))
    return dict(found)


def called(rater: str) -> str:
    """Return what a rater is called among the methods of a table."""
    return f"{RATER}{rater}"


def with_range(scores: Sequence[Score]) -> list[Score]:
    """Say of each method where its mean lies between those of the raters.

    Parameters
    ----------
    scores : sequence of Score
        Of methods and of raters (``called``).

    Returns
    -------
    list of Score
        The same; those of methods have ``raters``, if two raters at least were scored in the same way. Means are over
        the queries that the method and all these raters have.
    """
    rated: dict[tuple[str, str, str], list[Score]] = defaultdict(list)
    for score in scores:
        if score.method.startswith(RATER):
            rated[score.metric, score.against, score.group].append(score)
    return [
        score
        if score.method.startswith(RATER)
        else replace(score, raters=_range(score, rated[score.metric, score.against, score.group]))
        for score in scores
    ]


def _range(method: Score, raters: Sequence[Score]) -> RaterRange | None:
    """Return the range of raters' means; None for less than two raters, or if they share no query with the method."""
    places = {key: [_place(key, rater) for rater in raters] for key in method.values}
    common = {key: found for key, found in places.items() if None not in found}
    if len(raters) < 2 or not common:
        return None
    mean = fmean(units_of({key: method.values[key] for key in common}))
    theirs = [
        fmean(units_of({key: rater.values[found[at] or key] for key, found in common.items()}))
        for at, rater in enumerate(raters)
    ]
    low, high = min(theirs), max(theirs)
    # Equal means may differ in their last bit, where values were summed in another order.
    verdict = "below" if mean < low - 1e-12 else "above" if mean > high + 1e-12 else "within"
    return RaterRange(low, high, mean, len(common), len(raters), verdict)


def _place(key: Key, rater: Score) -> Key | None:
    """Return the key of a rater's value of a query; a rank table need not have the run's seeds and sets."""
    return next((k for k in (key, (None, None, key[2])) if k in rater.values), None)
