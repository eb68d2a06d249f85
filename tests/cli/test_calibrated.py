"""``cbir query --probability`` and ``--abstain``: what a calibrated index says of an answer."""

import json

import calibrated
import numpy as np
import pytest

from cbir_cli.artifacts import files
from cbir_cli.artifacts import index as indexes
from cbir_cli.artifacts.run import read_run


@pytest.fixture(scope="module")
def made(tmp_path_factory, good):
    """An index with and without calibration, and queries of which the last six are of a class that it does not have."""
    folder = tmp_path_factory.mktemp("calibrated")
    emb = calibrated.write(folder / "emb.h5", [("normal", 12), ("Effusion", 9)])
    calibrated.write(folder / "new.h5", [("normal", 3), ("Effusion", 3), ("covid", 3)], first=500, seed=5, source="new")
    good("index", emb, "-o", folder / "plain.h5")
    good("index", emb, "--calibrate", "Effusion", "-o", folder / "idx.h5")
    return folder


def calibration(folder):
    with files.open_artifact(str(folder / "idx.h5")) as artifact:
        return indexes.read(artifact).calibration


STRANGE = [f"new/{number}" for number in range(512, 518)]


def test_nothing_changes_for_who_does_not_ask(made, good):
    plain = good("query", "plain.h5", "new.h5", "--format", "tsv", cwd=made)
    found = good("query", "idx.h5", "new.h5", "--format", "tsv", cwd=made)
    assert found.data == plain.data and "unlike" not in plain.err
    said = [line for line in found.err.splitlines() if "unlike anything" in line]
    assert said[:-1] == [line for line in said if line.startswith("warning: query 'new/51")] and len(said) == 6
    limit = calibration(made).nearest[-1]  # of 42 distances the one at place ceil(43 * .95) = 41
    assert said[-1] == "warning: 6 queries are unlike anything in the catalogue"
    assert "of the catalogue's own images 95 % have one within" in said[0]
    assert f"{calibration(made).nearest[40]:.4g}" == said[0].split()[-1] and limit > calibration(made).nearest[40]


def test_probability_is_that_of_the_distance(made, good, tmp_path):
    rows = {}
    for kind in ("tsv", "json"):
        (tmp_path / kind).write_bytes(
            good("query", "idx.h5", "new.h5", "--probability", "--format", kind, cwd=made).data
        )
        rows[kind] = read_run(tmp_path / kind)
    stored = calibration(made)
    assert rows["tsv"][0].probability is not None and len(rows["tsv"]) == 180
    for row, other in zip(rows["tsv"], rows["json"], strict=True):
        expected = np.interp(row.distance, stored.distance, stored.probability)
        assert row.probability == other.probability == pytest.approx(expected, abs=5.1e-5)
        assert other.unlike == (row.query in STRANGE) and not row.unlike
    header = (tmp_path / "tsv").read_text().splitlines()[0].split("\t")
    assert header == ["query", "rank", "id", "distance", "query_labels", "labels", "probability"]
    table = good("query", "idx.h5", "new.h5", "-k", "1", "--probability", "--format", "table", cwd=made).out
    assert table.split()[:6] == ["query", "rank", "distance", "probability", "id", "labels"]


def test_a_run_with_probabilities_is_evaluated(made, good, tmp_path):
    for kind in ("tsv", "json"):
        run = tmp_path / f"run.{kind}"
        scores = []
        for options in ((), ("--probability",)):
            run.write_bytes(good("query", "idx.h5", "new.h5", *options, "--format", kind, cwd=made).data)
            scores.append(good("evaluate", run, "--label", "Effusion", "--metrics", "p@5", "--format", "tsv").out)
        assert scores[0] == scores[1]


def test_who_abstains_lists_nothing(made, good):
    every = good("query", "idx.h5", "new.h5", "-k", "3", "--format", "tsv", cwd=made).out.splitlines()
    found = good("query", "idx.h5", "new.h5", "-k", "3", "--abstain", "--format", "tsv", cwd=made)
    assert found.out.splitlines() == [line for line in every if line.split("\t")[0] not in STRANGE]
    assert "warning: abstained: no results are listed for 6 of 18 queries\n" in found.err
    ask = ("query", "idx.h5", "new.h5", "--abstain", "--format", "tsv", "--set")
    assert len(good(*ask, "quantile=0.2", cwd=made).out.splitlines()) < 60
    assert len(good(*ask, "quantile=1", cwd=made).out.splitlines()) == 121


