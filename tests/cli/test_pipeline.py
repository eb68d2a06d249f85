"""Every command on the small chain: what it writes, in which formats, through files and through pipes."""

import json
import os
import shlex
import subprocess
import sys

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts.run import read_run
from cbir_cli.artifacts.split import read_split
from cbir_cli.cli.main import COMMANDS

KINDS = {
    "cnn.h5": "cbir-model",
    "ig.h5": "cbir-model",
    "maps.h5": "cbir-saliency",
    "cnn.emb.h5": "cbir-embedding",
    "ssim.emb.h5": "cbir-embedding",
    "ig.idx.h5": "cbir-index",
    "ex.h5": "cbir-explanation",
}
FACTS = {
    "cnn.h5": {"architecture": "densenet-tiny", "epochs": 2, "task": "pleural", "outputs": ["pleural"]},
    "ig.h5": {"epochs": 1, "saliency": {"method": "deep-taylor", "start": "probability"}},
    "maps.h5": {"maps": 40, "size": 32, "source": "nih:set", "reader": "nih", "unreadable": 0},
    "cnn.emb.h5": {"vectors": 40, "width": 16, "encoder": "cnn", "similarity": "l2", "targets": ["Effusion"]},
    "ssim.emb.h5": {"vectors": 40, "width": 1024, "encoder": "ssim", "similarity": "ssim", "logits": 0},
    "ig.idx.h5": {"vectors": 40, "kind": "exact", "encoder": "ig", "logits": 1},
    "ex.h5": {"queries": 2, "pairs": 4, "maps": 8, "encoder": "ig"},
}


@pytest.fixture
def shell(chain, tmp_path):
    """Run a shell line in the folder of the chain, with ``cbir`` on the path; ``setup`` is Python run before it."""

    def run(line, setup="", cwd=chain, **variables):
        program = f"import sys\n{setup}\nfrom cbir_cli.cli.main import main\nsys.exit(main())\n"
        command = tmp_path / "bin" / "cbir"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(program)} "$@"\n')
        command.chmod(0o755)
        path = f"{command.parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "SLURM_CPUS_PER_TASK": "1", **variables}
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"], cwd=cwd, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.mark.parametrize("name", KINDS)
def test_info(good, chain, name):
    known = json.loads(good("info", name, "--format", "json", cwd=chain).out)
    assert known["file"] == name and known["format"] == KINDS[name]
    for key, value in FACTS[name].items():
        assert (known[key] | value if isinstance(value, dict) else value) == known[key], key
    assert known["history"][-1]["command"] in COMMANDS
    text = good("info", name, cwd=chain).out
    assert text.startswith(f"{name}: {KINDS[name]}\n") and known["fingerprint"] in text


def test_several_files_are_described_and_proved(good, chain):
    lines = good("info", *KINDS, "--format", "json", cwd=chain).out.splitlines()
    assert [json.loads(line)["file"] for line in lines] == list(KINDS)
    names = sorted(name for name in os.listdir(chain) if name.endswith(".h5"))
    lines = good("verify", *names, cwd=chain).out.splitlines()
    assert [line.split(": ok ")[0] for line in lines] == names


def test_the_history_names_every_stage(good, chain):
    known = json.loads(good("info", "ex.h5", "--format", "json", cwd=chain).out)
    commands = [entry["command"] for entry in known["history"]]
    assert commands == ["train", "saliency", "finetune-ig", "embed", "index", "explain"]


def test_training_says_an_epoch_a_line_and_keeps_them(cbir, chain, tmp_path):
    with h5py.File(chain / "cnn.h5") as file:
        epochs = json.loads(file.attrs["epochs"])
        scores = json.loads(file.attrs["scores"])
    assert [e["epoch"] for e in epochs] == [1, 2]
    assert all(np.isfinite(e["loss"]) and 0 <= e["auroc"] <= 1 for e in epochs)
    best = max(epochs, key=lambda e: (e["f1"], e["auroc"]))
    assert scores["best_epoch"] == best["epoch"] and scores["f1"] == best["f1"]


@pytest.mark.parametrize("variant", [[], ["--split", "split.tsv"]])
def test_the_formats_of_a_run_hold_the_same(good, chain, tmp_path, variant):
    runs = {}
    for form in ("tsv", "json", "trec"):
        path = tmp_path / f"run.{form}"
        path.write_bytes(good("query", "ig.idx.h5", "ig.emb.h5", "-k", "3", *variant, "--format", form, cwd=chain).data)
        runs[form] = read_run(path)
    assert runs["tsv"] == runs["json"]
    assert [(r.key, r.rank, r.id, r.distance) for r in runs["trec"]] == [
        (r.key, r.rank, r.id, r.distance) for r in runs["tsv"]
    ]
    assert {r.rank for r in runs["tsv"]} == {1, 2, 3}
    assert all(set(r.query_labels) == set(r.labels) == {"Effusion"} for r in runs["tsv"])


