"""How sure scores are: the interval of every mean, the chance of random rankings, and a word where queries are few."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cbir_cli import bootstrap
from cbir_cli.intervals import FEWEST
from cbir_cli.ranked_lists import Key
from cbir_cli.scores import Score, weights

FEW = 20
"""Patients below which the user is told what so few can show."""

_LOG = logging.getLogger("cbir")


def filled(scores: Iterable[Score], patients: Mapping[str, str]) -> list[Score]:
    """Fill in ``low``, ``high``, ``p_random`` and ``patients`` of scores that have values of their own.

    Parameters
    ----------
    scores : iterable of Score
        Of runs or maps, groups included; others come back as they are.
    patients : mapping of str to str
        Patient of each query or image, as far as known. One that is not known counts as a patient of its own.

    Returns
    -------
    list of Score
        In the same order. Says, once, if queries are too few to conclude from.
    """
    found = [_filled(score, patients) for score in scores]
    if few := smallest(found):
        _LOG.warning("%s", few)
    queries = {key[2] for score in found if score.low is not None and score.unit == "query" for key in score.values}
    if unknown := sum(query not in patients for query in queries):
        _LOG.info(
            "intervals: the patients of %d of %d queries are not known (--items), each counts as one of his own",
            unknown,
            len(queries),
        )
    return found


def clusters(keys: Iterable[Key], patients: Mapping[Key, str]) -> list[str]:
    """Return whom each query shows: its patient, else the query itself."""
    return [f"patient {patients[key]}" if patients.get(key) else f"query {key[2]}" for key in keys]


def smallest(scores: Sequence[Score]) -> str:
    """Say what the score of queries of the fewest patients can show; nothing if all are over enough.

    The smallest p that a paired permutation test can give of n patients is ``2 / 2**n``: .0625 of five.
    """
    queries = [score for score in scores if score.values and score.unit == "query"]
    counted = [(len(set(clusters(score.values, score.patients))), score) for score in queries]
    few = [(count, score) for count, score in counted if count < FEW]
    if not few:
        return ""
    count, score = min(few, key=lambda pair: pair[0])
    noun = "query" if score.n == 1 else "queries"
    whom = f" of {count} patient{'' if count == 1 else 's'}" if score.patients else ""
    whom = whom or (f" ({count} different ones)" if count < len(score.values) else "")
    row = " ".join(filter(None, (score.metric, score.group, "of", score.method)))
    least = f"{min(1.0, 2.0 ** (1 - count)):.2g}"
    if count < FEWEST:
        sure = f"too few for an interval, and a paired test of two methods gives p = {least} at best"
    elif score.low is None or score.high is None:
        sure = "no interval, since all have one mean"
    else:
        sure = f"the mean is sure to ± {(score.high - score.low) / 2:.2f}"
    others = f" ({len(few)} of {len(counted)} scores are over fewer than {FEW})" if len(few) > 1 else ""
    return f"{row} is over {len(score.values)} {noun}{whom}: {sure}{others}"


def with_interval(score: Score, patients: Mapping[Key, str]) -> Score:
    """Return a score with the interval of its values, and whom its queries show."""
    share = weights(score.values)
    ends = bootstrap.of_mean(
        list(score.values.values()), clusters(score.values, patients), [share[key] for key in score.values]
    )
    low, high = ends or (None, None)
    return replace(score, low=low, high=high, patients=patients)


def _filled(score: Score, patients: Mapping[str, str]) -> Score:
    if not score.values:
        return score
    known = {key: patients[key[2]] for key in score.values if patients.get(key[2])}
    p_random = score.tail(score.values) if score.tail else None
    return replace(with_interval(score, known), p_random=p_random)