@pytest.mark.parametrize(
    "options",
    [
        ("--where", "`label:Effusion` == 0"),
        ("--max-distance", "0.1"),
        ("--diverse", "1"),
        ("--include-same",),
        ("-k", "1"),
    ],
    ids=" ".join,
)
def test_filters_make_no_query_strange(made, good, options):
    """Whether a query is known depends on the whole catalogue, not on what of it is listed."""
    if options[0] == "--where":
        options = ("--where", "label:Effusion == 0")
    said = good("query", "idx.h5", "new.h5", *options, "--format", "tsv", cwd=made).err
    assert [key for key in STRANGE if f"query '{key}' is unlike" in said] == STRANGE[:5]
    assert "warning: 6 queries are unlike anything in the catalogue" in said


def test_images_of_the_catalogue_are_asked_without_themselves(made, good):
    said = good("query", "idx.h5", "idx.h5", "--include-same", "-k", "1", "--format", "tsv", cwd=made).err
    count = sum("is unlike anything" in line for line in said.splitlines())
    assert count == 1  # of 42 images one is beyond the 41st distance


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plain.h5", "new.h5", "--probability"], "--probability: plain.h5 is not calibrated: cbir index plain.h5 "),
        (["plain.h5", "new.h5", "--abstain"], "--abstain: plain.h5 is not calibrated: cbir index plain.h5 --calibrate"),
        (["plain.h5", "new.h5", "--set", "quantile=.5"], "--set quantile=: plain.h5 is not calibrated"),
        (["idx.h5", "new.h5", "--set", "quantile=1.5"], "quantile=1.5: expected more than 0 and at most 1"),
        (["idx.h5", "new.h5", "--set", "quantile=nan"], "quantile=nan: expected more than 0"),
        (["idx.h5", "new.h5", "--probability", "--format", "trec"], "--probability does not go with --format trec"),
        (["idx.h5", "new.h5", "--probability", "--with", "plain.h5"], "--probability does not go with --with"),
        (["idx.h5", "new.h5", "--abstain", "--with", "plain.h5"], "--abstain does not go with --with"),
        (["idx.h5", "new.h5", "--probability", "--like", "ward/000"], "--probability does not go with --like"),
        (["new.h5", "--abstain", "--uri", "http://127.0.0.1:1"], "--abstain does not go with --uri"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_does_not_go_together(made, cbir, arguments, said):
    ran = cbir("query", *arguments, cwd=made)
    assert ran.status == 2 and ran.data == b"" and ran.error.startswith(f"cbir query: {said}")


@pytest.mark.parametrize("value", ["1.1", "-0.1", "x", "nan", ""])
def test_a_run_with_another_probability_is_refused(tmp_path, cbir, value):
    run = tmp_path / "run.tsv"
    run.write_text(f"query\trank\tid\tdistance\tquery_labels\tlabels\tprobability\nq\t1\ta\t1\tE=1\tE=1\t{value}\n")
    ran = cbir("evaluate", run)
    assert ran.status == 1 and "run.tsv, line 2:" in ran.error
    if value not in ("x", "", "nan"):
        row = {"query": "q", "rank": 1, "id": "a", "distance": 1, "query_labels": {}, "labels": {}}
        for more in ({"probability": float(value), "unlike": False}, {"probability": 0.5, "unlike": 1}):
            run.write_text(json.dumps(row | more) + "\n")
            assert "line 1" in cbir("evaluate", run).error


def test_a_calibrated_answer_needs_no_heavy_library(made, spawn):
    look = (
        "import atexit\n"
        "heavy = 'torch', 'sklearn', 'scipy', 'pandas', 'onnxruntime', 'PIL'\n"
        "atexit.register(lambda: print([m for m in heavy if m in sys.modules], file=sys.stderr))"
    )
    ran = spawn("query", "idx.h5", "new.h5", "--probability", "--abstain", "--format", "json", code=look, cwd=made)
    assert ran.status == 0 and ran.err.splitlines()[-1] == "[]"


def test_a_catalogue_of_one_class_is_warned_of(tmp_path, good):
    calibrated.write(tmp_path / "emb.h5", [("normal", 21)])
    said = good("index", tmp_path / "emb.h5", "--calibrate", "Effusion", "-o", tmp_path / "idx.h5").err
    assert "are alike in it: it says nothing" in said
    calibrated.write(tmp_path / "both.h5", [("normal", 12), ("Effusion", 9)])
    other = good("index", tmp_path / "both.h5", "--calibrate", "Effusion", "-o", tmp_path / "idx.h5").err
    assert "says nothing" not in other
