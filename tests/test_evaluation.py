import itertools
import json
import logging
import statistics
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

from cbir_cli import metric_names
from cbir_cli import scores as score_text
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.artifacts.run import RunRow, trec
from cbir_cli.catalogues import Catalogues, by_patient
from cbir_cli.classification import classification
from cbir_cli.errors import ShapeError, SourceError, UsageError
from cbir_cli.evaluation import evaluate_run
from cbir_cli.metric_names import Metric, parse_metrics
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.records import MISSING
from cbir_cli.run_labels import RunLabels
from cbir_cli.splits import SplitRow
from cbir_cli.truth import Catalogue, count_classes

# The order of ten images for which nDCG@10 is .7669 and nDCG@4 .6423: rank = 12 - 2 * relevance.
EXAMPLE_RANKS = [5, 1, 10, 2, 8, 3, 9, 4, 7, 6]


def run(query, results, code=1, seed=None, set=None, label="PE"):
    """Rows of one query; ``results`` maps id to label code, nearest first, None where it is missing."""
    stated = {} if code is None else {label: code}
    return [
        RunRow(query, rank, name, float(rank), stated, {} if c is None else {label: c}, seed, set)
        for rank, (name, c) in enumerate(results.items(), start=1)
    ]


def ranks(query, order, rater="R1", seed=None, set=None):
    return [RankRow(query, rater, rank, name, seed, set) for rank, name in enumerate(order, start=1)]


def example(query="q", seed=None, set=None):
    """A run and its expert ranks with the golden nDCG; ranks 1 to 4 are positive."""
    names = [f"i{rank:02d}" for rank in EXAMPLE_RANKS]
    rows = run(query, {name: int(name <= "i04") for name in names}, seed=seed, set=set)
    return rows, ranks(query, sorted(names), seed=seed, set=set)


def by_metric(found):
    return {score.metric: score for score in found}