def test_query_finds_the_nearest_by_the_formula(good, chain, tmp_path):
    with h5py.File(chain / "ig.emb.h5") as file:
        vectors = file["X"][()].astype(float)
        ids = [key.decode() for key in file["obs/_index"][()]]
    path = tmp_path / "run.tsv"
    path.write_bytes(good("query", "ig.idx.h5", "ig.emb.h5", "-k", "40", "--include-same", cwd=chain).data)
    for row in read_run(path):
        a, b = vectors[ids.index(row.query)], vectors[ids.index(row.id)]
        assert row.distance == pytest.approx(np.sqrt(((a - b) ** 2).sum()), rel=1e-4, abs=1e-4)
    firsts = [row for row in read_run(path) if row.rank == 1]
    assert all(row.distance == 0 for row in firsts) and len(firsts) == 40


def test_split_makes_catalogues_that_query_keeps_to(chain):
    roles = {}
    for row in read_split(chain / "split.tsv"):
        roles.setdefault((row.seed, row.set, row.role), []).append(row.id)
    assert {(seed, role): len(ids) for (seed, _, role), ids in roles.items()} == {
        (1, "query"): 1,
        (1, "catalogue"): 6,
        (2, "query"): 1,
        (2, "catalogue"): 6,
    }
    for row in read_run(chain / "ig.tsv"):
        assert row.query in roles[row.seed, row.set, "query"]
        assert row.id in roles[row.seed, row.set, "catalogue"]


def test_split_without_catalogues_gives_each_image_its_set(good, chain):
    options = ["--label", "Effusion", "--seeds", "3", "--validation", "0.2", "--test", "0.3"]
    rows = [line.split("\t") for line in good("split", "nih:set", *options, cwd=chain).out.splitlines()[1:]]
    sets = {}
    for seed, number, role, key in rows:
        assert (seed, number) == ("3", "0")
        sets.setdefault(key.split("_")[0], set()).add(role)
    assert len(rows) == 40 and all(len(found) == 1 for found in sets.values())
    assert set.union(*sets.values()) == {"train", "validation", "test"}


def test_evaluate_scores_runs_and_classifiers(good, chain):
    ran = good("evaluate", "cnn.tsv", "ig.tsv", "--raters", "ranks.csv", "--metrics", "ndcg@4,p@1", cwd=chain)
    header, *rows = [line.split("\t") for line in ran.out.splitlines()]
    assert header[:2] == ["file", "metric"]
    runs = [[f, m] for f in ("cnn.tsv", "ig.tsv") for m in ("ndcg@4", "precision@1")]
    assert [row[:2] for row in rows if not row[0].startswith("rater ")] == runs
    assert {"rater R1", "rater R2"} < {row[0] for row in rows}
    values = {(row[0], row[1]): dict(zip(header, row, strict=True)) for row in rows}
    assert all(0 <= float(v["mean"]) <= 1 and 0 < float(v["random"]) < 1 for v in values.values())
    lines = good("evaluate", "ig.tsv", "--raters", "ranks.csv", "--format", "json", cwd=chain).out.splitlines()
    scores = {score["metric"]: score for score in map(json.loads, lines) if score["file"] == "ig.tsv"}
    assert f"{scores['ndcg@4']['mean']:.4f}"[:6] == f"{float(values['ig.tsv', 'ndcg@4']['mean']):.4f}"[:6]
    table = good("evaluate", "ig.tsv", "--raters", "ranks.csv", "--format", "table", cwd=chain).out
    assert "ndcg@4" in table and "random" in table and "\t" not in table


def test_explain_holds_what_a_page_needs(good, chain, tmp_path):
    with h5py.File(chain / "ex.h5") as file:
        assert file["queries/images"].shape == (2, 32, 32)
        assert file["maps"].shape[1:] == (32, 32) and np.isfinite(file["maps"][()]).all()
        assert sorted(file["pairs/rank"][()]) == [1, 1, 2, 2]
        assert set(file["map_on"][()]) == {0, 1}
    page = good("report", "ex.h5", "cnn.h5", "--raters", "ranks.csv", cwd=chain).out
    assert page.startswith("<!DOCTYPE html>") and "esearch use only" in page
    assert "IG" in page and "nothing" not in page.split("<body")[0]
    good("report", "ex.h5", "cnn.h5", "--raters", "ranks.csv", "-o", tmp_path / "page.html", cwd=chain)
    assert (tmp_path / "page.html").read_text() == page


