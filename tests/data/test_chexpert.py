import pytest

from cbir_cli.data import chexpert as reader
from cbir_cli.data import read_source
from cbir_cli.errors import SourceError


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
    assert flow.notes == ["missing file: train/patient00003/study1/view1_frontal.jpg"]


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
    with pytest.raises(SourceError, match=r"expected train\.csv or valid\.csv"):
        read_source(f"chexpert:{tmp_path}")