class TestGraded:
    def test_golden_ndcg_beside_its_random_baseline(self):
        rows, expert = example()
        found = by_metric(evaluate_run(rows, metrics=["ndcg@10", "ndcg@4"], ranks=expert, method="run.tsv"))
        assert found["ndcg@10"].mean == pytest.approx(0.7669, abs=5e-5)
        assert found["ndcg@4"].mean == pytest.approx(0.6423, abs=5e-5)
        assert found["ndcg@10"].random == pytest.approx(0.6981, abs=5e-5)
        assert found["ndcg@4"].random == pytest.approx(0.4413, abs=5e-5)
        assert found["ndcg@4"].against == "rater R1" and found["ndcg@4"].method == "run.tsv"
        assert found["ndcg@4"].values == {(None, None, "q"): found["ndcg@4"].mean}

    def test_order_of_the_lines_does_not_matter_ranks_do(self):
        rows, expert = example()
        assert evaluate_run(rows[::-1], ranks=expert[::-1]) == evaluate_run(rows, ranks=expert)

    def test_trec_rows_do(self, tmp_path):
        from cbir_cli.artifacts.run import read_run

        rows, expert = example(seed=3, set=1)
        (tmp_path / "run.trec").write_text("".join(trec(rows)))
        found = evaluate_run(read_run(tmp_path / "run.trec"), ranks=expert)
        assert [score.metric for score in found] == ["ndcg@4", "ndcg@7", "ndcg@10"]
        assert found[2].mean == pytest.approx(0.7669, abs=5e-5)

    def test_the_first_results_do_for_the_first_places(self):
        rows, expert = example()
        full = evaluate_run(rows, metrics=["ndcg@4"], ranks=expert)[0].mean
        assert evaluate_run(rows[:4], metrics=["ndcg@4"], ranks=expert)[0].mean == full

    def test_lists_cut_off_too_early_are_refused(self):
        rows, expert = example()
        with pytest.raises(UsageError, match="ndcg@7 needs the first 7 results of query 'q', the run has 4 of the 10"):
            evaluate_run(rows[:4], metrics=["ndcg@7"], ranks=expert)

    def test_results_that_were_not_ranked_are_refused(self):
        rows, expert = example()
        with pytest.raises(UsageError, match="rater R1 ranked 9 images, but not the result 'i10'"):
            evaluate_run(rows, metrics=["ndcg@4"], ranks=expert[:-1])

    def test_queries_that_were_not_ranked_are_left_out_and_counted(self, caplog):
        rows, expert = example()
        other = run("other", {"x": 1, "y": 0})
        with caplog.at_level(logging.INFO, logger="cbir"):
            (score,) = evaluate_run(rows + other, metrics=["ndcg@4"], ranks=expert)
        assert (score.n, score.left_out) == (1, 1)
        assert "ndcg@4: 1 of 2 queries left out" in caplog.text
        with pytest.raises(UsageError, match="rater R1 ranked no query of the run"):
            evaluate_run(other, metrics=["ndcg@4"], ranks=expert)

    @pytest.mark.parametrize(
        ("raters", "asked", "used"), [("R2 R1", None, "R1"), ("B A", None, "B"), ("R1 R2", "R2", "R2")]
    )
    def test_which_rater_counts(self, raters, asked, used):
        rows = run("q", {"a": 1, "b": 0})
        orders = {rater: ["a", "b"] if rater == used else ["b", "a"] for rater in raters.split()}
        expert = [row for rater, order in orders.items() for row in ranks("q", order, rater)]
        (score,) = evaluate_run(rows, metrics=["ndcg@2"], ranks=expert, rater=asked)
        assert (score.mean, score.against) == (1.0, f"rater {used}")

    def test_unknown_rater_is_refused(self):
        rows, expert = example()
        with pytest.raises(UsageError, match=r"unknown rater 'R9'.* known: R1"):
            evaluate_run(rows, metrics=["ndcg@4"], ranks=expert, rater="R9")

    def test_ndcg_needs_ranks(self):
        with pytest.raises(UsageError, match="needs expert ranks: give --raters"):
            evaluate_run(example()[0], metrics=["ndcg@4"])

    def test_one_query_may_have_several_catalogues(self):
        rows = run("q", {"a": 1, "b": 0}, seed=1, set=1) + run("q", {"c": 1, "d": 0}, seed=1, set=2)
        expert = ranks("q", ["a", "b"], seed=1, set=1) + ranks("q", ["d", "c"], seed=1, set=2)
        (score,) = evaluate_run(rows, metrics=["ndcg@1"], ranks=expert)
        assert score.values[1, 1, "q"] == 1.0 and score.values[1, 2, "q"] < 1.0

    def test_ranks_without_sets_serve_a_run_with_sets(self):
        rows, _ = example(seed=42, set=1)
        (score,) = evaluate_run(rows, metrics=["ndcg@10"], ranks=example()[1])
        assert score.mean == pytest.approx(0.7669, abs=5e-5)

    def test_ranks_with_sets_do_not_fit_a_run_without(self):
        with pytest.raises(UsageError, match="but the run has none"):
            evaluate_run(example()[0], metrics=["ndcg@4"], ranks=example(seed=42, set=1)[1])