@pytest.mark.parametrize("method", ["none", "occlusion"])
def test_other_ways_to_explain(good, chain, tmp_path, method):
    options = ["--set", "box=16", "--set", "stride=16"] if method == "occlusion" else []
    out = tmp_path / "ex.h5"
    good("explain", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv", "-k", "1", "--method", method, *options, "-o",
         out, cwd=chain)  # fmt: skip
    with h5py.File(out) as file:
        assert file.attrs["method"] == method
        assert set(file["map_on"][()]) == ({1} if method == "occlusion" else set())


def test_ssim_explains_by_its_images_alone(good, chain, tmp_path):
    good("explain", "ssim.idx.h5", "ssim.emb.h5", "--split", "split.tsv", "-o", tmp_path / "ex.h5", cwd=chain)
    with h5py.File(tmp_path / "ex.h5") as file:
        assert file.attrs["method"] == "none" and not len(file["maps"])


PIPED = {
    "index": (["index", "-"], "ig.emb.h5", ["index", "ig.emb.h5"]),
    "embed maps": (["embed", "-m", "cnn.h5", "-"], "maps.h5", ["embed", "-m", "cnn.h5", "maps.h5"]),
    "query": (["query", "ig.idx.h5", "-"], "ig.emb.h5", ["query", "ig.idx.h5", "ig.emb.h5"]),
    "catalogue": (["query", "-", "ig.emb.h5"], "ig.idx.h5", ["query", "ig.idx.h5", "ig.emb.h5"]),
    "split table": (
        ["query", "ig.idx.h5", "ig.emb.h5", "--split", "-"],
        "split.tsv",
        ["query", "ig.idx.h5", "ig.emb.h5", "--split", "split.tsv"],
    ),
    "explain": (["explain", "-", "ig.emb.h5", "-k", "1", "-m", "ig.h5"], "ig.idx.h5",
                ["explain", "ig.idx.h5", "ig.emb.h5", "-k", "1"]),
    "report": (["report"], "ex.h5", ["report", "ex.h5"]),
    "split": (["split", "-", "--label", "Effusion"], "ig.emb.h5", ["split", "ig.emb.h5", "--label", "Effusion"]),
    "raters": (
        ["evaluate", "ig.tsv", "--raters", "-"],
        "ranks.csv",
        ["evaluate", "ig.tsv", "--raters", "ranks.csv"],
    ),
    "items": (
        ["evaluate", "ig.tsv", "--split", "split.tsv", "--items", "-", "--allow-leaks"],
        "ig.idx.h5",
        ["evaluate", "ig.tsv", "--split", "split.tsv", "--items", "ig.idx.h5", "--allow-leaks"],
    ),
    "rank": (["phantom", "set", "--rank", "-"], "split.tsv", ["phantom", "set", "--rank", "split.tsv"]),
}  # fmt: skip


@pytest.mark.parametrize("case", PIPED)
def test_standard_input_is_as_good_as_a_file(cbir, chain, case):
    piped, given, whole = PIPED[case]
    by_pipe = cbir(*piped, stdin=(chain / given).read_bytes(), cwd=chain)
    by_file = cbir(*whole, cwd=chain)
    assert (by_pipe.status, by_file.status) == (0, 0), by_pipe.err + by_file.err
    assert by_pipe.data == by_file.data and by_file.data


def test_description_and_proof_of_a_pipe(good, chain):
    data = (chain / "ig.emb.h5").read_bytes()
    known = json.loads(good("info", "-", "--format", "json", stdin=data).out)
    assert known["file"] == "standard input" and known["vectors"] == 40
    assert good("verify", "-", stdin=data).out.startswith("-: ok ")


def test_a_model_from_a_pipe(good, chain, tmp_path):
    data = good("embed", "-m", "-", "nih:set", stdin=(chain / "cnn.h5").read_bytes(), cwd=chain).data
    (tmp_path / "emb.h5").write_bytes(data)
    with h5py.File(tmp_path / "emb.h5") as piped, h5py.File(chain / "cnn.emb.h5") as whole:
        np.testing.assert_array_equal(piped["X"][()], whole["X"][()])
        assert piped["uns/space"][()] == whole["uns/space"][()]


def test_scores_and_runs_through_pipes(good, chain):
    by_pipe = good("evaluate", "-", stdin=(chain / "ig.tsv").read_bytes(), cwd=chain).out
    by_file = good("evaluate", "ig.tsv", cwd=chain).out
    assert by_pipe.replace("-\t", "ig.tsv\t") == by_file.replace("-\t", "ig.tsv\t")


