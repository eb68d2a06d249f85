from pathlib import Path

import pytest

from cbir_cli.data import directory, read_source
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.records import Flow


def test_images_hidden_files_links_and_the_rest(plain):
    source = read_source(str(plain))
    assert source.reader == "directory"
    assert source.root == plain
    assert [record.id for record in source.records] == ["a", "b", "link", "sub/c", "sub/sub/d"]
    assert [record.relative for record in source.records] == [
        "a.PNG",
        "b.png",
        "link.png",
        "sub/c.tiff",
        "sub/sub/d.bmp",
    ]
    assert all(record.path == plain / record.relative for record in source.records)
    assert source.flow.read == 6
    assert dict(source.flow.dropped) == {"missing file": 1}
    assert "missing file: broken.png" in source.flow.notes
    assert "not images: .dcm 3, .nii.gz 1, linked folder 1, no ending 1" in source.flow.notes


def test_names_that_differ_only_in_their_ending_keep_it(tmp_path, put):
    put(tmp_path, "a.png", "a.jpg", "b.png", "c.png.jpg", "c.png", "d/a.png")
    assert [record.id for record in read_source(str(tmp_path)).records] == [
        "a.jpg",
        "a.png",
        "b",
        "c",
        "c.png.jpg",
        "d/a",
    ]


def test_order_is_that_of_the_ids(tmp_path, put):
    put(tmp_path, "a-b.png", "a.png", "a/b.png", "B.png", "a0.png")
    found = [record.id for record in read_source(str(tmp_path)).records]
    assert found == sorted(found)
    assert found == ["B", "a", "a-b", "a/b", "a0"]


def test_name_that_is_not_utf_8_is_dropped(tmp_path, put):
    put(tmp_path, "a.png")
    bad = bytes(tmp_path) + b"/\xff.png"
    try:
        with open(bad, "wb") as file:
            file.write((tmp_path / "a.png").read_bytes())
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    source = read_source(str(tmp_path))
    assert [record.id for record in source.records] == ["a"]
    assert dict(source.flow.dropped) == {"file name is not UTF-8": 1}


@pytest.mark.parametrize(
    ("name", "patient", "study"),
    [
        ("person12_bacteria_46.jpeg", "person12", ""),
        ("person12_virus_47.jpeg", "person12", ""),
        ("person1_bacteria_1.jpeg", "person1", ""),
        ("IM-0115-0001.jpeg", "IM-0115", ""),
        ("IM-0115-0001-0002.jpeg", "IM-0115", ""),
        ("NORMAL2-IM-0115-0001.jpeg", "IM-0115", ""),
        ("NORMAL2-IM-1150-0001.jpeg", "IM-1150", ""),
        ("NORMAL-28501-0001.jpeg", "28501", ""),
        ("BACTERIA-28501-0002.jpeg", "28501", ""),
        ("patient00001/study1/view1_frontal.jpg", "patient00001", "patient00001/study1"),
        ("train/patient00001/study12/view1.jpg", "patient00001", "patient00001/study12"),
        ("patient7/x.png", "patient7", ""),
        ("00000061_012.png", "61", ""),
        ("20240131_001.png", "", ""),
        ("inpatient7/x.png", "", ""),
        ("scan.png", "", ""),
        ("IM-0115.png", "", ""),
    ],
)
def test_patient_of_well_known_names(tmp_path, put, name, patient, study):
    put(tmp_path, name)
    (record,) = directory.read(tmp_path, flow=Flow())
    assert (record.patient, record.study) == (patient, study)


def test_patient_by_pattern(tmp_path, put):
    put(tmp_path, "site1/anna_1.png", "site1/anna_2.png", "site2/bert_1.png", "site2/x.png")
    source = read_source(f"directory:{tmp_path}", patient=r"/(?:site)?([a-z]+)_\d")
    assert [record.patient for record in source.records] == ["anna", "anna", "bert", ""]
    assert "patient not known: 1 of 4 images" in source.flow.notes
    named = read_source(f"directory:{tmp_path}", patient=r"(site\d)/(?P<patient>\w)")
    assert [record.patient for record in named.records] == ["a", "a", "b", "x"]
    assert not named.flow.notes


def test_pattern_that_cannot_be_right(tmp_path, put):
    put(tmp_path, "a.png", "b.png")
    for pattern, found in (("[", "unterminated"), (r"\d+", "has no group"), ("", "has no group")):
        with pytest.raises(UsageError, match=found):
            read_source(str(tmp_path), patient=pattern)
    with pytest.raises(SourceError, match="fits none of 2 images"):
        read_source(str(tmp_path), patient=r"case(\d+)")


def test_folder_that_cannot_be_listed(tmp_path, put, monkeypatch):
    put(tmp_path, "a.png", "locked/b.png")
    scandir = directory.images_below.__globals__["os"].scandir

    def refuse(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("cbir_cli.data._files.os.scandir", refuse)
    with pytest.raises(SourceError, match="locked: Permission denied"):
        read_source(f"directory:{tmp_path}")
