"""What simulated raters say beside their rankings: severities and labels."""

import io

import numpy as np
import pytest

from cbir_cli import phantom
from cbir_cli.artifacts.ranks import read_ranks
from cbir_cli.phantom._raters import LEVELS, level

SEVERITIES = {"q": (0.4, 0.0), "a": (0.0, 0.0), "b": (0.5, 0.7), "c": (0.0, 0.2), "d": (0.9, 0.3)}
SPLIT = "seed\tset\trole\tid\n1\t1\tquery\tq\n" + "".join(f"1\t1\tcatalogue\t{name}\n" for name in "abcd")


def made(folder, more="", cells="", *files):
    lines = [f"Image Index,severity_right,severity_left{more}"]
    lines += [f"{name}.png,{right},{left}{cells}" for name, (right, left) in SEVERITIES.items()]
    (folder / "severity.csv").write_text("\n".join(lines) + "\n")
    for name in files:
        (folder / name).touch()
    return folder


def said(folder, **options):
    return list(phantom.rank(folder, io.StringIO(SPLIT), **options))


def test_the_first_rater_knows_the_severity_of_the_worse_side(tmp_path):
    rows = said(made(tmp_path), raters=1)
    assert {row.id: row.severity for row in rows} == {"a": 0, "b": 3, "c": 1, "d": 3}
    assert {row.query_severity for row in rows} == {2}


def test_levels_are_thirds():
    assert LEVELS == pytest.approx((0, 1 / 3, 2 / 3))
    ends = [0, 0.001, 1 / 3, 0.334, 2 / 3, 0.667, 1]
    assert level(np.array([(0, value) for value in ends])).tolist() == [0, 1, 1, 2, 2, 3, 3]
    assert level(np.array([(value, 0) for value in ends])).tolist() == [0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("more", "file", "label"),
    [
        ("", "Data_Entry_2017_v2020.csv", "Effusion"),
        ("", "train.csv", "Pleural Effusion"),
        ("", "mimic-cxr-2.0.0-chexpert.csv.gz", "Pleural Effusion"),
        (",mask_pneumonia", "mimic-cxr-2.0.0-chexpert.csv.gz", "Pneumonia"),
        (",mask_cardiomegaly", "Data_Entry_2017_v2020.csv", "Cardiomegaly"),
        (",mask_pneumonia,mask_effusion", "train.csv", ""),  # severity is of either
        ("", "elsewhere.csv", ""),
    ],
)
def test_labels_are_called_as_the_data_set_calls_them(tmp_path, more, file, label):
    rows = said(made(tmp_path, more, ",0" * more.count(","), file), raters=1)
    codes = {row.id: row.labels for row in rows}
    expected = {"a": 0, "b": 1, "c": 1, "d": 1}
    assert codes == {name: f"{label}={code}" if label else "" for name, code in expected.items()}
    assert {row.query_labels for row in rows} == {f"{label}=1" if label else ""}


def test_each_rater_grades_as_he_perceives_and_the_same_each_time(tmp_path):
    made(tmp_path, "", "", "train.csv")
    grades = {}
    for row in said(tmp_path, raters=6, seed=4):
        grades.setdefault(row.rater, {})[row.id] = row.severity
        assert row.labels == f"Pleural Effusion={int(row.severity > 0)}"
    assert len({tuple(sorted(found.items())) for found in grades.values()}) > 1
    assert all(0 <= severity <= 3 for found in grades.values() for severity in found.values())
    assert said(tmp_path, raters=6, seed=4) == said(tmp_path, raters=6, seed=4)


def test_the_table_is_a_rank_table(tmp_path, good):
    made(tmp_path, "", "", "Data_Entry_2017_v2020.csv")
    (tmp_path / "split.tsv").write_text(SPLIT)
    ran = good("phantom", tmp_path, "--rank", tmp_path / "split.tsv", "--raters", "2")
    (tmp_path / "ranks.csv").write_bytes(ran.data)
    rows = read_ranks(tmp_path / "ranks.csv")
    assert ran.out.startswith("query,rater,rank,id,seed,set,query_severity,severity,query_labels,labels\n")
    assert len(rows) == 8 and rows[0].query_severity == 2 and rows[0].query_labels == {"Effusion": 1}
