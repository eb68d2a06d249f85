from dataclasses import replace

import pytest

from cbir_cli import raters
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.artifacts.run import RunRow
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.raters import Disagreement
from cbir_cli.scores import RaterRange, summarise

NONE = (None, None, "q")


def ranking(rater, order, query="q", seed=None, set=None, **said):
    return [RankRow(query, rater, rank, name, seed, set, **said) for rank, name in enumerate(order, 1)]


THREE = ranking("R2", "abcd") + ranking("R1", "bacd") + ranking("R3", "abdc")


# Who


def test_the_reference_is_r1_else_the_first_else_whom_one_asks_for():
    assert raters.names(THREE) == ["R2", "R1", "R3"]
    assert raters.reference(THREE) == "R1"
    assert raters.reference(THREE, "R3") == "R3"
    assert raters.reference(ranking("X", "ab") + ranking("Y", "ab")) == "X"
    assert raters.reference(THREE, "panel") == "panel"
    with pytest.raises(UsageError, match=r"unknown rater 'R9': .*known: R2, R1, R3, panel"):
        raters.reference(THREE, "R9")
    with pytest.raises(UsageError, match="at least two raters, the table has R1"):
        raters.reference(ranking("R1", "ab"), "panel")
    with pytest.raises(UsageError, match="a rater of that name"):
        raters.reference(THREE + ranking("panel", "ab"), "panel")


def test_a_rater_as_a_run():
    ranks = ranking("R1", "ba", seed=42, set=2) + ranking("R2", "ab")
    assert raters.as_run(ranks, "R1", {"q": {"E": 1}, "b": {"E": 0}}) == [
        RunRow("q", 1, "b", 1.0, {"E": 1}, {"E": 0}, 42, 2),
        RunRow("q", 2, "a", 2.0, {"E": 1}, {}, 42, 2),
    ]
    assert raters.as_run(ranks, "R9") == []


# Panel


def order(rows):
    return {(row.key[2], row.id): row.rank for row in rows}


def test_a_panel_has_the_order_of_mean_ranks():
    rows = raters.panel(THREE)
    # Sums: a 4, b 5, c 10, d 11.
    assert order(rows) == {("q", "a"): 1, ("q", "b"): 2, ("q", "c"): 3, ("q", "d"): 4}
    assert {row.rater for row in rows} == {"panel"} and {row.key for row in rows} == {NONE}


def test_equal_means_share_the_mean_of_their_places():
    rows = raters.panel(THREE, without="R3")  # abcd, bacd
    assert order(rows) == {("q", "a"): 1.5, ("q", "b"): 1.5, ("q", "c"): 3, ("q", "d"): 4}
    assert {row.rater for row in rows} == {"panel without R3"}
    three = ranking("X", "abc") + ranking("Y", "bca") + ranking("Z", "cab")
    assert set(order(raters.panel(three)).values()) == {2}


def test_without_one_of_two_it_is_the_other():
    two = ranking("R1", "abc") + ranking("R2", "cab")
    assert order(raters.panel(two, without="R1")) == {("q", "c"): 1, ("q", "a"): 2, ("q", "b"): 3}


def test_a_panel_of_one_is_none():
    ranks = [*THREE, *ranking("R1", "xy", "alone"), *ranking("R1", "xy", "two"), *ranking("R2", "yx", "two")]
    assert {row.query for row in raters.panel(ranks)} == {"q", "two"}
    assert {row.query for row in raters.panel(ranks, without="R1")} == {"q", "two"}
    assert {row.query for row in raters.panel(ranks, without="R3")} == {"q"}  # he did not rank the others
    assert raters.panel(ranking("R1", "ab")) == []


def test_seeds_and_sets_are_queries_of_their_own():
    ranks = [
        *ranking("R1", "ab", seed=1, set=1),
        *ranking("R2", "ab", seed=1, set=1),
        *ranking("R1", "cd", seed=1, set=2),
        *ranking("R2", "dc", seed=1, set=2),
    ]
    assert {(row.key, row.id): row.rank for row in raters.panel(ranks)} == {
        ((1, 1, "q"), "a"): 1,
        ((1, 1, "q"), "b"): 2,
        ((1, 2, "q"), "c"): 1.5,
        ((1, 2, "q"), "d"): 1.5,
    }


def test_raters_of_different_catalogues_make_no_panel():
    with pytest.raises(SourceError, match="query 'q': R1 and R2 ranked different images"):
        raters.panel(ranking("R1", "abc") + ranking("R2", "abd"))


# Labels


LABELS = {"q": {"E": 1, "F": 0}, "a": {"E": 1}, "b": {"E": 0}, "c": {"E": -1}, "d": {}}


def test_opposite_labels_disagree_and_nothing_else_does():
    rows = [
        RankRow("q", "R1", 1, "a", query_labels={"E": 1, "F": 1}, labels={"E": 0}),
        RankRow("q", "R1", 2, "b", query_labels={"E": 1, "F": 1}, labels={"E": 1}),
        RankRow("q", "R1", 3, "c", query_labels={"E": 1, "F": 1}, labels={"E": 1}),
        RankRow("q", "R1", 4, "d", query_labels={"E": 1, "F": 1}, labels={"E": 1}),
        RankRow("q", "R2", 1, "a", labels={"E": -1}),
        RankRow("q", "R2", 2, "b", labels={"E": 0}),
        RankRow("q", "R2", 3, "elsewhere", labels={"E": 0}),
        RankRow("q", "R2", 4, "d", labels={"G": 0}),
    ]
    found = raters.disagreements(rows, LABELS)
    assert found == {
        "a": [Disagreement(NONE, "a", "R1", "E", 0, 1, "label")],
        "q": [Disagreement(NONE, "q", "R1", "F", 1, 0, "label")],
        "b": [Disagreement(NONE, "b", "R1", "E", 1, 0, "label")],
    }
    assert raters.disagreements(rows, LABELS, rater="R2") == {}
    assert set(raters.disagreements(rows, LABELS, label="F")) == {"q"}
    assert raters.disagreements([], LABELS) == {}


