"""``cbir evaluate`` with several raters: their scores, panels, agreement, and labels that contradict the data set."""

import csv
import io
import itertools
import json
from statistics import fmean

import numpy as np
import pytest

from cbir_cli import relevance
from cbir_cli.metrics.ranking import ndcg

QUERIES = ["q1", "q2", "q3"]
CODES = dict(zip("abcdef", (1, 1, 1, 0, 0, 0), strict=True)) | dict.fromkeys(QUERIES, 1)
ORDERS = {
    ("R1", "q1"): "abcdef",
    ("R2", "q1"): "bacdfe",
    ("R3", "q1"): "fabdec",
    ("R1", "q2"): "cbafde",
    ("R2", "q2"): "cabfed",
    ("R3", "q2"): "cbafde",
    ("R1", "q3"): "abcdef",
    ("R2", "q3"): "abcdfe",
}
METHODS = {
    "good.tsv": {"q1": "abcdfe", "q2": "cbafed", "q3": "abcdef"},
    "bad.tsv": {"q1": "fedcba", "q2": "edfabc", "q3": "fedcba"},
}


def table(orders, columns="", cells=lambda query, rater, image: ""):
    head = f"query,rater,rank,id{columns}\n"
    return head + "".join(
        f"{query},{rater},{rank},{image}{cells(query, rater, image)}\n"
        for (rater, query), order in orders.items()
        for rank, image in enumerate(order, 1)
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    for name, lists in METHODS.items():
        lines = ["query\trank\tid\tdistance\tquery_labels\tlabels"]
        for query, order in lists.items():
            lines += [f"{query}\t{r}\t{i}\t{r}\tE={CODES[query]}\tE={CODES[i]}" for r, i in enumerate(order, 1)]
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "plain.trec").write_text(
        "".join(f"{q} Q0 {i} {r} {-r} x\n" for q, order in METHODS["good.tsv"].items() for r, i in enumerate(order, 1))
    )
    (folder / "ranks.csv").write_text(table(ORDERS))
    (folder / "one.csv").write_text(table({key: order for key, order in ORDERS.items() if key[0] == "R1"}))

    def said(query, rater, image):
        code = CODES[image] if (rater, image) not in {("R1", "d"), ("R3", "a")} else 1 - CODES[image]
        return f",{2 * code + (image == 'b')},{2},E={code}"

    (folder / "said.csv").write_text(table(ORDERS, ",severity,query_severity,labels", said))
    grades = {"a": 3, "b": 0, "d": 2}
    (folder / "graded.csv").write_text(table(ORDERS, ",severity", lambda q, r, i: f",{grades.get(i, '')}"))
    return folder


