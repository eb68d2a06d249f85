"""``cbir evaluate`` of explanations: intervals, what is left out, masks, labels, pipes, and its tables on a page."""

import dataclasses
import json
import os
import re
import threading

import numpy as np
import pytest
from explained import CLASSES, made, write
from PIL import Image
from scipy import stats

from cbir_cli import registry
from cbir_cli.artifacts import explanation
from cbir_cli.artifacts.items import TEXT, Items


def rows(text):
    """Rows by class, side and metric."""
    return {(row["class"], row["on"], row["metric"]): row for row in map(json.loads, text.splitlines())}


def json_of(good, name, *options, cwd):
    return rows(good("evaluate", name, "--format", "json", *options, cwd=cwd).out)


DRAWN = 1 - np.random.default_rng(8).random((18, 9), np.float32) / 50


def noisy(**more):
    """An artifact whose curves differ from query to query, as those of its baselines do."""
    one = made("occlusion", queries=9, k=2, **more)
    rng = np.random.default_rng(5)

    def curves(stored):
        drawn = {
            kind: np.clip(getattr(stored, kind) + 0.2 * rng.standard_normal((18, 1)), 0, 1).astype(np.float32)
            for kind in ("insertion", "deletion")
        }
        return dataclasses.replace(stored, **drawn)

    measures = curves(one.measures)
    baselines = {name: curves(getattr(measures, name)) for name in ("random_map", "random_model")}
    return dataclasses.replace(one, measures=dataclasses.replace(measures, **baselines))


# --- means and intervals ----------------------------------------------------------------------------------------------


def test_intervals_are_t_intervals_of_the_means_of_queries_and_of_their_differences(good, tmp_path):
    one = noisy()
    write(tmp_path, "a.h5", one)
    found = json_of(good, "a.h5", cwd=tmp_path)

    def areas(curves, kind):
        area = np.trapezoid(getattr(curves, kind).astype(float), dx=1 / 8, axis=1)
        return area.reshape(9, 2).mean(axis=1)  # two results a query

    for kind in ("insertion", "deletion"):
        own, random, network = (
            areas(one, kind) for one in (one.measures, one.measures.random_map, one.measures.random_model)
        )
        row = found["all", "result", kind]
        assert (row["n"], row["left_out"], row["maps_left_out"]) == (9, 0, 0)
        for names, values in (
            (("mean", "low", "high"), own),
            (("difference", "difference_low", "difference_high"), own - random),
            (("network_difference", "network_difference_low", "network_difference_high"), own - network),
        ):
            theirs = stats.ttest_1samp(values, 0).confidence_interval()
            assert [row[name] for name in names] == pytest.approx([values.mean(), theirs.low, theirs.high], abs=1e-6)
        assert (row["random"], row["random_network"]) == pytest.approx((random.mean(), network.mean()), abs=1e-6)
    of_class = found["covid", "result", "insertion"]
    assert of_class["n"] == 3 and of_class["low"] is of_class["difference_high"] is None


def verdicts(html):
    """What a page says of all queries: against the random map, and the random network."""
    row = re.search(r'<th scope="row">occlusion</th><td[^>]*>all</td>.*?</tr>', html)[0]
    return re.findall(r"<td[^>]*>([^<]*)</td>", row)[1:3]


def test_judged_in_one_of_two(good, tmp_path):
    """Maps that are better in insertion alone are not called better."""
    one = made("occlusion", queries=7)
    random = dataclasses.replace(one.measures.random_map, deletion=one.measures.deletion * DRAWN[:14])
    write(tmp_path, "a.h5", dataclasses.replace(one, measures=dataclasses.replace(one.measures, random_map=random)))
    assert verdicts(good("report", "a.h5", cwd=tmp_path).out) == ["△ better in insertion only", "better"]


