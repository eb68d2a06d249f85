import pytest

from cbir_cli import tasks
from cbir_cli.data import chexpert as reader
from cbir_cli.data import read_source
from cbir_cli.errors import SourceError
from cbir_cli.records import Flow


def test_rows(chexpert):
    source = read_source(str(chexpert))
    assert source.reader == "chexpert"
    assert [record.id for record in source.records] == [
        "train/patient00001/study1/view1_frontal",
        "train/patient00002/study1/view1_frontal",
        "train/patient00002/study1/view2_lateral",
        "train/patient00002/study2/view1_frontal",
        "valid/patient64541/study1/view1_frontal",
        "valid/patient64542/study1/view1_frontal",
    ]
    first, left, lateral, second, healthy, _ = source.records
    assert first.relative == "train/patient00001/study1/view1_frontal.jpg"
    assert (first.patient, first.study) == ("patient00001", "patient00001/study1")
    assert (second.patient, second.study) == ("patient00002", "patient00002/study2")
    assert [record.view for record in source.records] == ["AP", "LL", "LATERAL", "PA", "AP", "PA"]
    assert [record.sex for record in source.records] == ["F", "", "", "M", "M", "F"]
    assert [record.age for record in source.records] == [68, None, None, 90, 73, 70]
    assert [record.split for record in source.records] == ["train"] * 4 + ["validation"] * 2
    assert dict(first.labels) == {"No Finding": 1, "Pneumothorax": 0, "Support Devices": 1}
    uncertain = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
    assert dict(left.labels) == {"Lung Opacity": 1, "Fracture": 1, **dict.fromkeys(uncertain, -1)}
    assert lateral.labels == left.labels
    assert dict(healthy.labels) == {**dict.fromkeys(reader.LABELS, 0), "No Finding": 1}


def test_flow(chexpert):
    flow = read_source(str(chexpert)).flow
    assert flow.read == 7
    assert dict(flow.dropped) == {"missing file": 1}
    assert flow.notes == [
        "train.csv: 5 rows, as published 223,414",
        "valid.csv: 2 rows, as published 234",
        "missing file: train/patient00003/study1/view1_frontal.jpg",
    ]


FRONTAL, LATERAL = "test/patient64741/study1/view1_frontal.jpg", "test/patient64741/study1/view2_lateral.jpg"


@pytest.mark.parametrize("prefix", ["", "CheXpert-v1.0/"])
def test_test_set_by_image(chexpert, put, table, prefix):
    put(chexpert, FRONTAL, LATERAL)
    table(
        chexpert / "test_labels.csv",
        "Path,Airspace Opacity,Edema,Cardiomegaly,Atelectasis,Pleural Effusion",
        f"{prefix}{FRONTAL},1,0,0,0,1",
        f"{prefix}{LATERAL},1.0,0,0,0,1.0",
    )
    source = read_source(str(chexpert))
    first, second = (record for record in source.records if record.split == "test")
    assert (first.id, first.relative) == ("test/patient64741/study1/view1_frontal", FRONTAL)
    assert (first.patient, first.study, first.sex, first.age) == ("patient64741", "patient64741/study1", "", None)
    assert (first.view, second.view) == ("", "LATERAL")
    assert dict(first.labels) == dict(second.labels)
    assert {name for name, code in first.labels.items() if code == 1} == {"Lung Opacity", "Pleural Effusion"}
    assert len(first.labels) == 5
    assert "frontal, but not said whether AP or PA: 1 images" in source.flow.notes
    assert "test_labels.csv: 2 rows, as published 668" in source.flow.notes
    assert any(note.startswith("test_labels.csv: labels not in the table: No Finding, ") for note in source.flow.notes)


def test_test_set_by_study(chexpert, put, table):
    put(chexpert, FRONTAL, LATERAL)
    names = ",".join(reader.LABELS)
    zeros = ",".join(["0"] * 13)
    table(
        chexpert / "groundtruth.csv",
        f"Study,{names}",
        f"CheXpert-v1.0/test/patient64741/study1,1,{zeros}",
        f"CheXpert-v1.0/test/patient64742/study1,0,{zeros}",
    )
    source = read_source(str(chexpert))
    found = [record for record in source.records if record.split == "test"]
    assert [record.relative for record in found] == [FRONTAL, LATERAL]
    assert all(dict(r.labels) == {**dict.fromkeys(reader.LABELS, 0), "No Finding": 1} for r in found)
    assert (source.flow.read, dict(source.flow.dropped)) == (10, {"missing file": 2})
    assert "missing file: train/patient00003/study1/view1_frontal.jpg, test/patient64742/study1" in source.flow.notes


def test_test_set_alone_is_recognised(tmp_path, put, table):
    put(tmp_path, FRONTAL)
    table(tmp_path / "test.csv", "Path," + ",".join(reader.LABELS), f"{FRONTAL}{',0' * 14}")
    assert read_source(str(tmp_path)).reader == "chexpert"
    table(tmp_path / "test.csv", "Path,grade", f"{FRONTAL},1")
    assert read_source(str(tmp_path)).reader == "directory"