class TestBinary:
    def test_the_papers_precision_is_r_precision(self):
        rows, _ = example()
        (score,) = evaluate_run(rows, metrics=["r-precision"], catalogues={(None, None, "q"): Catalogue(4, 10)})
        assert (score.mean, score.random, score.against) == (0.5, 0.4, "label PE")

    def test_a_negative_query_wants_negative_images(self):
        (score,) = evaluate_run(run("q", {"a": 0, "b": 1, "c": 0}, code=0), metrics=["p@2"])
        assert (score.metric, score.mean) == ("precision@2", 0.5)

    def test_results_without_a_stated_label_are_not_relevant(self):
        (score,) = evaluate_run(run("q", {"a": 1, "b": -1, "c": None, "d": 0}), metrics=["p@4"])
        assert score.mean == 0.25

    @pytest.mark.parametrize("code", [None, -1])
    def test_queries_without_a_stated_label_are_left_out_and_counted(self, code):
        rows = run("q", {"a": 1, "b": 0}) + run("other", {"a": 1, "b": 0}, code=code)
        (score,) = evaluate_run(rows, metrics=["p@1"])
        assert (score.n, score.left_out, score.mean) == (1, 1, 1.0)
        with pytest.raises(UsageError, match="no query of the run is positive or negative for PE"):
            evaluate_run(run("other", {"a": 1}, code=code), metrics=["p@1"])

    def test_queries_with_nothing_to_find_are_left_out_and_counted(self):
        rows = run("q", {"a": 1, "b": 0}) + run("other", {"a": 0, "b": 0})
        known = {(None, None, "q"): Catalogue(1, 2), (None, None, "other"): Catalogue(0, 2)}
        (score,) = evaluate_run(rows, metrics=["r-precision"], catalogues=known)
        assert (score.n, score.left_out, score.mean, score.random) == (1, 1, 1.0, 0.5)
        nothing = evaluate_run(rows[2:], metrics=["r-precision"], catalogues=known)[0]
        assert (nothing.n, nothing.left_out, nothing.mean, nothing.random) == (0, 1, None, None)

    def test_precision_without_a_known_catalogue_has_no_baseline(self, caplog):
        (score,) = evaluate_run(run("q", {"a": 1, "b": 0}), metrics=["p@5"])
        assert (score.mean, score.random) == (0.2, None)
        assert "precision@5: 1 queries have fewer results" in caplog.text

    def test_r_precision_without_a_known_catalogue_is_refused(self):
        with pytest.raises(UsageError, match="number of relevant images in each catalogue: give --items"):
            evaluate_run(run("q", {"a": 1, "b": 0}), metrics=["r-precision"])

    def test_a_run_that_lists_all_that_was_ranked_knows_its_catalogue(self):
        rows, expert = example()
        found = by_metric(evaluate_run(rows, metrics=["r-precision", "p@5"], ranks=expert))
        assert (found["r-precision"].mean, found["r-precision"].random) == (0.5, 0.4)
        assert found["precision@5"].random == 0.4
        with pytest.raises(UsageError, match="give --items"):
            evaluate_run(rows[:6], metrics=["r-precision"], ranks=expert)

    @pytest.mark.parametrize(("metric", "needs"), [("r-precision", 2), ("p@5", 4)])
    def test_lists_cut_off_too_early_are_refused(self, metric, needs):
        known = {(None, None, "q"): Catalogue(2, 4)}
        with pytest.raises(UsageError, match=f"needs the first {needs} results of query 'q', the run has 1 of the 4"):
            evaluate_run(run("q", {"a": 1}), metrics=[metric], catalogues=known)

    @pytest.mark.parametrize("catalogue", [Catalogue(1, 9), Catalogue(4, 4)])
    def test_a_catalogue_that_cannot_be_the_runs_is_refused(self, catalogue):
        with pytest.raises(UsageError, match="do not belong together"):
            evaluate_run(run("q", {"a": 1, "b": 1, "c": 0}), metrics=["p@1"], catalogues={(None, None, "q"): catalogue})

    def test_chance_equals_the_mean_over_all_orders(self):
        results = {"a": 1, "b": 0, "c": 1, "d": 0, "e": 0}
        known = {(None, None, "q"): Catalogue(2, 5)}
        orders = [dict(order) for order in itertools.permutations(results.items())]
        for metric in ("r-precision", "p@3", "p@9"):
            found = [evaluate_run(run("q", order), metrics=[metric], catalogues=known)[0] for order in orders]
            assert statistics.fmean(score.mean for score in found) == pytest.approx(found[0].random)

    def test_label_is_chosen(self):
        rows = [RunRow("q", 1, "a", 1.0, {"PE": 1, "Edema": 0}, {"PE": 1, "Edema": 1})]
        assert evaluate_run(rows, metrics=["p@1"], label="PE")[0].mean == 1.0
        assert evaluate_run(rows, metrics=["p@1"], label="Edema")[0].mean == 0.0
        with pytest.raises(UsageError, match="states several labels, choose one with --label: Edema, PE"):
            evaluate_run(rows, metrics=["p@1"])
        with pytest.raises(UsageError, match=r"unknown label of the run 'pe'"):
            evaluate_run(rows, metrics=["p@1"], label="pe")
        assert RunLabels(RankedLists.of([])).pick() is None