def test_fine_tuning_from_a_pipe(good, chain, tmp_path):
    arguments = ["--epochs", "0", "-o", "-"]
    by_pipe = good("finetune-ig", "-m", "cnn.h5", "-", *arguments, stdin=(chain / "maps.h5").read_bytes(), cwd=chain)
    by_file = good("finetune-ig", "-m", "cnn.h5", "maps.h5", *arguments, cwd=chain)
    assert by_pipe.data == by_file.data


def test_the_line_of_three_commands_gives_what_the_files_give(shell, good, chain):
    line = "cbir embed -m cnn.h5 nih:set | cbir index - | cbir query - set/images/00000001_000.png -m cnn.h5 -k 5"
    by_files = good("query", "cnn.idx.h5", "set/images/00000001_000.png", "-k", "5", cwd=chain)
    assert shell(line) == by_files.data
    assert by_files.out.count("\n") == 6


def test_process_substitution(shell, good, chain):
    line = "cbir query <(cat cnn.idx.h5) <(cat cnn.emb.h5) -k 2"
    assert shell(line) == good("query", "cnn.idx.h5", "cnn.emb.h5", "-k", "2", cwd=chain).data


def test_output_to_the_standard_devices(shell, chain, phantom):
    assert shell("cbir embed -m cnn.h5 nih:set -o /dev/stdout | cat") == (chain / "cnn.emb.h5").read_bytes()
    before = os.stat("/dev/null")
    shell("cbir embed -m ssim --image-size 16 nih:set -o /dev/null && cbir report ex.h5 -o /dev/null")
    assert os.stat("/dev/null").st_rdev == before.st_rdev


SMALL_PRESET = """
from dataclasses import replace
import cbir_cli.models._weights as weights, cbir_cli.tasks as tasks
load, initial = tasks.load, weights.load_initial
def small(name):
    task = load(name)
    recipe = replace(task.recipe, epochs=1)
    return replace(task, architecture="densenet-tiny", image_size=32, recipe=recipe)
tasks.load = small
weights.load_initial = lambda init, *rest, **more: initial("none" if init == "imagenet" else init, *rest, **more)
"""


def test_two_lines_of_a_script_as_they_stand(shell, phantom, tmp_path):
    """The preset's network and initial weights are replaced by small ones; the command lines are not touched."""
    (tmp_path / "catalogue").symlink_to(phantom / "images")
    shell("cbir train --task pleural", SMALL_PRESET, cwd=tmp_path, CBIR_DATA=str(phantom))
    shell("cbir embed catalogue/ > emb.h5", cwd=tmp_path)
    with h5py.File(tmp_path / "emb.h5") as file:
        assert file.attrs["format"] == "cbir-embedding"
        assert file["X"].shape == (40, 16)
        assert file["uns/model-name"].asstr()[()] == "model.h5"


def test_the_model_may_come_from_the_environment(good, chain, tmp_path):
    ran = good("embed", "nih:set", CBIR_MODEL="cnn.h5", cwd=chain)
    assert ran.data == (chain / "cnn.emb.h5").read_bytes()
    assert "model: cnn.h5\n" in ran.err
    ran = good("embed", "-m", "cnn.h5", CBIR_DATA="nih:set", cwd=chain)
    assert ran.data == (chain / "cnn.emb.h5").read_bytes()


def test_a_query_finds_the_model_of_its_index(good, chain, tmp_path):
    image = chain / "set/images/00000001_000.png"
    beside = good("query", chain / "cnn.idx.h5", image, "-k", "3", cwd=tmp_path)
    assert "model: cnn.h5\n" in beside.err
    named = good("query", chain / "cnn.idx.h5", image, "-k", "3", "-m", chain / "cnn.h5", cwd=tmp_path)
    assert named.data == beside.data


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(cbir, command):
    ran = cbir(command, "--help")
    assert ran.status == 0 and ran.err == ""
    assert ran.out.lstrip().startswith(f"Usage: cbir {command}")
    assert ran.out == cbir("help", command).out


def test_help_and_version(cbir):
    ran = cbir("--help")
    assert ran.status == 0 and all(f"\n  {name} " in ran.out for name in COMMANDS)
    assert cbir().status == 2
    assert cbir("--version").out.startswith("cbir ")
    done = subprocess.run([sys.executable, "-m", "cbir_cli", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == ran.out


def test_quiet_and_verbose(good, chain):
    assert good("query", "cnn.idx.h5", "cnn.emb.h5", "-q", cwd=chain).err == ""
    assert "left out" in good("query", "cnn.idx.h5", "cnn.emb.h5", cwd=chain).err
    assert "left out" in good("query", "cnn.idx.h5", "cnn.emb.h5", "-v", cwd=chain).err