def rows(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def plain(order, truth, k=4):
    """nDCG@k of an order, by ranks (which may be halves) of each image."""
    grades = relevance.from_ranks([truth[image] for image in order], len(truth))
    return ndcg.score(grades[None], relevance.from_ranks(list(truth.values()), len(truth))[None], k).item()


def places(order):
    return {image: rank for rank, image in enumerate(order, 1)}


def others(query, without):
    """The order of the mean ranks of the raters but one, ties averaged."""
    given = [places(order) for (rater, q), order in ORDERS.items() if q == query and rater != without]
    means = {image: fmean(one[image] for one in given) for image in "abcdef"}
    return {
        image: 1
        + sum(means[other] < means[image] for other in means)
        + (sum(means[other] == means[image] for other in means) - 1) / 2
        for image in means
    }


# Raters as methods


def test_other_raters_stand_beside_the_runs(good, study):
    ran = good("evaluate", "good.tsv", "bad.tsv", "--raters", "ranks.csv", "--metrics", "ndcg@4", cwd=study)
    found = {row["file"]: row for row in rows(ran.out)}
    assert list(found) == ["good.tsv", "bad.tsv", "rater R2", "rater R3"]
    assert [found[name]["n"] for name in found] == ["3", "3", "3", "2"]
    for rater in ("R2", "R3"):
        values = [plain(order, places(ORDERS["R1", query])) for (name, query), order in ORDERS.items() if name == rater]
        assert found[f"rater {rater}"]["mean"] == f"{fmean(values):.4f}"
    assert "good.tsv: mean " in ran.err and "bad.tsv: mean below the range of 2 raters by ndcg@4 (" in ran.err
    assert "n = 2" in ran.err


def test_the_range_in_json(good, study):
    text = good("evaluate", *METHODS, "--raters", "ranks.csv", "--metrics", "ndcg@4", "--format", "json", cwd=study).out
    found = {row["file"]: row for row in map(json.loads, text.splitlines())}
    both = ("q1", "q2")  # R3 did not rank the third
    means = [fmean(plain(ORDERS[r, q], places(ORDERS["R1", q])) for q in both) for r in ("R2", "R3")]
    for name, orders in METHODS.items():
        mean = fmean(plain(orders[q], places(ORDERS["R1", q])) for q in both)
        verdict = "below" if mean < min(means) else "above" if mean > max(means) else "within"
        assert found[name]["raters"] == pytest.approx(
            {"low": min(means), "high": max(means), "mean": mean, "n": 2, "raters": 2, "verdict": verdict}
        )
    assert "raters" not in found["rater R2"]


def test_every_rater_is_scored_by_labels(good, study):
    text = good("evaluate", "good.tsv", "--raters", "ranks.csv", "--metrics", "p@3", cwd=study).out
    found = {row["file"]: float(row["mean"]) for row in rows(text)}
    assert list(found) == ["good.tsv", "rater R1", "rater R2", "rater R3"]
    assert found["rater R3"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-4) and found["rater R1"] == 1


def test_by_default_both(good, study):
    text = good("evaluate", "good.tsv", "--raters", "ranks.csv", "-q", cwd=study, CBIR_DEBUG="").out
    metrics = [row["metric"] for row in rows(text) if row["file"] == "rater R2"]
    assert metrics == ["ndcg@4", "ndcg@7", "ndcg@10", "r-precision", "precision@5"]
    assert [row["metric"] for row in rows(text) if row["file"] == "rater R1"] == ["r-precision", "precision@5"]


def test_another_reference(good, study):
    text = good("evaluate", "good.tsv", "--raters", "ranks.csv", "--rater", "R3", "--metrics", "ndcg@4", cwd=study).out
    found = {row["file"]: row for row in rows(text)}
    assert list(found) == ["good.tsv", "rater R1", "rater R2"] and {row["n"] for row in found.values()} == {"2"}


def test_raters_alone(good, study):
    found = rows(good("evaluate", "--raters", "ranks.csv", cwd=study).out)
    assert {row["file"] for row in found} == {"rater R2", "rater R3"}
    assert {row["metric"] for row in found} == {"ndcg@4", "ndcg@7", "ndcg@10"}
    beside = rows(good("evaluate", "plain.trec", "--raters", "ranks.csv", cwd=study).out)
    assert [row for row in beside if row["file"] != "plain.trec"] == found


def test_raters_are_scored_on_the_queries_of_the_runs(good, study, tmp_path):
    text = (study / "good.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "two.tsv").write_text("".join(line for line in text if not line.startswith("q3")))
    found = rows(good("evaluate", tmp_path / "two.tsv", "--raters", study / "ranks.csv", "--metrics", "ndcg@4").out)
    assert [row["n"] for row in found] == ["2", "2", "2"]


def test_a_rank_table_need_not_have_the_runs_seeds(good, study, tmp_path):
    head, *lines = (study / "good.tsv").read_text().splitlines()
    (tmp_path / "good.tsv").write_text("\n".join([f"{head}\tseed\tset", *(f"{line}\t7\t1" for line in lines)]) + "\n")
    options = ("--raters", study / "ranks.csv", "--metrics", "ndcg@4", "--format", "json")
    with_seeds, without = (
        {row["file"]: row for row in map(json.loads, good("evaluate", folder / "good.tsv", *options).out.splitlines())}
        for folder in (tmp_path, study)
    )
    assert list(with_seeds) == ["good.tsv", "rater R2", "rater R3"]
    assert with_seeds["good.tsv"]["raters"] == pytest.approx(without["good.tsv"]["raters"])
    assert with_seeds["rater R2"]["mean"] == without["rater R2"]["mean"]


def test_images_without_label_are_not_taken_for_irrelevant(good, study, tmp_path):
    text = (study / "good.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "four.tsv").write_text("".join(line for line in text if line.split("\t")[1] not in ("5", "6")))
    ran = good("evaluate", tmp_path / "four.tsv", "--raters", study / "ranks.csv", "--metrics", "p@1")
    # d and f are cut off in one query and named in another, e in all: nothing says what label it has.
    assert {row["file"] for row in rows(ran.out)} == {"four.tsv"}
    assert "rater R2: passed over" in ran.err


def test_what_a_run_lacks_is_said_once_for_each(good, study, tmp_path):
    """Neither R-precision nor precision@5 can be had of queries without labels."""
    text = (study / "good.tsv").read_text().splitlines(keepends=True)
    bare = ["\t".join([*line.split("\t")[:4], "", line.split("\t")[5]]) for line in text[1:]]
    (tmp_path / "bare.tsv").write_text(text[0] + "".join(bare))
    ran = good("evaluate", "bare.tsv", "--raters", study / "ranks.csv", cwd=tmp_path)
    said = [line for line in ran.err.splitlines() if "passed over" in line]
    assert sorted(line.split(": passed over: ")[0] for line in said) == ["bare.tsv", "rater R1", "rater R2", "rater R3"]


# Panel


def test_a_rater_is_compared_with_the_others(good, study):
    options = ("--raters", "ranks.csv", "--rater", "panel", "--metrics", "ndcg@4", "--format", "json")
    text = good("evaluate", "good.tsv", *options, cwd=study).out
    found = {(row["file"], row["against"]): row for row in map(json.loads, text.splitlines())}
    one_out = "leave-one-out panel"
    assert list(found) == [
        ("good.tsv", "panel"),
        ("good.tsv", one_out),
        *((f"rater {rater}", one_out) for rater in ("R1", "R2", "R3")),
    ]

    def values(*key):
        return {query["query"]: query["value"] for query in found[key]["queries"]}

    for rater in ("R1", "R2", "R3"):
        expected = {q: plain(o, others(q, rater)) for (r, q), o in ORDERS.items() if r == rater}
        assert values(f"rater {rater}", one_out) == pytest.approx(expected)
    raters = {query: [r for r, q in ORDERS if q == query] for query in QUERIES}
    method = METHODS["good.tsv"]
    means = {q: fmean(plain(method[q], others(q, r)) for r in raters[q]) for q in QUERIES}
    assert values("good.tsv", one_out) == pytest.approx(means)
    assert values("good.tsv", "panel") == pytest.approx({q: plain(method[q], others(q, None)) for q in QUERIES})
    assert found["good.tsv", one_out]["raters"]["n"] == 2 and "raters" not in found["good.tsv", "panel"]
    chance = np.mean([plain(order, others("q1", "R2")) for order in itertools.permutations("abcdef")])
    assert found["rater R2", one_out]["queries"][0]["random"] == pytest.approx(chance)


def test_against_labels_a_panel_changes_nothing(good, study):
    options = ("--raters", "ranks.csv", "--metrics", "p@3,ndcg@4")
    panel = rows(good("evaluate", *METHODS, *options, "--rater", "panel", cwd=study).out)
    plain = rows(good("evaluate", *METHODS, *options, cwd=study).out)
    of_labels = [row for row in panel if row["metric"].startswith("precision")]
    assert sorted(map(str, of_labels)) == sorted(str(row) for row in plain if row["metric"].startswith("precision"))


# Agreement and conflicts


def test_agreement(good, study):
    ran = good("evaluate", "good.tsv", "--raters", "said.csv", "--agreement", cwd=study)
    found = {(row["first"], row["second"], row["statistic"]): row for row in rows(ran.out)}
    assert found["R1", "R3", "kendall-tau"]["n"] == "2" and found["R1", "R3", "kendall-tau"]["left_out"] == "1"
    assert found["R1", "R2", "kappa-linear"]["images"] == "21"
    assert found["good.tsv", "R1", "kendall-tau"]["value"] == f"{fmean([1 - 2 / 15, 1 - 2 / 15, 1]):.4f}"
    assert "R1 and R3: 1 of 3 queries left out" in ran.err and "R1 and R2" not in ran.err
    shown = good("evaluate", "--raters", "said.csv", "--agreement", "--format", "table", cwd=study).out
    assert "R1 – R2" in shown and "icc.consistency" in shown
    text = good(
        "evaluate", "--raters", "said.csv", "--agreement", "--metrics", "icc.one-way", "--format", "json", cwd=study
    )
    assert {json.loads(line)["statistic"] for line in text.out.splitlines()} == {"icc.one-way"}


def test_conflicts(good, study):
    ran = good("evaluate", "good.tsv", "--raters", "said.csv", "--conflicts", cwd=study)
    said = [tuple(row.values()) for row in rows(ran.out)]
    assert said == [
        ("q1", "d", "R1", "E", "1", "0", "label"),
        ("q1", "a", "R3", "E", "0", "1", "label"),
        ("q2", "d", "R1", "E", "1", "0", "label"),
        ("q2", "a", "R3", "E", "0", "1", "label"),
        ("q3", "d", "R1", "E", "1", "0", "label"),
    ]
    assert "5 labels of raters contradict the data set, of 2 images: R1 3, R3 2" in ran.err
    one = good(
        "evaluate", "good.tsv", "--raters", "said.csv", "--conflicts", "--rater", "R3", "--format", "json", cwd=study
    )
    assert json.loads(one.out.splitlines()[0]) == {
        **{"seed": None, "set": None, "query": "q1", "id": "a", "rater": "R3", "label": "E"},
        **{"expert": 0, "dataset": 1, "by": "label"},
    }
    assert (
        "dataset"
        in good("evaluate", "good.tsv", "--raters", "said.csv", "--conflicts", "--format", "table", cwd=study).out
    )


def test_severities_count_for_the_label_that_is_named(good, study):
    text = good("evaluate", "good.tsv", "--raters", "graded.csv", "--conflicts", "--label", "E", cwd=study).out
    said = {(row["id"], row["expert"], row["dataset"], row["by"]) for row in rows(text)}
    assert said == {("b", "0", "1", "severity"), ("d", "1", "0", "severity")}


def test_no_conflict_is_an_empty_table(good, study):
    ran = good("evaluate", "good.tsv", "--raters", "said.csv", "--conflicts", "--rater", "R2", cwd=study)
    assert ran.out.count("\n") == 1 and "0 labels of raters contradict the data set, of 0 images\n" in ran.err


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        ("", 2, "expected a FILE to score, or --raters RANKS"),
        ("--raters one.csv", 2, "nothing to evaluate: R1 is the only rater"),
        ("good.tsv --raters one.csv --rater panel", 2, "a panel needs at least two raters, the table has R1"),
        ("good.tsv --raters ranks.csv --rater R7", 2, "unknown rater 'R7'"),
        ("good.tsv --agreement", 2, "--agreement: give the raters' table (--raters RANKS)"),
        ("good.tsv --conflicts", 2, "--conflicts: give the raters' table (--raters RANKS)"),
        ("--raters one.csv --agreement", 2, "agreement needs two raters at least"),
        ("--raters ranks.csv --agreement --metrics kappa", 2, "unknown statistic of agreement 'kappa'"),
        ("--raters ranks.csv --agreement --metrics kappa-linear", 2, "kappa-linear needs severities"),
        ("--raters ranks.csv --agreement --rater R1", 2, "--rater does not go with --agreement"),
        ("good.tsv --raters ranks.csv --agreement --by class", 2, "--by does not go with --agreement"),
        ("good.tsv --raters ranks.csv --agreement --ties average", 2, "--ties does not go with --agreement"),
        ("good.tsv --raters ranks.csv --agreement --qrels q", 2, "--qrels does not go with --agreement"),
        ("good.tsv --raters ranks.csv --agreement --compare all", 2, "--compare does not go with --agreement"),
        ("good.tsv --raters ranks.csv --agreement --over-files", 2, "--over-files does not go with --agreement"),
        ("good.tsv --raters ranks.csv --agreement --format qrels", 2, "--format qrels does not go with --agreement"),
        ("good.tsv --raters said.csv --conflicts --format qrels", 2, "--format qrels does not go with --conflicts"),
        ("good.tsv --raters said.csv --conflicts --allow-leaks", 2, "--allow-leaks does not go with --conflicts"),
        ("good.tsv --rater R1", 2, "--rater: give the raters' table"),
        ("good.tsv bad.tsv good.tsv", 2, "good.tsv: is named twice"),
        ("--raters ranks.csv --agreement --format qrels", 2, "--format qrels does not go with --agreement"),
        ("good.tsv --raters said.csv --conflicts --compare all", 2, "--compare does not go with --conflicts"),
        ("--raters ranks.csv --agreement --conflicts", 2, "--conflicts does not go with --agreement"),
        ("good.tsv --raters said.csv --conflicts --metrics p@1", 2, "--metrics does not go with --conflicts"),
        ("--raters said.csv --conflicts", 2, "--conflicts compares raters with the data set's labels: give a run"),
        ("good.tsv --raters ranks.csv --conflicts", 2, "the raters' labels are none, those of the data set E"),
        ("good.tsv --raters graded.csv --conflicts", 2, "severities count for the label that --label names"),
        (
            "good.tsv --raters said.csv --conflicts --label F",
            2,
            "no image of the data set has the label 'F'; there are: E",
        ),
        ("good.tsv --raters said.csv --conflicts --rater panel", 2, "a panel gives no labels"),
        ("plain.trec --raters said.csv --conflicts", 2, "those of the data set none"),
        ("ranks.csv --raters ranks.csv --agreement", 1, "expected a run table"),
    ],
)
def test_what_does_not_go_is_one_line(cbir, study, words, status, error):
    ran = cbir("evaluate", *words.split(), "-q", cwd=study)
    assert (ran.status, ran.out) == (status, "")
    assert ran.error.startswith("cbir evaluate: ") and error in ran.error


def test_a_table_says_the_whole_name_of_a_rater(good, study, tmp_path):
    (tmp_path / "ranks.csv").write_text((study / "ranks.csv").read_text().replace("R2", "Dr. Roe").replace("R3", "R.3"))
    options = ("--raters", tmp_path / "ranks.csv", "--metrics", "ndcg@4", "--format", "table")
    for groups in ((), ("--by", "class")):
        shown = good("evaluate", "good.tsv", *options, *groups, cwd=study).out
        assert shown.count("rater Dr. Roe") == shown.count("rater R.3") == 1 + bool(groups)
        assert "good.tsv" not in shown


# Raters among methods that are compared or pooled


def test_raters_take_no_part_in_comparisons_unless_named(good, study):
    base = ("evaluate", *METHODS, "--raters", "ranks.csv", "--metrics", "ndcg@4", "-q")
    pairs = [line.split("\t")[:2] for line in good(*base, "--compare", "all", cwd=study).out.splitlines()[1:]]
    assert pairs == [["good.tsv", "bad.tsv"]]
    pairs = [line.split("\t")[:2] for line in good(*base, "--compare", "rater R2", cwd=study).out.splitlines()[1:]]
    assert pairs == [["rater R2", "good.tsv"], ["rater R2", "bad.tsv"]]


def test_raters_do_not_repeat_each_other(good, study, tmp_path):
    for number, name in enumerate(METHODS):
        (tmp_path / f"net-{number}.tsv").write_text((study / name).read_text())
    files = [tmp_path / "net-0.tsv", tmp_path / "net-1.tsv"]
    options = ("--raters", study / "ranks.csv", "--metrics", "ndcg@4", "--over-files", "--format", "json")
    found = {row["file"]: row for row in map(json.loads, good("evaluate", *files, *options).out.splitlines())}
    assert list(found) == ["net-*.tsv", "rater R2", "rater R3"]
    truth = [(q, places(ORDERS["R1", q])) for q in ("q1", "q2")]
    mean = fmean(plain(lists[q], order) for lists in METHODS.values() for q, order in truth)
    assert found["net-*.tsv"]["raters"]["mean"] == pytest.approx(mean)
    assert found["net-*.tsv"]["raters"]["verdict"] == "below"
