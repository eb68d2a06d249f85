"""Score tables on the page: what ``cbir evaluate`` wrote, in the cells and boxes that a reader sees."""

import json

import pytest

from cbir_cli.errors import CbirError
from cbir_cli.ranked_lists import Key
from cbir_cli.reports.tables import MARK
from cbir_cli.scores import Score, json_lines, tsv
from cbir_cli.stages.score_tables import Scores


def score(method: str, mean: float, metric: str = "ndcg@4", **more) -> Score:
    values: dict[Key, float] = {(None, None, f"q{i}"): mean + (i - 1) * 0.1 for i in range(3)}
    given = {"against": "rater R1", "n": 3, "left_out": 0, "minimum": mean - 0.1, "maximum": mean + 0.1, "sd": 0.1,
             "random": 0.44, "low": mean - 0.05, "high": mean + 0.05, "p_random": 0.0004, "values": values}  # fmt: skip
    return Score(method=method, metric=metric, mean=mean, **(given | more))


@pytest.fixture
def read(tmp_path):
    def of(*tables, ending=".json", write=json_lines) -> Scores:
        scores = Scores()
        for number, rows in enumerate(tables):
            path = tmp_path / f"{'abc'[number]}{ending}"
            path.write_text("".join(write(rows)))
            scores.read(str(path), path.name)
        return scores

    return of


@pytest.mark.parametrize(("ending", "write"), [(".json", json_lines), (".tsv", tsv)])
def test_all_that_is_known_of_a_score_is_in_the_tables(read, ending, write) -> None:
    rows = [score("x/ig.tsv", 0.7), score("x/cnn.tsv", 0.6, p_random=0.034, low=None, high=None)]
    short, full = read(rows, ending=ending, write=write).tables()
    assert short.columns == ("metric", "ig", "cnn", "random")
    assert short.rows == [("ndcg@4", "0.70 [0.60, 0.80]", "0.60 [0.50, 0.70]", "0.44")]
    assert full.rows == [
        ("ndcg@4", "ig", "3", "0.700 ± 0.100", "0.650 to 0.750", "0.600 to 0.800", "0.440", "< 0.001"),
        ("ndcg@4", "cnn", "3", "0.600 ± 0.100", "–", "0.500 to 0.700", "0.440", "0.034"),
    ]


def test_a_table_of_another_version_without_intervals_is_read(read, tmp_path) -> None:
    path = tmp_path / "old.tsv"
    path.write_text("file\tmetric\tn\tmean\tmin\tmax\tsd\trandom\nig.tsv\tndcg@4\t20\t0.7\t0.6\t0.8\t\t\n")
    scores = Scores()
    scores.read(str(path), "old.tsv")
    assert scores.tables()[1].rows == [("ndcg@4", "ig", "20", "0.700", "–", "0.600 to 0.800", "–", "–")]


def test_groups_have_a_table_of_their_own_and_the_worst_is_marked(read) -> None:
    rows = [score("ig.tsv", 0.7), score("ig.tsv", 0.5, group="sex=F", n=9), score("ig.tsv", 0.8, group="sex=M"),
            score("ig.tsv", 0.3, group="view=AP"), score("ig.tsv", 0.2, "ece", group="sex=F"),
            score("ig.tsv", 0.1, "ece", group="sex=M")]  # fmt: skip
    short, full, sex, view = read(rows).tables()
    assert len(short.rows) == len(full.rows) == 1
    assert (sex.title, sex.columns) == ("Scores by sex", ("metric", "sex", "ig"))
    assert sex.rows == [
        ("ndcg@4", "F", f"{MARK} 0.500 [0.450, 0.550] (n 9)"),
        ("ndcg@4", "M", "0.800 [0.750, 0.850] (n 3)"),
        ("ece", "F", f"{MARK} 0.200 [0.150, 0.250] (n 3)"),  # smaller is better
        ("ece", "M", "0.100 [0.050, 0.150] (n 3)"),
    ]
    assert view.rows == [("ndcg@4", "AP", "0.300 [0.250, 0.350] (n 3)")]  # of one group none is worst
    assert sex.numeric == (False, False, True)


@pytest.mark.parametrize("metric", ["anomaly-fpr95", "false-positive-rate@95sensitivity", "ece@10bins Effusion"])
def test_the_worst_group_of_a_metric_that_is_best_at_zero(read, metric) -> None:
    rows = [score("ig.tsv", 0.2, metric, group="sex=F"), score("ig.tsv", 0.1, metric, group="sex=M")]
    (sex,) = (table for table in read(rows).tables() if table.title == "Scores by sex")
    assert [MARK in row[2] for row in sex.rows] == [True, False]


def test_raters_stand_after_the_methods_and_are_hatched(read) -> None:
    rows = [score("rater Dr. X", 0.9), score("a/ig.tsv", 0.7), score("a/cnn.tsv", 0.6)]
    scores = read(rows)
    assert scores.tables()[0].columns == ("metric", "ig", "cnn", "rater Dr. X", "random")
    ((said, drawing),) = scores.boxes()
    (axes,) = drawing.figure().axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ig", "cnn", "rater Dr. X"]
    assert "raters are hatched" in said and "1.5 IQR" in said
    points = [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]
    assert [round(float(p[1]), 9) for p in points] == [0.7, 0.6, 0.9]