class TestAggregation:
    def test_over_seeds_of_means_over_queries(self):
        # Seed 1: 1, 0, 0 -> 1/3; seed 2: 1 -> 1; seed 3: 0 -> 0.
        rows = [
            *run("a", {"p": 1, "n": 0}, seed=1, set=1),
            *run("b", {"n": 0, "p": 1}, seed=1, set=2),
            *run("c", {"n": 0, "p": 1}, seed=1, set=3),
            *run("a", {"p": 1, "n": 0}, seed=2, set=1),
            *run("a", {"n": 0, "p": 1}, seed=3, set=1),
        ]
        known = {row.key: Catalogue(1, 2) for row in rows}
        known[1, 1, "a"] = Catalogue(1, 4)
        (score,) = evaluate_run(rows, metrics=["p@1"], catalogues=known)
        units = [1 / 3, 1.0, 0.0]
        assert (score.n, score.minimum, score.maximum) == (5, 0.0, 1.0)
        assert score.mean == pytest.approx(statistics.fmean(units))
        assert score.sd == pytest.approx(statistics.stdev(units))
        assert score.random == pytest.approx(statistics.fmean([(0.25 + 0.5 + 0.5) / 3, 0.5, 0.5]))
        assert list(score.values.values()) == [1, 0, 0, 1, 0]

    def test_over_queries_without_seeds(self):
        rows = run("a", {"p": 1, "n": 0}) + run("b", {"n": 0, "p": 1})
        (score,) = evaluate_run(rows, metrics=["p@1"])
        assert (score.mean, score.minimum, score.maximum) == (0.5, 0.0, 1.0)
        assert score.sd == pytest.approx(0.5**0.5)

    def test_one_value_has_no_spread(self):
        assert evaluate_run(run("a", {"p": 1}), metrics=["p@1"])[0].sd is None

    def test_lists_of_different_length_keep_their_order(self):
        rows = run("long", {"a": 1, "b": 0, "c": 1}) + run("short", {"a": 0}) + run("last", {"a": 1, "b": 1, "c": 0})
        (score,) = evaluate_run(rows, metrics=["p@1"])
        assert list(score.values.items()) == [
            ((None, None, "long"), 1),
            ((None, None, "short"), 0),
            ((None, None, "last"), 1),
        ]


