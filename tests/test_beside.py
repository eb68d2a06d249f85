"""``examples/beside.py``: what a paper states beside what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent / "examples" / "beside.py"
PAPER = """# A comment, with	a tab.
set	metric	method	value
a	p@1	one	0.50 [0.25, 0.75]
a	p@1	two	Fig. 3
a	p@5	one	0.40
b	p@1	one	0.9
"""


def row(file, metric="p@1", mean=0.5, random=0.25, **more):
    return {"file": file, "metric": metric, "mean": mean, "random": random, "group": "", "min": None, "sd": None} | more


@pytest.fixture
def beside(tmp_path):
    """Run the program on a paper's table and scores by name; return the cells of each line."""

    def run(paper, *options, **scores):
        (tmp_path / "paper.tsv").write_text(paper)
        named = []
        for name, rows in scores.items():
            path = tmp_path / f"{name}.json"
            path.write_text("".join(json.dumps(found) + "\n" for found in rows))
            named.append(f"{name.partition('_')[0]}={path}")  # a_1 and a_2 are two files of set a
        command = [sys.executable, str(PROGRAM), *options, str(tmp_path / "paper.tsv"), *named]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        widths = [len(line) - len(line.lstrip()) for line in lines]
        assert set(widths) == {0}
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]

    return run


def test_values_stand_beside_each_other_by_set_metric_and_method(beside):
    found = beside(
        PAPER,
        a=[row("10/one.tsv", min=0.25, max=1.0), row("10/two.tsv", mean=0.125), row("10/one.tsv", "p@5", 0.75)],
        b=[row("one.idx.h5", mean=1.0)],
    )
    assert found == [
        ["set", "metric", "method", "paper", "ours", "random"],
        ["a", "p@1", "one", "0.50 [0.25, 0.75]", "0.50 [0.25, 1.00]", "0.25"],
        ["a", "p@1", "two", "Fig. 3", "0.125", "0.25"],
        ["a", "p@5", "one", "0.40", "0.750", "0.25"],
        ["b", "p@1", "one", "0.9", "1.000", "0.25"],
    ]


def test_what_one_of_the_two_lacks_is_a_dash_and_methods_of_a_metric_stay_together(beside):
    found = beside(PAPER, a=[row("one.tsv", "p@9"), row("three.tsv"), row("one.tsv", random=None)])
    assert found[1:] == [
        ["a", "p@1", "one", "0.50 [0.25, 0.75]", "0.500", "-"],
        ["a", "p@1", "two", "Fig. 3", "-", "-"],
        ["a", "p@1", "three", "-", "0.500", "0.25"],
        ["a", "p@5", "one", "0.40", "-", "-"],
        ["a", "p@9", "one", "-", "0.500", "0.25"],
    ]


def test_a_set_of_which_nothing_was_measured_is_left_out(beside):
    assert {line[0] for line in beside(PAPER, b=[row("one.tsv")])[1:]} == {"b"}
    assert beside(PAPER) == [["metric", "method", "paper", "ours", "random"]]


def test_without_sets_there_is_no_such_column(tmp_path, beside):
    paper = PAPER.replace("\nb\t", "\n\t").replace("\na\t", "\n\t")
    (tmp_path / "scores.json").write_text(json.dumps(row("one.tsv")) + "\n")
    (tmp_path / "paper.tsv").write_text(paper)
    command = [sys.executable, str(PROGRAM), str(tmp_path / "paper.tsv"), str(tmp_path / "scores.json")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].split() == ["metric", "method", "paper", "ours", "random"]
    assert lines[1].split() == ["p@1", "one", "0.9", "0.500", "0.25"]  # stated twice, the last counts


def test_groups_classes_the_other_image_and_scores_without_value_are_left_out(beside):
    rows = [
        row("one.tsv", group="class=x", mean=0.1),
        row("one.h5", mean=0.2, **{"class": "x", "on": "query"}),
        row("one.h5", mean=0.3, **{"class": "all", "on": "result"}),
        row("two.tsv", mean=None),
    ]
    assert beside(PAPER, a=rows) == [["metric", "method", "paper", "ours", "random"]]
    assert beside(PAPER, a=[*rows, row("one.h5", mean=0.4, **{"class": "all", "on": "query"})])[1][4] == "0.400"


def test_the_result_and_a_network_with_fresh_weights(beside):
    rows = [row("x.ex.h5", mean=0.2, on="query"), row("x.ex.h5", mean=0.75, on="result", random_network=0.5)]
    found = beside("set\tmetric\tmethod\tvalue\na\tp@1\tx (random)\t71.0\n", "--on", "result", "--percent", a=rows)
    assert found[1:] == [["a", "p@1", "x (random)", "71.0", "50.0", "25.0"], ["a", "p@1", "x", "-", "75.0", "25.0"]]


def test_percent_has_standard_deviations(beside):
    found = beside(PAPER, "--percent", a=[row("one.tsv", sd=0.0125, min=0.4, max=0.6), row("two.tsv", mean=0.0625)])
    assert [line[4:] for line in found[1:3]] == [["50.0 ± 1.2", "25.0"], ["6.2", "25.0"]]


def test_raters_lose_their_title(beside):
    assert beside(PAPER, a=[row("rater R2")])[3][2] == "R2"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [([], ["0.50 [0.25, 1.00]", "0.25"]), (["--percent"], ["50.0 ± 43.3", "25.0"])],
)
def test_files_of_one_method_are_summed_up_and_the_same_file_counts_once(beside, options, wanted):
    trainings = {"a_1": [row("1/one.tsv", mean=0.25, sd=0.9)], "a_2": [row("2/one.tsv", mean=1.0, random=0.5)]}
    trainings |= {"a_3": [row("3/one.tsv", mean=0.25, random=0.0)], "a_4": [row("2/one.tsv", mean=1.0, random=0.5)]}
    assert beside(PAPER, *options, **trainings)[1][4:] == wanted
