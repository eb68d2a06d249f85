"""Scores as text: several labels in one table keep their own rows."""

import json

from cbir_cli import scores
from cbir_cli.cli import terminal
from cbir_cli.stages.report import report_of

LABELS = {"Edema": 0.81, "Pleural Effusion": 0.62}


def of(label, mean, *, file="emb.h5", metric="auroc"):
    return scores.Score(file, metric, f"label {label}", 9, 0, mean, random=0.5)


SEVERAL = [of(label, mean) for label, mean in LABELS.items()]


def test_a_metric_of_one_label_has_its_own_name():
    assert scores.metric_names([("p@1", "label A"), ("p@5", "label A"), ("ndcg@4", "rater R1")]) == [
        "p@1",
        "p@5",
        "ndcg@4",
    ]


def test_a_metric_of_several_labels_says_which():
    named = scores.metric_names([("f1", "label A"), ("f1", "label B (blank=negative)"), ("auroc", "label A")])
    assert named == ["f1 A", "f1 B (blank=negative)", "auroc"]


def test_tsv_has_a_row_for_each_label():
    rows = [line.rstrip("\n").split("\t") for line in scores.tsv(SEVERAL)]
    assert [row[1:5] for row in rows[1:]] == [
        ["auroc Edema", "", "9", "0.8100"],
        ["auroc Pleural Effusion", "", "9", "0.6200"],
    ]
    assert list(scores.tsv(SEVERAL[:1]))[1].split("\t")[1] == "auroc"


def test_json_keeps_metric_and_label_apart():
    rows = [json.loads(line) for line in scores.json_lines(SEVERAL)]
    assert [(row["metric"], row["against"]) for row in rows] == [("auroc", f"label {label}") for label in LABELS]


def test_the_table_of_a_terminal_shows_every_label(capsys):
    terminal.show_scores([*SEVERAL, of("Edema", 0.93, file="other.h5")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "auroc" in line]
    assert lines == [["auroc", "Edema", "0.81", "0.93", "0.50"], ["auroc", "Pleural", "Effusion", "0.62", "–", "0.50"]]


def test_the_page_shows_every_label(tmp_path):
    (tmp_path / "scores.json").write_text("".join(scores.json_lines(SEVERAL)))
    nothing = dict.fromkeys(("raters", "rater", "label", "title", "root", "images"))
    page = report_of([str(tmp_path / "scores.json")], **nothing, k=4).html
    assert all(f"auroc {label}" in page and f"{mean:.2f}" in page for label, mean in LABELS.items())
