import pytest

from cbir_cli.data import isic2017 as reader
from cbir_cli.data import read_source
from cbir_cli.errors import SourceError

TRAINING = "ISIC-2017_Training_Part3_GroundTruth.csv"


def test_rows(isic2017):
    source = read_source(str(isic2017))
    assert source.reader == "isic2017"
    nevus, melanoma, keratosis, test = source.records
    assert [r.id for r in source.records] == ["ISIC_0000000", "ISIC_0000002", "ISIC_0001769", "ISIC_0012086"]
    assert dict(nevus.labels) == {"melanoma": 0, "seborrheic_keratosis": 0, "nevus": 1}
    assert dict(melanoma.labels) == {"melanoma": 1, "seborrheic_keratosis": 0, "nevus": 0}
    assert dict(keratosis.labels) == {"melanoma": 0, "seborrheic_keratosis": 1, "nevus": 0}
    assert [r.split for r in source.records] == ["train", "train", "validation", "test"]
    assert [(r.age, r.sex) for r in source.records] == [(55, "F"), (None, ""), (None, ""), (None, "")]
    assert nevus.relative == "ISIC-2017_Training_Data/ISIC_0000000.jpg"  # not its superpixels
    assert test.relative == "images/ISIC_0012086.jpg"
    assert nevus.mask is None
    assert melanoma.mask == isic2017 / "ISIC-2017_Training_Part1_GroundTruth" / "ISIC_0000002_segmentation.png"
    assert {(r.patient, r.study, r.view) for r in source.records} == {("", "", "")}


def test_flow(isic2017):
    flow = read_source(str(isic2017)).flow
    assert (flow.read, dict(flow.dropped)) == (5, {"missing file": 1})
    assert flow.notes == [
        "ISIC-2017_Training_Part3_GroundTruth.csv: 3 rows, as published 2,000",
        "ISIC-2017_Validation_Part3_GroundTruth.csv: 1 rows, as published 150",
        "ISIC-2017_Test_v2_Part3_GroundTruth.csv: 1 rows, as published 600",
        "missing file: ISIC_0000004",
    ]


def test_loose_images_and_masks(tmp_path, put, table):
    put(tmp_path, "ISIC_0000001.jpg", "ISIC_0000001_superpixels.png", "ISIC_0000001_segmentation.png")
    table(tmp_path / TRAINING, "image_id,melanoma,seborrheic_keratosis", "ISIC_0000001,0.0,0.0")
    (record,) = read_source(str(tmp_path)).records
    assert (record.relative, record.mask) == ("ISIC_0000001.jpg", tmp_path / "ISIC_0000001_segmentation.png")


def test_superpixels_alone_are_no_image(isic2017):
    (isic2017 / "ISIC-2017_Training_Data" / "ISIC_0000002.jpg").unlink()
    assert dict(read_source(str(isic2017)).flow.dropped) == {"missing file": 2}


def test_copy_with_numbers_for_ids_and_empty_columns(isic2017, table):
    lines = ["image_id,melanoma,seborrheic_keratosis,,,,,,,,,", "0,0,0,,,,,,,,,", "2,1,0,,,,,,,,,"]
    table(isic2017 / TRAINING, *lines)
    source = read_source(str(isic2017))
    assert [(r.id, r.labels["melanoma"]) for r in source.records[:2]] == [("ISIC_0000000", 0), ("ISIC_0000002", 1)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ISIC_0000000,1.0,1.0", r"row 2: ISIC_0000000 is both melanoma and seborrheic_keratosis"),
        ("ISIC_0000000,,0.0", "row 2: melanoma: expected 1 or 0, found ''"),
        ("ISIC_0000000,0.0,-1.0", "row 2: seborrheic_keratosis: expected 1 or 0, found '-1.0'"),
        ("lesion7,0.0,0.0", "row 2: expected an image id such as ISIC_0000000, found 'lesion7'"),
        ("ISIC_0000000,0.0", "row 2 has 2 cells where the header has 3"),
    ],
)
def test_rows_that_are_wrong(isic2017, table, line, expected):
    table(isic2017 / TRAINING, "image_id,melanoma,seborrheic_keratosis", line)
    with pytest.raises(SourceError, match=expected):
        read_source(str(isic2017))


def test_lacking_column(isic2017, table):
    table(isic2017 / TRAINING, "image_id,melanoma", "ISIC_0000000,0.0")
    with pytest.raises(SourceError, match=r"Part3_GroundTruth\.csv: lacks column seborrheic_keratosis"):
        read_source(str(isic2017))


def test_not_this_layout(tmp_path, put):
    put(tmp_path, "ISIC_0000000.jpg")
    assert not reader.recognise(tmp_path)
    with pytest.raises(SourceError, match=r"expected a table ISIC-2017_\*_Part3_GroundTruth\.csv"):
        read_source(f"isic2017:{tmp_path}")


def test_table_of_the_published_size(tmp_path, put, table):
    """2,000 rows of 374, 254 and 1,372: the counts of the challenge, and nothing to say about their number."""
    kinds = ["1.0,0.0"] * 374 + ["0.0,1.0"] * 254 + ["0.0,0.0"] * 1372
    rows = [f"ISIC_{number:07d},{kind}" for number, kind in enumerate(kinds)]
    table(tmp_path / TRAINING, "image_id,melanoma,seborrheic_keratosis", *rows)
    (tmp_path / "images").mkdir()
    for number in range(2000):
        (tmp_path / "images" / f"ISIC_{number:07d}.jpg").touch()
    source = read_source(str(tmp_path))
    assert {name: sum(r.labels[name] for r in source.records) for name in reader.LABELS} == {
        "melanoma": 374,
        "seborrheic_keratosis": 254,
        "nevus": 1372,
    }
    assert (source.flow.notes, source.flow.kept) == ([], 2000)
