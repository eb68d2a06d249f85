"""Scores of groups of queries: per class, view, source, sex and age.

A query belongs to a group by what is known of the query, never of its results: ``view=AP`` is how well images are
answered that were taken in AP, whatever they are answered with.

==========  =========================================================================================================
group       queries
==========  =========================================================================================================
``class``   of each class (``classes``); one of several classes counts in each
``view``    of each view
``source``  of each hospital or collection
``sex``     F, M
``age``     of each decade, ``60-69``; those of 90 and more are one group, as rules on privacy have it
==========  =========================================================================================================

Where it is not known the group is ``?``. A group none of whose queries could be scored has no score. ``class=macro`` is
the mean over the classes, each counted once however many queries it has: X-MIR averages its queries, which its classes
share evenly; where they do not, the two means differ. Its smallest, largest and standard deviation are over classes.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cbir_cli import registry
from cbir_cli.ranked_lists import Key
from cbir_cli.records import MISSING
from cbir_cli.scores import Score, summarise

BY = ("class", "view", "source", "sex", "age")
UNKNOWN = "?"
MACRO = "class=macro"

Members = Mapping[str, Sequence[Key]]
"""The queries of each group, by names as ``view=AP``, in the order of a table."""


def parse(text: str | None) -> list[str]:
    """Read what to group by: names between commas.

    Raises
    ------
    UsageError
        If one is not among ``BY``.
    """
    names = [] if text is None else list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in BY:
            raise registry.unknown("group", name, BY)
    return names


def age_band(age: int) -> str:
    """Return the decade of an age in years.

    Examples
    --------
    >>> [age_band(age) for age in (0, 9, 10, 69, 89, 90, 104, MISSING)]
    ['0-9', '0-9', '10-19', '60-69', '80-89', '90+', '90+', '?']
    """
    if age == MISSING or age < 0:
        return UNKNOWN
    return "90+" if age >= 90 else f"{age // 10 * 10}-{age // 10 * 10 + 9}"


def members(by: str, keys: Iterable[Key], values: Iterable[Sequence[str]], order: Sequence[str] = ()) -> Members:
    """Return the queries of each group.

    Parameters
    ----------
    by : str
        One of ``BY``.
    keys : iterable of Key, (Q,)
    values : iterable of sequence of str, (Q,)
        Which groups each query is of, several for one of several classes; none where it is not known.
    order : sequence of str
        Order of the groups, as far as it is not that of their names.
    """
    found: dict[str, list[Key]] = defaultdict(list)
    for key, its in zip(keys, values, strict=True):
        for value in its or (UNKNOWN,):
            found[value or UNKNOWN].append(key)
    places = {name: place for place, name in enumerate(order)}

    def place(name: str) -> tuple[bool, int, int, str]:
        first = name.split("-")[0].rstrip("+")
        number = int(first) if by == "age" and first.isdigit() else 0
        return name == UNKNOWN, places.get(name, len(places)), number, name

    return {f"{by}={name}": found[name] for name in sorted(found, key=place)}


def scores_of(score: Score, groups: Iterable[Members]) -> list[Score]:
    """Return a score and those of the groups of its queries.

    Parameters
    ----------
    score : Score
        Of all queries.
    groups : iterable of Members
        For each thing to group by, all queries of the run.
    """
    found = [score]
    for group in groups:
        parts = [_of(score, name, keys) for name, keys in group.items()]
        parts = [part for part in parts if part.n]
        found += parts
        classes = [part for part in parts if part.group.startswith("class=") and part.group != f"class={UNKNOWN}"]
        if len(classes) > 1:
            found.append(_macro(score, classes))
    return found


def lowest(scores: Iterable[Score]) -> list[Score]:
    """Return the group with the lowest mean, for each file, metric and thing to group by that has several groups."""
    by: dict[tuple[str, str, str, str], list[Score]] = defaultdict(list)
    for score in scores:
        if score.group and score.group != MACRO and score.mean is not None:
            by[score.method, score.metric, score.against, score.group.partition("=")[0]].append(score)
    return [min(several, key=lambda score: score.mean or 0.0) for several in by.values() if len(several) > 1]


def _of(score: Score, name: str, keys: Sequence[Key]) -> Score:
    values = {key: score.values[key] for key in keys if key in score.values}
    chance = {key: score.chance[key] for key in values if key in score.chance}
    part = summarise(
        values,
        chance,
        method=score.method,
        metric=score.metric,
        against=score.against,
        left_out=len(keys) - len(values),
        unit=score.unit,
        tail=score.tail,
    )
    return replace(part, group=name)


def _macro(score: Score, classes: Sequence[Score]) -> Score:
    means = [part.mean for part in classes if part.mean is not None]
    chance = [part.random for part in classes if part.random is not None]
    return Score(
        method=score.method,
        metric=score.metric,
        against=score.against,
        n=len({key for part in classes for key in part.values}),
        left_out=score.left_out,
        mean=statistics.fmean(means),
        minimum=min(means),
        maximum=max(means),
        sd=statistics.stdev(means),
        random=statistics.fmean(chance) if len(chance) == len(means) else None,
        unit=score.unit,
        group=MACRO,
    )