def test_both_baselines_are_judged_alike(good, tmp_path):
    """Against the random network, too, a difference of the means alone is not enough."""
    one = noisy(gain=0.05)
    measures = dataclasses.replace(one.measures, deletion=None)
    for name in ("random_map", "random_model"):
        measures = dataclasses.replace(measures, **{name: dataclasses.replace(getattr(measures, name), deletion=None)})
    write(tmp_path, "a.h5", dataclasses.replace(one, measures=measures))
    row = json_of(good, "a.h5", cwd=tmp_path)["all", "result", "insertion"]
    assert row["network_difference_low"] < 0 < row["network_difference"] and row["difference_low"] < 0
    assert verdicts(good("report", "a.h5", cwd=tmp_path).out) == ["△ no better", "△ no better"]
    sure = dataclasses.replace(measures.random_model, insertion=measures.insertion * DRAWN)
    write(tmp_path, "a.h5", dataclasses.replace(one, measures=dataclasses.replace(measures, random_model=sure)))
    assert verdicts(good("report", "a.h5", cwd=tmp_path).out) == ["△ no better", "better"]
    bare = dataclasses.replace(measures, random_model=explanation.Curves())
    write(tmp_path, "a.h5", dataclasses.replace(one, measures=bare))
    assert verdicts(good("report", "a.h5", cwd=tmp_path).out) == ["△ no better", "–"]


def test_zero_maps_are_left_out_of_what_is_not_defined_for_them(good, tmp_path):
    """Query 0 has zero maps alone, query 1 one of two: areas and pointing game count them, shares do not."""
    one = made("occlusion", queries=7, k=2)
    maps = one.maps.copy()
    maps[[0, 1, 3]] = 0
    write(tmp_path, "a.h5", dataclasses.replace(one, maps=maps))
    ran = good("evaluate", "a.h5", "--format", "json", cwd=tmp_path)
    found = rows(ran.out)
    for metric in ("sparseness", "border-mass", "border-mass,part=corners"):
        row = found["all", "result", metric]
        assert (row["n"], row["left_out"], row["maps_left_out"]) == (6, 1, 3)
        assert [query["query"] for query in row["queries"]] == [f"q{i:03d}" for i in range(1, 7)]
        assert found["covid", "result", metric]["left_out"] == 1 and found["normal", "result", metric]["left_out"] == 0
    assert found["all", "result", "insertion"]["n"] == 7 and found["all", "result", "insertion"]["maps_left_out"] == 0
    assert ran.error == (
        "a.h5: left out on result: queries 1, maps 3 (sparseness, border-mass, border-mass,part=corners)"
    )
    shown = good("evaluate", "a.h5", "--format", "table", cwd=tmp_path).out
    assert "left out  maps left out" in shown
    line = next(line for line in good("evaluate", "a.h5", cwd=tmp_path).out.splitlines() if "sparseness" in line)
    assert line.split("\t")[5:8] == ["6", "1", "3"]
    html = good("report", "a.h5", cwd=tmp_path).out
    assert "maps without relevance" in html and "map is zero everywhere" in html


def test_nothing_but_zero_maps(good, tmp_path):
    one = made("occlusion", queries=7)
    write(tmp_path, "a.h5", dataclasses.replace(one, maps=np.zeros_like(one.maps)))
    row = json_of(good, "a.h5", cwd=tmp_path)["all", "result", "sparseness"]
    assert (row["n"], row["left_out"], row["maps_left_out"], row["mean"]) == (0, 7, 14, None)
    good("report", "a.h5", "-o", "page.html", cwd=tmp_path)