class TestDefaults:
    def names(self, *args, **kwargs):
        return [score.metric for score in evaluate_run(*args, **kwargs)]

    def test_all_that_can_be_had(self):
        rows, expert = example()
        assert self.names(rows, ranks=expert) == ["ndcg@4", "ndcg@7", "ndcg@10", "r-precision", "precision@5"]

    def test_labels_only(self):
        rows, _ = example()
        assert self.names(rows) == ["precision@5"]
        assert self.names(rows, catalogues={(None, None, "q"): Catalogue(4, 10)}) == ["r-precision", "precision@5"]

    def test_short_lists(self, caplog):
        rows, expert = example()
        with caplog.at_level(logging.INFO, logger="cbir"):
            assert self.names(rows[:5], ranks=expert) == ["ndcg@4", "precision@5"]
        assert "passed over: ndcg@7 needs the first 7 results" in caplog.text

    def test_several_labels(self):
        rows, expert = example()
        rows = [RunRow(r.query, r.rank, r.id, r.distance, {**r.query_labels, "Edema": 0}, r.labels) for r in rows]
        assert self.names(rows, ranks=expert) == ["ndcg@4", "ndcg@7", "ndcg@10"]
        with pytest.raises(UsageError, match="choose one"):
            evaluate_run(rows)

    def test_nothing_to_go_by(self):
        rows = [RunRow("q", 1, "a", 1.0)]
        with pytest.raises(UsageError, match="nothing to evaluate"):
            evaluate_run(rows)
        with pytest.raises(UsageError, match="states no labels"):
            evaluate_run(rows, metrics=["p@1"])
        with pytest.raises(UsageError, match="holds no results"):
            evaluate_run([], metrics=["p@1"])

    def test_a_contradiction_is_never_passed_over(self):
        rows, expert = example()
        with pytest.raises(UsageError, match="not the result"):
            evaluate_run(rows, ranks=expert[:-1])
        with pytest.raises(UsageError, match="do not belong together"):
            evaluate_run(rows, catalogues={(None, None, "q"): Catalogue(1, 10)})


class TestMetricNames:
    def test_spellings(self):
        parsed = parse_metrics(["ndcg@4", "p@5", " precision@10", "r-precision", "f1", "auroc"])
        assert [str(metric) for metric in parsed] == [
            "ndcg@4",
            "precision@5",
            "precision@10",
            "r-precision",
            "f1",
            "auroc",
        ]
        assert parsed[1] == Metric("metrics/ranking", "precision", 5)
        assert parsed[4] == Metric("metrics/classification", "f1")

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("ndgc@4", "unknown metric 'ndgc': did you mean ndcg"),
            ("", "unknown metric"),
            ("map", "known: .*auroc.*pointing-game"),
            ("ndcg", "expected a cut-off of at least 1, such as ndcg@5"),
            ("ndcg@", "cut-off"),
            ("ndcg@0", "cut-off"),
            ("ndcg@-1", "cut-off"),
            ("p@1.5", "such as precision@5"),
            ("r-precision@5", "takes no cut-off"),
            ("f1@3", "takes no cut-off"),
        ],
    )
    def test_wrong_spellings_are_refused(self, name, words):
        with pytest.raises(UsageError, match=words):
            parse_metrics([name])

    def test_metrics_of_the_other_kind_are_refused(self):
        with pytest.raises(UsageError, match="f1 scores an embedding's logits"):
            evaluate_run(example()[0], metrics=["f1"])
        with pytest.raises(UsageError, match="ndcg@4 scores a run"):
            classification([0.0, 1.0], [0, 1], metrics=["ndcg@4"])
        with pytest.raises(UsageError, match="pointing-game scores saliency maps, not a run"):
            evaluate_run(example()[0], metrics=["pointing-game"])
        with pytest.raises(UsageError, match="relevance-rank scores saliency maps, not an embedding's logits"):
            classification([0.0, 1.0], [0, 1], metrics=["relevance-rank"])

    def test_defaults_are_metrics_of_their_kind(self):
        for folder, names in {
            "metrics/ranking": (*metric_names.GRADED_DEFAULTS, *metric_names.BINARY_DEFAULTS),
            "metrics/classification": metric_names.CLASSIFICATION_DEFAULTS,
            "metrics/explanation": metric_names.EXPLANATION_DEFAULTS,
        }.items():
            assert {metric.folder for metric in parse_metrics(names)} == {folder}


def count(rows, items=None, patients=None, split=None):
    lists = RankedLists.of(rows)
    labels = RunLabels(lists, {"PE": items} if items else None)
    ids = list(items) if items else lists.names
    known = Catalogues(ids, by_patient(ids, patients or {}), split)
    asked, found = labels.classes(["PE"])
    codes = np.full(len(ids), -1)
    codes[lists.results] = found
    found = count_classes(known, lists.keys, asked, labels.known_classes(["PE"], ids) if items else codes, 2)
    assert all(its.relevant in its.sizes and sum(its.sizes) <= its.size for its in found.values())
    return {key: (its.relevant, its.size) for key, its in found.items()}