def test_batches_as_they_are_downloaded(tmp_path, put, table):
    first = "CheXpert-v1.0 batch 1 (validate & csv)"
    put(
        tmp_path,
        f"{first}/valid/patient64541/study1/view1_frontal.jpg",
        "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg",
        "CheXpert-v1.0 batch 4 (train 3)/patient50000/study1/view1_frontal.jpg",
    )
    header = ",".join(("Path,Sex,Age,Frontal/Lateral,AP/PA", *reader.LABELS))
    row = "CheXpert-v1.0/{}/study1/view1_frontal.jpg,Male,41,Frontal,AP" + "," * 14
    table(tmp_path / first / "train.csv", header, row.format("train/patient00001"), row.format("train/patient50000"))
    table(tmp_path / first / "valid.csv", header, row.format("valid/patient64541"))
    source = read_source(str(tmp_path))
    assert source.reader == "chexpert"
    assert not source.flow.dropped
    assert [(record.id, record.relative.partition("/")[0]) for record in source.records] == [
        ("train/patient00001/study1/view1_frontal", "CheXpert-v1.0 batch 2 (train 1)"),
        ("train/patient50000/study1/view1_frontal", "CheXpert-v1.0 batch 4 (train 3)"),
        ("valid/patient64541/study1/view1_frontal", first),
    ]


def test_path_with_other_folders_before_it(chexpert):
    expected = summary(read_source(str(chexpert)))
    path = chexpert / "train.csv"
    path.write_text(path.read_text().replace("CheXpert-v1.0-small/train", "archive/CheXpert-v1.0-small/train"))
    assert summary(read_source(str(chexpert))) == expected


def test_table_of_the_published_shape(tmp_path, put, table):
    """An AP image in each state of Pleural Effusion and Pneumonia: the codes are raw, and the task keeps 1 and 0."""
    header = ",".join(("Path,Sex,Age,Frontal/Lateral,AP/PA", *reader.LABELS))
    cells = [
        (effusion, pneumonia) for effusion in ("1.0", "0.0", "-1.0", "") for pneumonia in ("1.0", "0.0", "-1.0", "")
    ]
    rows = []
    for number, (effusion, pneumonia) in enumerate(cells):
        inner = f"train/patient{number:05d}/study1/view1_frontal.jpg"
        put(tmp_path, inner)
        states = {"Pleural Effusion": effusion, "Pneumonia": pneumonia}
        rows.append(f"CheXpert-v1.0/{inner},Male,41,Frontal,AP,{','.join(states.get(n, '') for n in reader.LABELS)}")
    table(tmp_path / "train.csv", header, *rows)
    source = read_source(str(tmp_path))
    codes = {"1.0": 1, "0.0": 0, "-1.0": -1, "": None}
    expected = [(codes[effusion], codes[pneumonia]) for effusion, pneumonia in cells]
    assert [(r.labels.get("Pleural Effusion"), r.labels.get("Pneumonia")) for r in source.records] == expected
    flow = Flow()
    _, targets = tasks.load("pleural").select(source.records, flow)
    assert targets.tolist() == [1] * 4 + [0] * 4
    assert dict(flow.dropped) == {"label uncertain": 4, "label not stated": 4}
    with pytest.raises(SourceError, match=r"no image is left; dropped: view AP \(16\)"):
        tasks.load("pneumonia").select(source.records, Flow())


def summary(source):
    return [(r.id, r.labels, r.patient, r.split) for r in source.records]


def test_root_on_either_side_and_both_sizes(chexpert):
    expected = summary(read_source(str(chexpert)))
    outer = read_source(str(chexpert.parent))
    assert outer.reader == "chexpert"
    assert summary(outer) == expected
    assert all((outer.root / record.relative).is_file() for record in outer.records)
    # The small images' tables beside full-size ones: the prefix in the table is not the folder's name.
    large = chexpert.rename(chexpert.parent / "CheXpert-v1.0")
    assert summary(read_source(str(large.parent))) == expected
    assert summary(read_source(str(large))) == expected


def test_tables_beside_the_folder(chexpert):
    expected = summary(read_source(str(chexpert)))
    for name in ("train.csv", "valid.csv"):
        (chexpert / name).rename(chexpert.parent / name)
    outer = read_source(str(chexpert.parent))
    assert summary(outer) == expected
    assert outer.records[0].relative.startswith("CheXpert-v1.0-small/train/")


def test_both_sizes_at_once(chexpert):
    other = chexpert.parent / "CheXpert-v1.0"
    other.mkdir()
    (other / "train.csv").write_text((chexpert / "train.csv").read_text())
    with pytest.raises(SourceError, match=r"holds CheXpert-v1\.0 and CheXpert-v1\.0-small; name one of them"):
        read_source(str(chexpert.parent))


def test_one_table_is_enough(chexpert):
    (chexpert / "valid.csv").unlink()
    assert {record.split for record in read_source(str(chexpert)).records} == {"train"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Pleural Effusion", "Effusion", r"train\.csv: lacks column Pleural Effusion; columns there: Path, Sex"),
        (
            "Frontal,AP,1.0",
            "Frontal,AP,2.0",
            r"train\.csv: row 2: No Finding: expected 1, 0, -1 or blank, found '2\.0'",
        ),
        ("/patient00001/", "/nobody/", "row 2: expected a path with patient and study"),
        ("Female,68", "Female,sixty", "row 2: expected an age"),
    ],
)
def test_wrong_tables(chexpert, old, new, expected):
    path = chexpert / "train.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SourceError, match=expected):
        read_source(str(chexpert))


def test_another_train_csv_is_not_chexpert(tmp_path, put, table):
    put(tmp_path, "a.png")
    table(tmp_path / "train.csv", "path,label", "a.png,1")
    assert read_source(str(tmp_path)).reader == "directory"
    with pytest.raises(SourceError, match="lacks column Path, Sex"):
        read_source(f"chexpert:{tmp_path}")
    (tmp_path / "train.csv").unlink()
    with pytest.raises(SourceError, match=r"expected train\.csv, valid\.csv or test\.csv"):
        read_source(f"chexpert:{tmp_path}")