def test_a_ranking_alone_says_nothing_of_labels():
    assert raters.disagreements(ranking("R1", "abcd"), LABELS, label="E") == {}


@pytest.mark.parametrize(("severity", "image", "says"), [(0, "a", 0), (1, "b", 1), (3, "b", 1)])
def test_a_severity_labels_the_image_where_the_label_is_named(severity, image, says):
    row = RankRow("q", "R1", 1, image, severity=severity)
    assert raters.disagreements([row], LABELS) == {}
    assert raters.disagreements([row], LABELS, label="E") == {
        image: [Disagreement(NONE, image, "R1", "E", says, 1 - says, "severity")]
    }


def test_a_label_comes_before_a_severity():
    row = RankRow("q", "R1", 1, "a", query_severity=0, severity=0, query_labels={"E": 1}, labels={"E": 1})
    assert raters.disagreements([row], LABELS, label="E") == {}
    unsure = RankRow("q", "R1", 1, "a", severity=0, labels={"E": -1})
    assert raters.disagreements([unsure], LABELS, label="E") == {}


def test_what_is_said_of_a_query_is_said_once_for_each_query():
    rows = ranking("R1", "xy", "b", query_labels={"E": 1}) + ranking("R1", "xy", "b", 1, 2, query_labels={"E": 1})
    found = raters.disagreements(rows, LABELS)
    assert [one.key for one in found["b"]] == [(None, None, "b"), (1, 2, "b")]


# Range


def scored(method, values, metric="ndcg@4", against="rater R1", group=""):
    values = {key if isinstance(key, tuple) else (None, None, key): value for key, value in values.items()}
    return replace(summarise(values, {}, method=method, metric=metric, against=against, left_out=0), group=group)


RATED = [scored("rater R2", {"p": 0.4, "q": 0.6}), scored("rater R3", {"p": 0.8, "q": 1.0})]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((0.4, 0.5), "below"), ((0.4, 0.6), "within"), ((0.9, 0.6), "within"), ((0.8, 1.0), "within"), ((1, 1), "above")],
)
def test_where_a_method_lies(values, verdict):
    method, *others = raters.with_range([scored("ig", dict(zip("pq", values, strict=True))), *RATED])
    assert method.raters == RaterRange(0.5, 0.9, pytest.approx(sum(values) / 2), 2, 2, verdict)
    assert [one.raters for one in others] == [None, None]


def test_the_last_bit_decides_nothing():
    rated = [scored("rater R2", {"p": 0.3, "q": 0.3, "r": 0.3}), scored("rater R3", {"p": 1, "q": 1, "r": 1})]
    (method, *_) = raters.with_range([scored("ig", {"p": 0.1, "q": 0.2, "r": 0.6000000000000001}), *rated])
    assert method.raters.verdict == "within"


def test_means_are_over_the_queries_that_all_have():
    rated = [scored("rater R2", {"p": 0.4, "q": 0.6}), scored("rater R3", {"q": 1.0, "r": 0.1})]
    (method, *_) = raters.with_range([scored("ig", {"p": 0.0, "q": 0.7, "r": 1.0}), *rated])
    assert method.raters == RaterRange(0.6, 1.0, 0.7, 1, 2, "within")


def test_a_mean_is_that_of_seeds():
    keys = [(1, 1, "p"), (2, 1, "p"), (2, 2, "p")]
    values = {"rater R2": (0, 1, 1), "rater R3": (1, 1, 0), "ig": (1, 0, 0)}
    scores = [scored(name, dict(zip(keys, those, strict=True))) for name, those in values.items()]
    *_, method = raters.with_range(scores)
    assert method.raters == RaterRange(0.5, 0.75, 0.5, 3, 2, "within")


def test_a_rank_table_need_not_have_the_runs_seeds():
    method = scored("ig", {(7, 1, "p"): 0.5, (8, 1, "q"): 0.7})
    (method, *_) = raters.with_range([method, *RATED])
    assert method.raters == RaterRange(0.5, 0.9, 0.6, 2, 2, "within")


@pytest.mark.parametrize(
    "others",
    [
        RATED[:1],
        [scored("rater R2", {"x": 1.0}), RATED[1]],
        [scored("rater R2", {"p": 1.0}, metric="ndcg@7"), RATED[1]],
        [scored("rater R2", {"p": 1.0}, against="rater R3"), RATED[1]],
        [scored("rater R2", {"p": 1.0}, group="view=AP"), RATED[1]],
        [scored("nobody", {"p": 1.0}), RATED[1]],
    ],
)
def test_no_range(others):
    method = raters.with_range([scored("ig", {"p": 0.5, "q": 0.5}), *others])[0]
    assert method.raters is None
