"""The papers' Makefiles: every command line of them parses, and every metric of a paper's table is one of ours."""

import csv
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cbir_cli.cli.main import COMMANDS
from cbir_cli.metric_names import parse_metrics

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SPEC = importlib.util.spec_from_file_location("generate_contexts", ROOT / "man" / "generate.py")
generate = sys.modules[SPEC.name] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)
CONTEXTS = generate.contexts()

PAPERS = sorted(path.parent.name for path in EXAMPLES.glob("*/paper.tsv"))
GOALS = [(name, ()) for name in PAPERS] + [
    ("ct-liver", ("DATA=msd-liver:ct",)),
    ("haq", ("DATA=chexpert:/chexpert",)),
    ("ig-cbir", ("DATA=chexpert:chexpert",)),
    ("ig-cbir", ("DATA=chexpert:/chexpert", "RATERS=ranks.csv")),
    ("real-images", ("ISIC=isic", "KERMANY=kermany", "NIH=nih")),
    ("silva-2022", ("EFFUSION=mimic-cxr-jpg:/mimic", "RANKS_EFFUSION=ranks.csv", "START=cnn.h5", "START_IG=ig.h5")),
    ("x-mir", ("ISIC=isic", "KERMANY=kermany", "COVIDX=covidx")),
    ("x-mir", ("full", "COVIDX=covidx", "INIT=chexnet.h5")),
]


def commands(name, *words):
    """Arguments of each cbir command that make would run, in a work folder that is not there."""
    command = ["make", "-n", "-f", str(EXAMPLES / name / "Makefile"), "WORK=/nowhere/work", "CBIR=cbir", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLES / name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "/%" not in done.stdout  # a pattern that was replaced once only
    for line in done.stdout.replace("\\\n", " ").splitlines():
        if not re.search(r"\bcbir ", line):
            continue
        tokens = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        tokens.whitespace_split = True
        found: list[str] | None = None
        for token in [*tokens, "|"]:
            if set(token) <= set("|&;<>"):
                if found is not None:
                    yield found
                found = None
            elif found is not None:
                found.append(token)
            elif token == "cbir":
                found = []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("name", "words"), GOALS, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_every_command_of_an_example_parses(name, words):
    found = list(commands(name, *words))
    used = {arguments[0] for arguments in found}
    assert {"train", "embed", "index", "evaluate"} <= used <= set(COMMANDS)
    if name in PAPERS:
        assert {"explain", "report"} <= used
    for command, *arguments in found:
        context = CONTEXTS[command].command.make_context(command, arguments)
        if named := context.params.get("metrics"):
            parse_metrics(named.split(","))


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_table_has_metrics_of_ours_and_no_row_twice(name):
    lines = (EXAMPLES / name / "paper.tsv").read_text("utf-8").splitlines()
    rows = list(csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t"))
    assert rows
    assert set(rows[0]) == {"set", "metric", "method", "value"}
    assert all(row["value"] and row["method"] and None not in row for row in rows)
    cells = [(row["set"], row["metric"], row["method"]) for row in rows]
    assert len(set(cells)) == len(cells)
    metrics = {row["metric"] for row in rows} - {"insertion", "deletion"}  # areas under curves, which explain measures
    assert [str(metric) for metric in parse_metrics(sorted(metrics))] == sorted(metrics)