class TestCountCatalogues:
    items: ClassVar = {"q": 1, "a": 1, "b": 0, "c": 1, "d": -1, "e": MISSING, "f": 0}

    def test_all_items_but_the_query(self):
        rows = run("q", {"a": 1}) + run("outside", {"b": 0}, code=0) + run("unsure", {"a": 1}, code=-1)
        assert count(rows, self.items) == {(None, None, "q"): (2, 6), (None, None, "outside"): (2, 7)}

    def test_the_querys_patient_does_not_count(self):
        patients = {"q": "p1", "a": "p1", "b": "p1", "c": "p2", "outside": "p2", "d": ""}
        rows = run("q", {"c": 1}) + run("outside", {"a": 1}) + run("d", {"a": 1})
        assert count(rows, self.items, patients) == {
            (None, None, "q"): (1, 4),
            (None, None, "outside"): (2, 6),
            (None, None, "d"): (3, 6),
        }

    def test_sets_have_their_own_catalogues(self):
        split = [SplitRow(1, 1, "query", "q"), *(SplitRow(1, 1, "catalogue", name) for name in "abcd")]
        split += [SplitRow(1, 2, "query", "q"), SplitRow(1, 2, "catalogue", "b"), SplitRow(1, 0, "train", "f")]
        rows = run("q", {"a": 1}, seed=1, set=1) + run("q", {"b": 0}, seed=1, set=2)
        assert count(rows, self.items, split=split) == {(1, 1, "q"): (2, 4), (1, 2, "q"): (0, 1)}
        assert count(rows, self.items, {"q": "p", "a": "p"}, split) == {(1, 1, "q"): (1, 3), (1, 2, "q"): (0, 1)}

    def test_a_full_run_and_its_split_table_do_without_items(self):
        split = [SplitRow(1, 1, "query", "q"), SplitRow(1, 1, "catalogue", "a"), SplitRow(1, 1, "catalogue", "b")]
        rows = run("q", {"a": 1, "b": None}, seed=1, set=1)
        assert count(rows, split=split) == {(1, 1, "q"): (1, 2)}
        with pytest.raises(UsageError, match="catalogue image 'b' has: give --items"):
            count(rows[:1], split=split)

    def test_what_is_lacking_is_said(self):
        rows = run("q", {"a": 1}, seed=1, set=1)
        with pytest.raises(UsageError, match=r"\(--split\), but there is none"):
            count(rows, self.items)
        with pytest.raises(UsageError, match="set 1 of seed 1 is not in it"):
            count(rows, self.items, split=[])


class TestClassification:
    def test_f1_and_auroc(self):
        f1, auroc = classification([2.0, -1.0, 0.5, -3.0], [1, 1, 0, 0], method="emb.h5", label="PE")
        assert (f1.metric, f1.mean, f1.random) == ("f1", 0.5, 0.5)
        assert (auroc.metric, auroc.mean, auroc.random) == ("auroc", 0.75, 0.5)
        assert (f1.n, f1.left_out, f1.against, f1.method) == (4, 0, "label PE", "emb.h5")
        assert f1.minimum is f1.maximum is f1.sd is None

    def test_a_logit_of_zero_is_a_probability_of_one_half_and_negative(self):
        assert classification([0.0, 1e-9], [1, 1], metrics=["f1"])[0].mean == pytest.approx(2 / 3)

    def test_large_logits_are_not_tied(self):
        assert classification([900.0, 800.0, 0.0], [1, 0, 0], metrics=["auroc"])[0].mean == 1.0

    def test_what_is_left_out(self, caplog):
        with caplog.at_level(logging.INFO, logger="cbir"):
            (f1,) = classification(
                [1.0, -1.0, 1.0, 1.0, 9.0], [1, 0, -1, MISSING, 0], metrics=["f1"], keep=[1, 1, 1, 1, 0]
            )
        assert (f1.n, f1.left_out, f1.mean) == (2, 3, 1.0)
        assert "2 images scored; left out: 1 not held out, 2 uncertain or without label" in caplog.text

    def test_one_class_only_is_said(self, caplog):
        f1, auroc = classification([1.0, -1.0], [1, 1])
        assert f1.mean == pytest.approx(2 / 3)
        assert auroc.mean is auroc.random is None
        assert "auroc is not defined: 2 positive and 0 negative images" in caplog.text

    def test_no_image_is_left(self):
        with pytest.raises(SourceError, match="no image to score: of 2, 1 are not held out, 1 have no label"):
            classification([1.0, 1.0], [1, -1], keep=[False, True])
        with pytest.raises(SourceError, match="no image to score"):
            classification([], [])

    @pytest.mark.parametrize(
        ("logits", "truth", "keep"),
        [([1.0], [1, 0], None), ([[1.0]], [[1]], None), ([1.0], [1], [True, True]), ([np.nan], [1], None)],
    )
    def test_malformed_input_is_refused(self, logits, truth, keep):
        with pytest.raises(ShapeError, match="expected"):
            classification(logits, truth, keep=keep)