def test_a_map_that_is_not_finite_is_refused(cbir, tmp_path):
    one = made("occlusion")
    maps = one.maps.copy()
    maps[2, 3, 3] = np.nan
    write(tmp_path, "a.h5", dataclasses.replace(one, maps=maps))
    ran = cbir("evaluate", "a.h5", cwd=tmp_path)
    assert (ran.status, ran.error) == (1, "cbir evaluate: a.h5: damaged: a map is not finite")


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def masked(tmp_path):
    """Write an artifact of one query with two results, and the masks of the first of them."""
    one = made("occlusion", queries=1, k=2)

    def masks(*lesions, ending="png"):
        lines = ["path,id,mask"]
        for key, lesion in zip(one.results.ids, lesions, strict=False):
            Image.fromarray(np.asarray(lesion, np.uint8) * 255).save(tmp_path / f"{key}.{ending}")
            lines.append(f"{key}.{ending},{key},{key}.{ending}")
        (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
        seen = np.array(["train", "test"])
        columns = {name: seen if name == "seen" else one.results[name] for name in one.results}
        results = Items(one.results.ids, columns, "")
        write(tmp_path, "a.h5", dataclasses.replace(one, results=results))

    return masks


WHOLE, NOTHING = np.ones((16, 16), bool), np.zeros((16, 16), bool)


def test_what_masks_leave_out_is_said(good, masked, tmp_path):
    masked(WHOLE, NOTHING)
    ran = good("evaluate", "a.h5", "--masks", "m.csv", "--metrics", "relevance-rank", "--format", "json", cwd=tmp_path)
    assert ran.err.splitlines()[-2:] == [
        "a.h5: 1 of 2 images scored, 1 of them of patients that the network was trained or selected on; left out: 0 "
        "without a mask, 1 with an empty one",
        "a.h5: left out on result: queries 0, maps 1 (relevance-rank)",
    ]
    (row,) = [row for (group, *_), row in rows(ran.out).items() if group == "all"]
    assert (row["mean"], row["random"], row["n"], row["maps_left_out"]) == (1, 1, 1, 1)
    masked(WHOLE)
    ran = good("evaluate", "a.h5", "--masks", "m.csv", "--metrics", "relevance-rank", cwd=tmp_path)
    assert "left out: 1 without a mask, 0 with an empty one" in ran.err


def test_masks_that_are_all_empty_are_an_error(cbir, masked, tmp_path):
    masked(NOTHING, NOTHING)
    ran = cbir("evaluate", "a.h5", "--masks", "m.csv", "-q", cwd=tmp_path)
    assert (ran.status, ran.data, ran.error) == (1, b"", "cbir evaluate: a.h5: all 2 masks are empty")


def test_masks_as_jpeg_are_warned_of(good, masked, tmp_path):
    masked(WHOLE, WHOLE, ending="jpg")
    assert "warning: 2 masks are JPEG" in good("evaluate", "a.h5", "--masks", "m.csv", cwd=tmp_path).err


@pytest.mark.parametrize("setting", ["width=2", "sign=x", "tolerance=-1", "tolerance=nan"])
def test_wrong_parameters_are_refused_whatever_the_masks_hold(cbir, masked, tmp_path, setting):
    masked(NOTHING, NOTHING)
    for masks in ("m.csv", "gone"):
        ran = cbir("evaluate", "a.h5", "--masks", masks, "--set", setting, "-q", cwd=tmp_path)
        assert ran.status == 2 and ("expected a " in ran.error or "known: positive, absolute" in ran.error)


# --- labels -----------------------------------------------------------------------------------------------------------


def unlabelled(one):
    """The same artifact with queries of which nothing is known, as a new patient's image."""
    columns = {name: one.queries[name] for name in (*TEXT, "age")}
    return dataclasses.replace(one, queries=Items(one.queries.ids, columns, ""))


def test_a_label_that_only_results_have(good, cbir, tmp_path):
    write(tmp_path, "a.h5", unlabelled(made("occlusion")))
    html = good("report", "a.h5", "--label", "covid", cwd=tmp_path).out
    assert "not compared" in html and "no covid" in html
    found = json_of(good, "a.h5", "--label", "covid", cwd=tmp_path)
    assert {group for group, *_ in found} == {"all"}
    for command in ("report", "evaluate"):
        ran = cbir(command, "a.h5", "--label", "covit", cwd=tmp_path)
        assert ran.status == 2
        assert ran.error == f"cbir {command}: unknown label 'covit': did you mean covid? known: {', '.join(CLASSES)}"


def test_without_a_task_all_labels_tell_classes_apart(good, tmp_path):
    one = dataclasses.replace(made("occlusion"), targets=[])
    write(tmp_path, "a.h5", one)
    assert {group for group, *_ in json_of(good, "a.h5", cwd=tmp_path)} == {"all", *CLASSES}
    html = good("report", "a.h5", cwd=tmp_path).out
    assert "same label" in html and "label not known" not in html
    one = dataclasses.replace(one, targets=["covid"])
    write(tmp_path, "a.h5", one)
    assert {group for group, *_ in json_of(good, "a.h5", cwd=tmp_path)} == {"all", "covid", "no covid"}
    named = json_of(good, "a.h5", "--label", "normal", cwd=tmp_path)
    assert {group for group, *_ in named} == {"all", "normal", "no normal"}


# --- pipes ------------------------------------------------------------------------------------------------------------


def through_a_named_pipe(path, data):
    """Write to a named pipe as a shell's <(...) does, once somebody reads."""
    os.mkfifo(path)
    threading.Thread(target=lambda: path.write_bytes(data), daemon=True).start()
    return path.name


def test_an_explanation_from_a_pipe(good, cbir, tmp_path):
    data = write(tmp_path, "a.h5", made("occlusion")).read_bytes()
    lines = good("evaluate", "a.h5", cwd=tmp_path).out
    piped = good("evaluate", "-", stdin=data, cwd=tmp_path).out
    assert piped == lines.replace("a.h5", "standard input") and lines.count("a.h5") > 10
    name = through_a_named_pipe(tmp_path / "pipe", data)
    assert good("evaluate", name, cwd=tmp_path).out == lines.replace("a.h5", "pipe")
    both = good("evaluate", "a.h5", "-", stdin=data, cwd=tmp_path).out
    assert both.splitlines()[1:] == [*lines.splitlines()[1:], *piped.splitlines()[1:]]
    ran = cbir("evaluate", "-", stdin=b"", cwd=tmp_path)
    assert ran.error == "cbir evaluate: standard input: empty; did the command before it fail?"


def test_a_page_of_pipes(good, cbir, tmp_path):
    data = write(tmp_path, "a.h5", made("occlusion")).read_bytes()
    page = good("report", "a.h5", cwd=tmp_path).data
    name = through_a_named_pipe(tmp_path / "pipe", data)
    assert good("report", name, cwd=tmp_path).data == page
    scores = good("evaluate", "a.h5", cwd=tmp_path).data
    (tmp_path / "s.tsv").write_bytes(scores)
    assert good("report", "-", stdin=scores).data == good("report", "s.tsv", cwd=tmp_path).data
    error = cbir("report", "-", stdin=b"words\n").error
    assert error.startswith("cbir report: standard input: expected a score table of cbir evaluate")


def test_other_files_from_a_pipe(good, cbir, chain, tmp_path):
    data = (chain / "cnn.emb.h5").read_bytes()
    error = cbir("evaluate", "cnn.emb.h5", cwd=chain).error  # which only its rows and labels can tell
    assert error == "cbir evaluate: cnn.emb.h5: no image to score: of 40, 40 are not held out, 0 have no label"
    assert cbir("evaluate", "-", stdin=data).error == error.replace("cnn.emb.h5", "-")
    name = through_a_named_pipe(tmp_path / "emb", data)
    assert cbir("evaluate", name, cwd=tmp_path).error == error.replace("cnn.emb.h5", "emb")
    run, ranks = (chain / "ig.tsv").read_bytes(), chain / "ranks.csv"
    lines = good("evaluate", "ig.tsv", "--raters", ranks, cwd=chain).out
    assert good("evaluate", "-", "--raters", ranks, stdin=run).out == lines.replace("ig.tsv", "-")
    name = through_a_named_pipe(tmp_path / "run", run)
    assert good("evaluate", name, "--raters", ranks, cwd=tmp_path).out == lines.replace("ig.tsv", "run")


def test_a_damaged_line_from_a_pipe_is_named_by_it(cbir, tmp_path):
    assert cbir("evaluate", "-", stdin=b"query\trank\n").error.startswith("cbir evaluate: stdin, line 1: ")
    name = through_a_named_pipe(tmp_path / "pipe", b"nothing\n")
    assert cbir("evaluate", name, cwd=tmp_path).error.startswith("cbir evaluate: pipe: expected a run table")


# --- its tables on a page ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tsv", "json"])
def test_a_page_of_what_was_evaluated(good, tmp_path, form):
    write(tmp_path, "a.h5", noisy(lost=True))
    write(tmp_path, "b.h5", made("relax", queries=9))
    (tmp_path / "s").write_text(good("evaluate", "a.h5", "b.h5", "-q", "--format", form, cwd=tmp_path).out)
    html = good("report", "s", cwd=tmp_path).out
    shown = good("evaluate", "a.h5", "b.h5", "-q", "--format", "table", cwd=tmp_path).out
    cells = [cell.strip() for line in shown.splitlines() for cell in line.split("  ") if cell.strip()]
    numbers = [cell for cell in cells if "[" in cell or cell.startswith("0.")]
    assert len(numbers) > 40 and all(f">{number}</td>" in html for number in numbers)
    assert "Measures of the maps" in html and "Randomised layers" in html and "mean - random network" in html


def test_other_scores_stand_beside_them(good, chain, tmp_path):
    write(tmp_path, "a.h5", made("occlusion"))
    (tmp_path / "a.tsv").write_text(good("evaluate", "a.h5", cwd=tmp_path).out)
    (tmp_path / "e.tsv").write_text(good("evaluate", "ig.tsv", "--raters", "ranks.csv", cwd=chain).out)
    html = good("report", "a.tsv", "e.tsv", cwd=tmp_path).out
    assert (
        "<caption>Scores</caption>" in html and "ndcg@4" in html and "<caption>Measures of the maps</caption>" in html
    )


@pytest.mark.parametrize(
    ("what", "instead"),
    [("0\\.", "x."), ("\tn\t", "\tcount\t"), ("result\tinsertion", "result"), ("\t0\\.\\d+", "\tnan")],
    ids=["no number", "no column", "no cell", "not finite"],
)
def test_a_damaged_table_is_refused(good, cbir, tmp_path, what, instead):
    write(tmp_path, "a.h5", made("occlusion"))
    text, count = re.subn(what, instead, good("evaluate", "a.h5", cwd=tmp_path).out, count=1)
    (tmp_path / "s.tsv").write_text(text)
    ran = cbir("report", "s.tsv", cwd=tmp_path)
    assert (ran.status, ran.data, count) == (1, b"", 1)
    assert ran.error.startswith("cbir report: s.tsv: expected a score table of cbir evaluate")


# --- what a method says of its maps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", registry.names("similarity"))
def test_the_page_says_what_the_maps_of_each_method_mean(good, tmp_path, method):
    says = registry.load("similarity", method).SAYS
    assert says[0].isupper() and says.endswith(".") and len(says) > 30
    write(tmp_path, "a.h5", made(method))
    assert f"Maps by {method}: {says}" in good("report", "a.h5", cwd=tmp_path).out


def test_the_page_names_the_saliency_method_of_an_ig_model_if_the_file_does(good, tmp_path):
    one = dataclasses.replace(made("ig"), parameters={})
    past = [{"command": "saliency", "inputs": {}, "parameters": {"method": "gradient"}}]
    explanation.write(str(tmp_path / "a.h5"), one, history=past)
    html = good("report", "a.h5", cwd=tmp_path).out
    assert "ig: saliency method gradient." in html and "Deep Taylor" not in html and "deep-taylor" not in html
    explanation.write(str(tmp_path / "a.h5"), one, history=[])
    html = good("report", "a.h5", cwd=tmp_path).out
    assert "saliency method" not in html and "Deep Taylor" not in html
