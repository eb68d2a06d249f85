import gzip

import pytest

from cbir_cli import tasks
from cbir_cli.data import mimic_cxr_jpg as reader
from cbir_cli.data import read_source
from cbir_cli.errors import SourceError
from cbir_cli.records import Flow

FIRST = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"
NO_VIEW = "2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab"
CHEXPERT = "mimic-cxr-2.0.0-chexpert.csv.gz"


def test_rows(mimic):
    source = read_source(str(mimic))
    assert source.reader == "mimic-cxr-jpg"
    first, lateral, bare, portable = source.records
    assert first.id == FIRST
    assert first.relative == f"files/p10/p10000032/s50414267/{FIRST}.jpg"
    assert (first.patient, first.study, first.view, first.split) == ("10000032", "50414267", "PA", "train")
    stated = {"Cardiomegaly": -1, "Lung Opacity": 1, "Pleural Effusion": 0, "Pneumothorax": 0, "Support Devices": 1}
    assert dict(first.labels) == stated
    assert (lateral.view, lateral.study, lateral.labels) == ("LATERAL", "50414267", first.labels)
    assert (bare.id, bare.patient, bare.view, bare.split, dict(bare.labels)) == (NO_VIEW, "10000032", "", "", {})
    assert (portable.view, portable.split, dict(portable.labels)) == ("AP AXIAL", "validation", {"No Finding": 1})
    assert {record.sex for record in source.records} == {""}
    assert {record.age for record in source.records} == {None}


def test_flow(mimic):
    flow = read_source(str(mimic)).flow
    assert (flow.read, dict(flow.dropped)) == (5, {"missing file": 1})
    assert flow.notes == [
        "mimic-cxr-2.0.0-split.csv: 4 rows, as published 377,110",
        "mimic-cxr-2.0.0-chexpert.csv.gz: 3 rows, as published 227,827",
        "missing file: p19/p19999987/s58621812/ffffffff-00000000-00000000-00000000-00000002.jpg",
        "mimic-cxr-2.0.0-metadata.csv.gz: 5 rows, as published 377,110",
        "images without a stated view: 1",
        "images without labels in mimic-cxr-2.0.0-chexpert.csv.gz: 1",
        "images without a split: 1",
        "labelled studies that the metadata does not list: 1",
    ]


def summary(source):
    return [(r.id, dict(r.labels), r.patient, r.study, r.view, r.split) for r in source.records]


def test_files_on_either_side_of_the_root(mimic, monkeypatch):
    expected = summary(read_source(str(mimic)))
    inner = read_source(str(mimic / "files"))
    assert inner.reader == "mimic-cxr-jpg"
    assert summary(inner) == expected
    assert inner.records[0].relative == f"p10/p10000032/s50414267/{FIRST}.jpg"
    monkeypatch.chdir(mimic / "files")
    assert summary(read_source(".")) == expected
    for folder in ("p10", "p19"):
        (mimic / "files" / folder).rename(mimic / folder)
    bare = read_source(str(mimic))
    assert summary(bare) == expected
    assert bare.records[0].relative == f"p10/p10000032/s50414267/{FIRST}.jpg"


def test_plain_and_packed_tables_say_the_same(mimic):
    expected = summary(read_source(str(mimic)))
    for path in mimic.glob("*.csv.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for path in mimic.glob("*-split.csv"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert summary(read_source(str(mimic))) == expected


def edit(mimic, kind, old, new):
    (path,) = mimic.glob(f"mimic-cxr-2.0.0-{kind}.csv*")
    data = path.read_bytes()
    packed = path.suffix == ".gz"
    text = gzip.decompress(data) if packed else data
    assert old.encode() in text
    text = text.replace(old.encode(), new.encode(), 1)
    path.write_bytes(gzip.compress(text) if packed else text)


def test_negbio_alone_beside_and_named(mimic):
    chexpert = mimic / CHEXPERT
    negbio = mimic / "mimic-cxr-2.0.0-negbio.csv.gz"
    negbio.write_bytes(chexpert.read_bytes())
    edit(mimic, "negbio", "10000032,50414267,,-1.0", "10000032,50414267,1.0,-1.0")
    both = read_source(str(mimic))
    assert "Atelectasis" not in both.records[0].labels
    assert f"labels: {CHEXPERT}, not mimic-cxr-2.0.0-negbio.csv.gz" in both.flow.notes
    for text in (f"mimic-cxr-jpg:{negbio}", str(negbio)):
        named = read_source(text)
        assert named.reader == "mimic-cxr-jpg"
        assert named.records[0].labels["Atelectasis"] == 1
        assert named.records[0].relative == f"files/p10/p10000032/s50414267/{FIRST}.jpg"
    chexpert.unlink()
    assert read_source(str(mimic)).records[0].labels["Atelectasis"] == 1
    negbio.unlink()
    with pytest.raises(SourceError, match=r"expected mimic-cxr-\*-chexpert\.csv or -negbio\.csv, or \.csv\.gz"):
        read_source(str(mimic))


def test_labels_of_the_radiologist(mimic, table):
    names = ",".join("Airspace Opacity" if name == "Lung Opacity" else name for name in reader.LABELS)
    path = table(
        mimic / "mimic-cxr-2.1.0-test-set-labeled.csv", f"study_id,{names}", "58621812,0,0,0,0,0,0,0,1,0,0,0,0,0,-1"
    )
    source = read_source(f"mimic-cxr-jpg:{path}")
    assert [len(record.labels) for record in source.records] == [0, 0, 0, 14]
    assert source.records[3].labels["Lung Opacity"] == 1
    assert source.records[3].labels["Support Devices"] == -1
    assert f"images without labels in {path.name}: 3" in source.flow.notes


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        ("metadata", "ViewPosition", "View", r"metadata\.csv\.gz: lacks column ViewPosition"),
        ("metadata", ",10000032,", ",,", "row 2: expected dicom_id, and subject_id and study_id as numbers"),
        ("metadata", ",50414267,", ",../x,", "row 2: expected dicom_id"),
        ("metadata", "174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962", FIRST, "occurs twice"),
        ("split", "train", "held-out", r"split\.csv: row 2: expected train, validate or test, found 'held-out'"),
        (
            "split",
            "174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962,50414267,10000032,train",
            f"{FIRST},1,1,test",
            "in two",
        ),
        ("chexpert", "-1.0", "2.0", r"chexpert\.csv\.gz: row 2: Cardiomegaly: expected 1, 0, -1 or blank, found '2.0'"),
        ("chexpert", "Edema", "Oedema", "lacks column Edema"),
        ("chexpert", "19999987,58621812", "1,50414267", "row 3: study 50414267 occurs twice"),
    ],
)
def test_tables_that_are_wrong(mimic, kind, old, new, expected):
    edit(mimic, kind, old, new)
    with pytest.raises(SourceError, match=expected) as caught:
        read_source(str(mimic))
    assert "\n" not in str(caught.value)


