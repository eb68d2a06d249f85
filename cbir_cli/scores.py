"""Scores of files, summed up over seeds, queries or images, and as text."""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cbir_cli.ranked_lists import Key

COLUMNS = ("file", "metric", "group", "n", "mean", "low", "high", "min", "max", "sd", "random", "p_random")

RATER = "rater "
"""What the names of raters begin with, among those of methods."""

Tail = Callable[[Mapping[Key, float]], float | None]
"""From values of queries to how often random rankings have a mean at least as high."""


@dataclass(frozen=True)
class RaterRange:
    """Where the mean of a method lies between those of raters, scored in the same way on the same queries.

    Attributes
    ----------
    low, high : float
        The smallest and the largest of the raters' means.
    mean : float
        That of the method on these queries.
    n : int
        Queries that the method and all raters have.
    raters : int
        How many raters; the reference is none of them.
    verdict : str
        ``below``, ``within`` or ``above``. Of means alone: no test.
    """

    low: float
    high: float
    mean: float
    n: int
    raters: int
    verdict: str


@dataclass(frozen=True)
class Score:
    """One metric of one file.

    Attributes
    ----------
    method : str
        The file.
    metric : str
        As the command line spells it: ``ndcg@4``.
    against : str
        The ground truth: ``rater R1``, ``label Effusion`` or ``masks DIR``.
    n : int
        Queries (images, for classifiers and maps) that were scored.
    left_out : int
        Queries or images that were not.
    mean, minimum, maximum, sd, random : float or None
        Over seeds, else over queries or images; ``sd`` has the denominator n - 1, ``random`` is the exact mean by
        chance: of a random ranking, or of a random order of a map's pixels. None where not defined: nothing was
        scored; ``sd`` of a single value; ``random`` if a catalogue's size is not known; for a classifier all but
        ``mean`` and ``random``.
    values : mapping of Key to float
        The score of each query; for maps of each image, whose key has neither seed nor set.
    chance : mapping of Key to float
        The random baseline of each of them, where known.
    unit : str
        What has a value of its own: ``query`` or ``image``.
    group : str
        Which queries or images were scored, such as ``view=AP``; empty for all.
    low, high : float or None
        Ends of the 95 % interval of the mean; None where there are too few values for one.
    p_random : float or None
        How often random rankings have a mean at least as high; None where not known.
    tail : callable or None
        Gives ``p_random`` for the values of all or some of the queries. Never written.
    patients : mapping of Key to str
        Whom each query or image shows, as far as known. Never written.
    raters : RaterRange or None
        Of a method, where raters were scored as well.
    """

    method: str
    metric: str
    against: str
    n: int
    left_out: int
    mean: float | None
    minimum: float | None = None
    maximum: float | None = None
    sd: float | None = None
    random: float | None = None
    values: Mapping[Key, float] = field(default_factory=dict)
    chance: Mapping[Key, float] = field(default_factory=dict)
    unit: str = "query"
    group: str = ""
    low: float | None = None
    high: float | None = None
    p_random: float | None = None
    tail: "Tail | None" = field(default=None, compare=False, repr=False)
    patients: Mapping[Key, str] = field(default_factory=dict, compare=False, repr=False)
    raters: RaterRange | None = None


def summarise(
    values: Mapping[Key, float],
    chance: Mapping[Key, float],
    *,
    method: str,
    metric: str,
    against: str,
    left_out: int,
    unit: str = "query",
    tail: Tail | None = None,
) -> Score:
    """Sum up the values of queries or images: over the means of seeds where there are seeds, else over all of them.

    Parameters
    ----------
    values, chance : mapping of Key to float
        Score and random baseline of each; the baseline is summed up only if it is known for all.
    method, metric, against, unit, tail
        See ``Score``.
    left_out : int
        Queries or images that are not among the values.

    Returns
    -------
    Score
    """
    units = units_of(values)
    known = values.keys() == chance.keys()
    return Score(
        method=method,
        metric=metric,
        against=against,
        n=len(values),
        left_out=left_out,
        mean=statistics.fmean(units) if units else None,
        minimum=min(units, default=None),
        maximum=max(units, default=None),
        sd=statistics.stdev(units) if len(units) > 1 else None,
        random=statistics.fmean(units_of(chance)) if units and known else None,
        values=dict(values),
        chance=dict(chance),
        unit=unit,
        tail=tail,
    )


