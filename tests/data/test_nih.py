import pytest

from cbir_cli.data import nih as reader
from cbir_cli.data import read_source
from cbir_cli.errors import SourceError, UsageError


def test_rows(nih):
    source = read_source(str(nih))
    assert source.reader == "nih"
    records = {record.id: record for record in source.records}
    assert list(records) == ["00000001_000", "00000001_001", "00000002_000", "00000003_000", "00030805_000"]
    first = records["00000001_000"]
    assert first.relative == "images_001/images/00000001_000.png"
    assert (first.patient, first.study, first.view, first.sex, first.age) == ("1", "1_0", "PA", "M", 57)
    assert {name for name, code in first.labels.items() if code == 1} == {"Effusion", "Pleural_Thickening"}
    assert set(first.labels.values()) == {0, 1}
    assert set(first.labels) == set(reader.LABELS)
    assert len(reader.LABELS) == 15
    healthy = records["00000001_001"].labels
    assert [name for name, code in healthy.items() if code] == ["No Finding"]
    assert [record.split for record in source.records] == ["train", "train", "test", "", ""]
    assert [record.age for record in source.records] == [57, 58, None, 1, 27]  # 411 years; 18 months
    assert records["00030805_000"].relative == "00030805_000.png"


def test_flow(nih):
    flow = read_source(f"nih:{nih}").flow
    assert flow.read == 6
    assert dict(flow.dropped) == {"missing file": 1}
    assert flow.notes == [
        "train_val_list.txt: 3 rows, as published 86,524",
        "test_list.txt: 1 rows, as published 25,596",
        "missing file: 00000004_000.png",
        "images that the table does not list: 1",
        "Data_Entry_2017_v2020.csv: 6 rows, as published 112,120",
        "in neither list, so without a split: 2 images",
        "boxes on images that the table does not list: 1",
    ]


def test_part_of_the_data_set_without_lists(nih):
    for name in ("train_val_list.txt", "test_list.txt", "BBox_List_2017.csv"):
        (nih / name).unlink()
    (nih / "._00000009_000.png").touch()  # what a Mac leaves in an archive
    source = read_source(str(nih))
    assert source.flow.notes == ["missing file: 00000004_000.png", "images that the table does not list: 1"]
    assert {(record.split, record.boxes) for record in source.records} == {("", ())}


def test_one_list_alone_and_a_name_that_no_row_has(nih):
    (nih / "test_list.txt").unlink()
    (nih / "train_val_list.txt").write_text("00000001_000.png\n00012345_000.png\n")
    source = read_source(str(nih))
    assert [record.split for record in source.records] == ["train", "", "", "", ""]
    assert "no test_list.txt" in source.flow.notes
    assert "in the lists but not in the table: 1 (00012345_000.png, ...)" in source.flow.notes


def test_boxes_are_scaled_to_the_file(nih):
    from PIL import Image

    source = read_source(str(nih))
    records = {record.id: record for record in source.records}
    # The miniature images have 2 x 2 pixels, where the published ones have 1024.
    assert records["00000003_000"].boxes == ((1.0, 0.5, 0.25, 64.5 / 512), (0.0, 0.0, 2.0, 2.0))
    assert all(not record.boxes for record in source.records if record.id != "00000003_000")
    Image.new("L", (1024, 1024)).save(nih / "images" / "00000003_000.png")
    boxes = {record.id: record.boxes for record in read_source(str(nih)).records}
    assert boxes["00000003_000"] == ((512.0, 256.0, 128.0, 64.5), (0.0, 0.0, 1024.0, 1024.0))
    Image.new("L", (512, 256)).save(nih / "images" / "00000003_000.png")
    boxes = {record.id: record.boxes for record in read_source(str(nih)).records}
    assert boxes["00000003_000"] == ((256.0, 64.0, 64.0, 16.125), (0.0, 0.0, 512.0, 256.0))
    (nih / "images" / "00000003_000.png").write_bytes(b"no image")
    boxes = {record.id: record.boxes for record in read_source(str(nih)).records}
    assert boxes["00000003_000"][0] == (512.0, 256.0, 128.0, 64.5)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Infiltrate", "Gallstones", r"BBox_List_2017\.csv: row 2: unknown finding 'Gallstones'"),
        ("512.0,", "1000.0,", "row 2: expected x, y, width and height within 1024 pixels, found 1000.0, 256.0, 128.0"),
        ("512.0,", "-1,", "row 2: expected x, y"),
        ("512.0,", "left,", "row 2: expected x, y"),
        ("512.0,", "nan,", "row 2: expected x, y"),
        ("128.0,", "0,", "row 2: expected x, y"),
        ("Bbox [x", "Box [x", r"lacks column Bbox \[x"),
    ],
)
def test_boxes_that_are_wrong(nih, old, new, expected):
    path = nih / "BBox_List_2017.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(SourceError, match=expected):
        read_source(str(nih))


def test_other_column_of_file_names(nih):
    expected = read_source(str(nih)).records
    edit(nih, "Image Index", "Image ID")
    path = nih / "BBox_List_2017.csv"
    path.write_text(path.read_text().replace("Image Index", "Image ID"))
    assert read_source(str(nih)).records == expected
    edit(nih, "Image ID", "Picture")
    with pytest.raises(SourceError, match="lacks column Image Index; columns there: Picture"):
        read_source(str(nih))


def test_only_the_first_missing_names_are_noted(nih):
    for file in nih.rglob("*.png"):
        if file.name != "00000003_000.png":
            file.unlink()
    source = read_source(str(nih))
    assert dict(source.flow.dropped) == {"missing file": 5}
    for file in nih.rglob("*.png"):
        file.unlink()
    with pytest.raises(SourceError, match=r"holds no images that can be read \(missing file 6\)$"):
        read_source(str(nih))


def edit(root, old, new):
    path = root / "Data_Entry_2017_v2020.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_lacking_column(nih):
    edit(nih, "View Position,", "View,")
    with pytest.raises(
        SourceError, match=r"v2020\.csv: lacks column View Position; columns there: Image Index, .*View,"
    ):
        read_source(str(nih))


def test_unknown_finding(nih):
    edit(nih, "Hernia", "Gallstones")
    with pytest.raises(SourceError, match="row 4: unknown finding 'Gallstones'"):
        read_source(str(nih))


def test_first_edition_of_the_table(nih):
    (nih / "Data_Entry_2017_v2020.csv").rename(nih / "Data_Entry_2017.csv")
    table = nih / "Data_Entry_2017.csv"
    # Its header ends with a comma; some of the rows may too.
    table.write_text(table.read_text().replace(",y]", ",y],").replace("0.143,0.143", "0.143,0.143,"))
    assert len(read_source(str(nih)).records) == 5


def test_repeated_row(nih):
    path = nih / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(SourceError, match="id '00000001_000' occurs twice"):
        read_source(str(nih))


def test_image_in_both_lists(nih):
    (nih / "test_list.txt").write_text("00000001_000.png\n")
    with pytest.raises(SourceError, match=r"00000001_000\.png is in both lists"):
        read_source(str(nih))


def test_not_this_layout(tmp_path, put):
    put(tmp_path, "a.png")
    assert not reader.recognise(tmp_path)
    with pytest.raises(SourceError, match="expected a table Data_Entry_2017"):
        read_source(f"nih:{tmp_path}")


def test_patient_pattern_is_refused(nih):
    with pytest.raises(UsageError, match="states its patients"):
        read_source(str(nih), patient=r"(\d+)_")