def test_tables_that_are_not_there(mimic):
    (mimic / "mimic-cxr-2.0.0-split.csv").unlink()
    with pytest.raises(SourceError, match=r"expected mimic-cxr-\*-split\.csv"):
        read_source(str(mimic))
    (mimic / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    assert not reader.recognise(mimic)
    with pytest.raises(SourceError, match=r"expected mimic-cxr-\*-metadata\.csv or \.csv\.gz, found none"):
        read_source(f"mimic-cxr-jpg:{mimic}")


def test_table_cut_short_in_its_packing(mimic):
    path = mimic / CHEXPERT
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(SourceError, match=r"chexpert\.csv\.gz: not a table of text"):
        read_source(str(mimic))
    path.write_bytes(b"study_id\n1\n")
    with pytest.raises(SourceError, match=r"chexpert\.csv\.gz: not a table of text: Not a gzipped file"):
        read_source(str(mimic))


def test_name_may_be_typed_with_underscores(mimic):
    assert read_source(f"mimic_cxr_jpg:{mimic}").reader == "mimic-cxr-jpg"


def test_flow_of_a_table_of_the_published_shape(tmp_path, table):
    """Every view of the published metadata with every code: what the tasks of the 2022 paper keep."""
    views = ("AP", "PA", "LATERAL", "LL", "PA LLD", "LAO", "RAO", "AP AXIAL", "AP LLD", "XTABLE LATERAL", "AP RLD")
    views += ("SWIMMERS", "PA RLD", "LPO", "")
    codes = {"1.0": 1, "0.0": 0, "-1.0": -1, "": None}
    rows, splits, labels = [], [], []
    for number, (view, code) in enumerate((view, code) for view in views for code in codes):
        patient, study = 10000000 + number, 50000000 + number
        path = tmp_path / "files" / "p10" / f"p{patient}" / f"s{study}" / f"d{number:02}.jpg"
        path.parent.mkdir(parents=True)
        path.touch()
        rows.append(f"d{number:02},{patient},{study},{view}")
        splits.append(f"d{number:02},{study},{patient},{('train', 'validate', 'test')[number % 3]}")
        labels.append(f"{patient},{study},{','.join([code] * 14)}")
    table(tmp_path / "mimic-cxr-2.0.0-metadata.csv", "dicom_id,subject_id,study_id,ViewPosition", *rows)
    table(tmp_path / "mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split", *splits)
    table(tmp_path / "mimic-cxr-2.0.0-negbio.csv", f"subject_id,study_id,{','.join(reader.LABELS)}", *labels)
    source = read_source(str(tmp_path))
    assert [record.view for record in source.records] == [view for view in views for _ in codes]
    assert [record.split for record in source.records] == ["train", "validation", "test"] * 20
    assert [record.labels.get("Pneumonia") for record in source.records] == list(codes.values()) * 15
    assert "images without a stated view: 4" in source.flow.notes
    for task, view in (("pleural", "AP"), ("pneumonia", "PA")):
        flow = Flow(read=len(source.records))
        kept, targets = tasks.load(task).select(source.records, flow)
        assert [record.view for record in kept] == [view, view]
        assert targets.tolist() == [1, 0]
        # The data set states views, so that a blank is not stated; views go before labels.
        others = {f"view {name}": 4 for name in views if name not in ("", view)}
        assert flow.dropped == {**others, "view not stated": 4, "label not stated": 1, "label uncertain": 1}
        assert flow.kept == 2