def test_two_conditions_are_panels_of_the_same_methods(read) -> None:
    tables = [[score("ig.tsv", 0.7), score("cnn.tsv", 0.6)], [score("ig.tsv", 0.5, random=0.3), score("cnn.tsv", 0.4)]]
    scores = read(*tables)
    ((_, drawing),) = scores.boxes()
    assert [axes.get_title().split("\n") for axes in drawing.figure().axes] == [
        ["ndcg@4 a", "random (dashed) 0.44"],
        ["ndcg@4 b", "random (dashed) 0.44"],  # of the last method that says so
    ]
    assert [row[0] for row in scores.tables()[0].rows] == ["ndcg@4 a", "ndcg@4 b"]
    assert all([t.get_text() for t in axes.get_xticklabels()] == ["ig", "cnn"] for axes in drawing.figure().axes)


def test_raters_stand_by_name_whatever_they_were_scored_by(read) -> None:
    rows = [
        score("ig.tsv", 0.7),
        score("rater R2", 0.8),
        score("rater R10", 0.8),
        score("rater R1", 0.9, "precision@5"),
    ]
    scores = read(rows)
    short, full = scores.tables()
    assert short.columns == ("metric", "ig", "rater R1", "rater R2", "rater R10", "random")
    assert [row[1] for row in full.rows] == ["ig", "rater R2", "rater R10", "rater R1"]  # metric by metric
    assert [label.get_text() for label in scores.boxes()[0][1].figure().axes[0].get_xticklabels()] == [
        "ig",
        "rater R2",
        "rater R10",
    ]


def test_scores_that_a_second_table_repeats_are_shown_once(read) -> None:
    rows = [score("ig.tsv", 0.7), score("cnn.tsv", 0.6)]
    short, _, by = read(rows, [*rows, score("ig.tsv", 0.5, group="sex=F")]).tables()
    assert [row[0] for row in short.rows] == ["ndcg@4"]
    assert by.rows == [("ndcg@4", "F", "0.500 [0.450, 0.550] (n 3)")]
    other = read(rows, [score("ig.tsv", 0.7), score("cnn.tsv", 0.5)]).tables()[0]  # one method is alike in both
    assert [row[0] for row in other.rows] == ["ndcg@4 a", "ndcg@4 b"]
    assert [row[1] for row in other.rows] == ["0.70 [0.60, 0.80]"] * 2


def test_groups_are_not_in_the_boxes_of_all_queries(read) -> None:
    ((_, drawing),) = read([score("ig.tsv", 0.7), score("ig.tsv", 0.1, group="sex=F")]).boxes()
    points = [line.get_ydata() for line in drawing.figure().axes[0].lines if line.get_marker() == "o"]
    assert [round(float(p[1]), 9) for p in points] == [0.7]


COMPARED = {"a": "/x/ig.tsv", "b": "/x/cnn.tsv", "metric": "ndcg@4", "group": "", "n": 20,
            "difference": 0.12, "low": 0.03, "high": 0.2, "p": 0.01, "p_holm": 0.03}  # fmt: skip


@pytest.mark.parametrize("ending", ["tsv", "json"])
def test_comparisons(tmp_path, ending) -> None:
    rows = [COMPARED, COMPARED | {"b": "rater R2", "p": 0.04, "p_holm": 0.08, "low": "", "high": ""}]
    lines = ["\t".join(COMPARED), *("\t".join(map(str, row.values())) for row in rows)]
    path = tmp_path / f"c.{ending}"
    path.write_text("\n".join(lines if ending == "tsv" else map(json.dumps, rows)) + "\n")
    scores = Scores()
    scores.read(str(path), path.name)
    (table,) = scores.tables()
    assert table.columns == ("metric", "a", "b", "n", "a \N{MINUS SIGN} b", "p", "p (Holm)", "verdict")
    assert table.rows == [
        ("ndcg@4", "ig", "cnn", "20", "0.120 [0.030, 0.200]", "0.010", "0.030", "differ"),
        ("ndcg@4", "ig", "rater R2", "20", "0.120", "0.040", "0.080", "no difference shown"),
    ]
    assert scores and not scores.boxes()


def test_agreement_of_raters(tmp_path) -> None:
    path = tmp_path / "agree.tsv"
    head = "first\tsecond\tstatistic\tn\tleft_out\timages\tvalue\tlow\thigh\tmin\tmax\trandom\n"
    rows = "R1\tDr. X\tkendall-tau\t20\t0\t\t0.7778\t0.6450\t0.9106\t-0.0667\t0.9556\t0.0000\n"
    path.write_text(head + rows + rows.replace("R1", "runs/ig.tsv"))
    scores = Scores()
    scores.read(str(path), path.name)
    (table,) = scores.tables()
    assert table.title == "Agreement: ranks" and list(table.rows[0])[1:] == ["20", "0.78 [0.65, 0.91]"]
    assert [row[0] for row in table.rows] == ["R1 – Dr. X", "ig – Dr. X"]  # a run as the other tables have it


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\tmetric\tdifference\nx\ty\tz\tmuch\n",
        "a\tb\tmetric\tdifference\nx\ty\tz\tnan\n",
        "first\tsecond\tstatistic\tn\tleft_out\timages\tvalue\nR1\tR2\ttau\tmany\t0\t\t0.5\n",
        '{"file": "x", "metric": "m", "mean": 1, "group": 3}\n',
        "file\tmetric\tmean\nx\tm\tinf\n",
        '{"file": "x", "metric": "m", "low": "about 0.3"}\n',
        "metric\n",
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, text) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(text)
    with pytest.raises(CbirError, match=r"bad\.tsv: expected a score table"):
        Scores().read(str(path), "bad.tsv")
