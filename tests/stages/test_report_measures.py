"""Verdicts of a table of measures: how many tests stand in it counts."""

import numpy as np
import pytest
from scipy import stats

from cbir_cli.intervals import interval
from cbir_cli.stages.explanation_sums import Estimate, Row
from cbir_cli.stages.report_measures import judged


def row(kind, random=(), network=()):
    """The sums of one class, of the differences of each query to the baselines."""
    over = [
        Estimate(float(np.mean(d)), *(interval(d) or (None, None))) if len(d) else Estimate() for d in (random, network)
    ]
    count = max(len(random), len(network))
    return Row("", "m", "all", "result", kind, count, 0, own=Estimate(0.5), over_random=over[0], over_network=over[1])


def differences(p, sign=1, count=8):
    """Values whose t test against zero has this p, exactly."""
    drawn = np.random.default_rng(0).normal(size=count)
    drawn = (drawn - drawn.mean()) / drawn.std(ddof=1)
    found = sign * (abs(stats.t.ppf(p / 2, count - 1)) / np.sqrt(count) + drawn)
    assert stats.ttest_1samp(found, 0).pvalue == pytest.approx(p)
    return found


def test_one_sure_difference_alone_is_better():
    assert judged([{"insertion": row("insertion", differences(0.03))}]) == [("better", "–")]


def test_the_same_difference_among_others_is_not():
    """Holm: the smallest of four counts four times, .03 becomes .12."""
    nothing = differences(0.8)
    sure = {"insertion": row("insertion", differences(0.03), nothing), "deletion": row("deletion", nothing, nothing)}
    assert judged([sure]) == [("△ no better", "△ no better")]


def test_every_test_of_the_table_counts_and_no_other():
    """The smallest of three counts three times, .016 or .017; a row without a test does not count."""
    few = {"insertion": row("insertion", [0.1, 0.2])}
    for p, verdict in ((0.016, "better"), (0.017, "△ no better")):
        places = [{"insertion": row("insertion", differences(one))} for one in (0.5, p, 0.9)]
        assert [words for words, _ in judged([few, *places])] == [
            "too few queries",
            "△ no better",
            verdict,
            "△ no better",
        ]


def test_step_down():
    """.012 of four, then .016 of three, then .024 of two: all below .05, though twice .03 would not be."""
    places = [{"insertion": row("insertion", differences(p))} for p in (0.024, 0.012, 0.016, 0.5)]
    assert [words for words, _ in judged(places)] == ["better", "better", "better", "△ no better"]


@pytest.mark.parametrize(("kind", "sign", "verdict"), [("insertion", -1, "△ no better"), ("deletion", -1, "better")])
def test_a_sure_difference_for_the_worse_is_not_better(kind, sign, verdict):
    assert judged([{kind: row(kind, differences(1e-6, sign))}])[0][0] == verdict


def test_one_kind_alone():
    found = {"insertion": row("insertion", differences(1e-6)), "deletion": row("deletion", differences(0.6))}
    assert judged([found])[0][0] == "△ better in insertion only"


def test_no_rows():
    assert judged([]) == []
