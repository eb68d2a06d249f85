import pytest

from cbir_cli.data import imagefolder, read_source
from cbir_cli.errors import SourceError


def test_every_class_is_a_label(classes):
    source = read_source(str(classes))
    assert source.reader == "imagefolder"
    labels = {record.id: dict(record.labels) for record in source.records}
    for name, codes in labels.items():
        folder = name.split("/")[0]
        assert codes == {"NORMAL": 0, "PNEUMONIA": 0, "OTHER": 0, folder: 1}
    assert sorted(labels) == [
        "NORMAL/IM-0115-0001",
        "NORMAL/NORMAL2-IM-0115-0001",
        "OTHER/deep/er/scan",
        "OTHER/scan.jpg",
        "OTHER/scan.png",
        "PNEUMONIA/person12_bacteria_46",
        "PNEUMONIA/person12_virus_47",
    ]
    assert "classes: OTHER 3, NORMAL 2, PNEUMONIA 2" in source.flow.notes
    assert "folders without images, no classes: EMPTY" in source.flow.notes
    assert {r.patient for r in source.records} == {"IM-0115", "person12", ""}


def test_splits_above_the_classes(tmp_path, put):
    put(tmp_path, "train/NORMAL/a.png", "train/PNEUMONIA/b.png", "test/NORMAL/a.png", "val/PNEUMONIA/c.png")
    source = read_source(str(tmp_path))
    assert source.reader == "imagefolder"
    assert {record.id: (record.split, dict(record.labels)) for record in source.records} == {
        "train/NORMAL/a": ("train", {"NORMAL": 1, "PNEUMONIA": 0}),
        "train/PNEUMONIA/b": ("train", {"NORMAL": 0, "PNEUMONIA": 1}),
        "test/NORMAL/a": ("test", {"NORMAL": 1, "PNEUMONIA": 0}),
        "val/PNEUMONIA/c": ("validation", {"NORMAL": 0, "PNEUMONIA": 1}),
    }


@pytest.mark.parametrize(
    "names",
    [
        ["a/1.png", "b/2.png", "top.png"],
        ["a/1.png", "a/2.png"],
        ["patient1/1.png", "patient2/2.png"],
        ["train/1.png", "test/2.png"],
        ["train/patient1/1.png", "test/patient2/2.png"],
        [f"{number:03}/1.png" for number in range(101)],
    ],
    ids=["image at the top", "one folder", "patients", "splits", "patients in splits", "too many"],
)
def test_folders_that_are_no_classes(tmp_path, put, names):
    put(tmp_path, *names)
    source = read_source(str(tmp_path))
    assert source.reader == "directory"
    assert not any(record.labels for record in source.records)


def test_images_outside_the_classes_are_dropped(tmp_path, put):
    put(tmp_path, "a/1.png", "b/2.png", "top.png")
    source = read_source(f"imagefolder:{tmp_path}")
    assert [record.id for record in source.records] == ["a/1", "b/2"]
    assert dict(source.flow.dropped) == {"not in a class folder": 1}


def test_named_reader_takes_what_is_not_recognised(tmp_path, put):
    put(tmp_path, "train/1.png", "test/2.png")
    source = read_source(f"imagefolder:{tmp_path}")
    assert {record.id: dict(record.labels) for record in source.records} == {
        "test/2": {"test": 1, "train": 0},
        "train/1": {"test": 0, "train": 1},
    }


def test_no_images(tmp_path):
    (tmp_path / "a").mkdir()
    assert not imagefolder.recognise(tmp_path)
    with pytest.raises(SourceError, match="holds no images that can be read"):
        read_source(f"imagefolder:{tmp_path}")