def weights(keys: Iterable[Key]) -> dict[Key, float]:
    """Return how much each value counts in the mean; all sum to 1.

    Where there are seeds the mean is that of the seeds' means, so a seed of few queries weighs as much as one of many.
    """
    keys = list(keys)
    seeded = any(seed is not None for seed, _, _ in keys)
    sizes = Counter(key[0] if seeded else None for key in keys)
    return {key: 1 / (len(sizes) * sizes[key[0] if seeded else None]) for key in keys}


def metric_names(scores: Iterable[tuple[str, str]]) -> list[str]:
    """Return what a table calls each score, given as (metric, against): the metric, and its label where several differ.

    Without it the scores of several labels are rows of one name, or fall on one another.
    """
    scores = list(scores)
    against: dict[str, set[str]] = defaultdict(set)
    for metric, truth in scores:
        against[metric].add(truth)
    return [m if len(against[m]) == 1 else f"{m} {' '.join(t.removeprefix('label ').split())}" for m, t in scores]


def cells(score: Score) -> tuple[str, ...]:
    """Return a score as text, one cell for each of ``COLUMNS``.

    Four decimals, of ``p_random`` three digits; empty where not defined.
    """
    numbers = (score.mean, score.low, score.high, score.minimum, score.maximum, score.sd, score.random)
    name, group = (" ".join(text.split()) for text in (score.method, score.group))  # a tab would shift the columns
    texts = ("" if number is None else f"{number:.4f}" for number in numbers)
    return (name, score.metric, group, str(score.n), *texts, spell_p(score.p_random))


def spell_p(p: float | None) -> str:
    """Return a p-value with three digits, since four decimals would make 0 of what never is."""
    return "" if p is None else f"{p:.3g}"


def quartiles(score: Score) -> tuple[float, float, float] | None:
    """Return the first quartile, the median and the third one, as a box plot shows them: of seeds, else of queries."""
    units = units_of(score.values)
    return tuple(statistics.quantiles(units, n=4, method="inclusive")) if len(units) > 1 else None  # type: ignore[return-value]


def tsv(scores: Iterable[Score]) -> Iterator[str]:
    """Write scores as TSV with a header, line by line; where several labels were scored, the metric names its own."""
    yield "\t".join(COLUMNS) + "\n"
    scores = list(scores)
    for score, name in zip(scores, metric_names((s.metric, s.against) for s in scores), strict=True):
        yield "\t".join(cells(replace(score, metric=name))) + "\n"


def json_lines(scores: Iterable[Score]) -> Iterator[str]:
    """Write scores as JSON, one object a line, unrounded and with the value of every query or, for maps, image."""
    for score in scores:
        row: dict[str, Any] = {"file": score.method, "metric": score.metric, "against": score.against}
        row |= {"group": score.group, "n": score.n, "left_out": score.left_out, "mean": score.mean}
        row |= {"low": score.low, "high": score.high, "min": score.minimum, "max": score.maximum, "sd": score.sd}
        row |= {"random": score.random, "p_random": score.p_random}
        if score.raters is not None:
            row["raters"] = asdict(score.raters)
        pairs = [(key, {"value": value, "random": score.chance.get(key)}) for key, value in score.values.items()]
        if score.unit == "image":
            row["images"] = [{"image": key[2], **pair} for key, pair in pairs]
        else:
            row["queries"] = [{"seed": key[0], "set": key[1], "query": key[2], **pair} for key, pair in pairs]
        yield json.dumps(row) + "\n"


def units_of(values: Mapping[Key, float]) -> list[float]:
    """Return what a mean and its spread are over: the means of seeds where there are seeds, else all values."""
    if all(seed is None for seed, _, _ in values):
        return list(values.values())
    seeds: dict[int | None, list[float]] = defaultdict(list)
    for (seed, _, _), value in values.items():
        seeds[seed].append(value)
    return [statistics.fmean(group) for group in seeds.values()]