class TestText:
    def scores(self):
        rows, expert = example()
        return evaluate_run(rows, metrics=["ndcg@4", "p@2"], ranks=expert, method="a\tb.tsv")

    def test_tsv(self):
        header, *lines = score_text.tsv(self.scores())
        assert header == "\t".join(score_text.COLUMNS) + "\n"
        assert lines[0] == "a b.tsv\tndcg@4\t\t1\t0.6423\t\t\t0.6423\t0.6423\t\t0.4413\t\n"
        assert len({line.count("\t") for line in [header, *lines]}) == 1

    def test_json_is_unrounded_and_has_every_query(self):
        scores = self.scores()
        first = json.loads(next(score_text.json_lines(scores)))
        assert list(first) == [
            "file",
            "metric",
            *("against", "group", "n", "left_out", "mean", "low", "high", "min", "max", "sd", "random", "p_random"),
            "queries",
        ]
        assert first["mean"] == scores[0].mean and first["sd"] is None and first["file"] == "a\tb.tsv"
        assert first["queries"] == [
            {"seed": None, "set": None, "query": "q", "value": scores[0].mean, "random": scores[0].random}
        ]

    def test_json_of_maps_has_every_image(self):
        values = {(None, None, "a"): 0.5, (None, None, "b"): 0.25}
        score = score_text.summarise(
            values, {}, method="maps.h5", metric="relevance-rank", against="masks m", left_out=1, unit="image"
        )
        assert (score.mean, score.minimum, score.maximum, score.random) == (0.375, 0.25, 0.5, None)
        row = json.loads(next(score_text.json_lines([score])))
        assert "queries" not in row
        assert row["images"] == [{"image": key[2], "value": value, "random": None} for key, value in values.items()]

    def test_undefined_cells_are_empty(self):
        (score,) = classification([1.0], [1], metrics=["auroc"])
        assert score_text.cells(score) == ("", "auroc", "", "1", *[""] * 8)
        assert json.loads(next(score_text.json_lines([score])))["mean"] is None


def test_evaluation_loads_neither_torch_nor_pandas_nor_h5py():
    code = (
        "import sys\n"
        "from cbir_cli.artifacts.run import RunRow\n"
        "from cbir_cli.evaluation import evaluate_run\n"
        "evaluate_run([RunRow('q', 1, 'a', 1.0, {'x': 1}, {'x': 1})], metrics=['p@1'])\n"
        "print(sorted({'torch', 'pandas', 'h5py', 'sklearn', 'scipy'} & set(sys.modules)))\n"
        "from cbir_cli.classification import classification\n"
        "classification([1.0, -1.0], [1, 0])\n"
        "print(sorted({'torch', 'h5py'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
