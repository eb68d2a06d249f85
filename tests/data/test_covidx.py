import pytest

from cbir_cli.data import covidx as reader
from cbir_cli.data import read_source
from cbir_cli.errors import SourceError


def test_rows(covidx):
    source = read_source(str(covidx))
    assert source.reader == "covidx"
    assert [(r.id, r.relative, r.patient, r.source, r.split) for r in source.records] == [
        ("test/t", "data/test/t.png", "rsna/c1f7", "", "test"),
        ("test/u", "data/test/u.png", "cohen/9", "", "test"),
        ("train/COVID(1)", "data/train/COVID(1).png", "sirm/COVID 1", "sirm", "train"),
        ("train/a", "data/train/a.png", "cohen/3", "cohen", "train"),
        ("train/b", "data/train/b.jpeg", "rsna/3", "rsna", "train"),
        ("train/r", "data/train/r.png", "rsna/c1f7", "rsna", "train"),
    ]
    positive = [[name for name, code in r.labels.items() if code] for r in source.records]
    assert positive == [["normal"], ["COVID-19"], ["COVID-19"], ["pneumonia"], ["normal"], ["normal"]]
    assert all(sorted(r.labels) == ["COVID-19", "normal", "pneumonia"] for r in source.records)


def test_flow(covidx):
    flow = read_source(str(covidx)).flow
    assert flow.read == 8
    assert dict(flow.dropped) == {"missing file": 1, "listed twice": 1}
    assert sorted(flow.notes) == [
        "listed twice, for two patients, and read for the first: a.png (3, 9)",
        "missing file: train/gone.png",
        "patients in more than one split: 2 (cohen/9, rsna/c1f7)",
        "source rnsa read as rsna: 1 rows",
        "test_COVIDx7A.txt: 2 rows, as published 300",
        "train_COVIDx7A.txt: 6 rows, as published 15,111",
    ]


@pytest.mark.parametrize(
    ("line", "patient", "file", "label", "source"),
    [
        ("p f.png normal", "p", "f.png", "normal", ""),
        ("p f.png pneumonia rsna", "p", "f.png", "pneumonia", "rsna"),
        ("COVID 1 COVID(1).png COVID-19 sirm", "COVID 1", "COVID(1).png", "COVID-19", "sirm"),
        ("COVID 1 COVID(1).png positive", "COVID 1", "COVID(1).png", "positive", ""),
        # The name of a class as the patient's, or as the source's.
        ("normal normal.png negative", "normal", "normal.png", "negative", ""),
        ("positive f.png negative rsna", "positive", "f.png", "negative", "rsna"),
        # Of two that can be meant the last: a source is never called like a class.
        ("a positive f negative", "a positive", "f", "negative", ""),
        ("a positive positive negative", "a positive", "positive", "negative", ""),
        ("  p\tf.png  level2  ricord ", "p", "f.png", "level2", "ricord"),
    ],
)
def test_line_is_read_from_its_end(tmp_path, table, line, patient, file, label, source):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / file).touch()
    table(tmp_path / "train.txt", line)
    (record,) = read_source(f"covidx:{tmp_path}").records
    expected = {"positive": {"COVID-19": 1}, "negative": {"COVID-19": 0}}.get(label)
    assert record.path.name == file
    assert record.source == source
    assert record.patient == (f"{source}/{patient}" if source else patient)
    assert dict(record.labels) == expected if expected else record.labels[label] == 1


@pytest.mark.parametrize("line", ["p f.png", "p f.png sick", "f.png normal", "normal", "p f.png normal a hospital"])
def test_line_without_a_class(tmp_path, table, line):
    table(tmp_path / "train.txt", "p f.png normal", line)
    with pytest.raises(SourceError, match=r"train\.txt: line 2: expected patient, file, class \(normal, .* found"):
        read_source(f"covidx:{tmp_path}")


def test_several_versions_are_refused_and_one_can_be_named(covidx, table):
    table(covidx / "labels" / "train_COVIDx7B.txt", "3 a.png negative cohen")
    table(covidx / "labels" / "test_COVIDx7B.txt", "9 u.png positive cohen")
    with pytest.raises(SourceError, match=r"2 versions \(COVIDx7A, COVIDx7B\); name one list: covidx:.*COVIDx7A\.txt"):
        read_source(str(covidx))
    for name in ("train", "test"):
        source = read_source(f"covidx:{covidx}/labels/{name}_COVIDx7B.txt")
        assert [(r.id, r.relative, dict(r.labels)) for r in source.records] == [
            ("test/u", "../data/test/u.png", {"COVID-19": 1}),
            ("train/a", "../data/train/a.png", {"COVID-19": 0}),
        ]
    assert read_source(str(covidx / "labels" / "train_COVIDx7B.txt")).reader == "covidx"


def test_layout_of_kaggle(tmp_path, put, table):
    put(tmp_path, "train/a.png", "test/b.png", "val/c.png")
    for split, name in (("train", "a"), ("test", "b"), ("val", "c")):
        table(tmp_path / f"{split}.txt", f"1 {name}.png positive ricord")
    source = read_source(str(tmp_path))
    assert source.reader == "covidx"
    assert [(r.id, r.split) for r in source.records] == [
        ("test/b", "test"),
        ("train/a", "train"),
        ("validation/c", "validation"),
    ]
    assert source.flow.notes == ["patients in more than one split: 1 (ricord/1)"]


def test_severity(tmp_path, put, table):
    put(tmp_path, "train/a.png", "train/b.png")
    table(tmp_path / "train_COVIDxSev.txt", "1 a.png level1 ricord", "2 b.png level2 ricord")
    assert [dict(r.labels) for r in read_source(str(tmp_path)).records] == [
        {"level1": 1, "level2": 0},
        {"level1": 0, "level2": 1},
    ]


def test_classes_of_two_versions(tmp_path, table):
    table(tmp_path / "train.txt", "1 a.png positive ricord")
    table(tmp_path / "test.txt", "1 a.png normal ricord")
    with pytest.raises(SourceError, match="classes of different versions are mixed: normal, positive"):
        read_source(f"covidx:{tmp_path}")


def test_one_image_with_two_classes(tmp_path, table):
    table(tmp_path / "train.txt", "1 a.png pneumonia cohen", "1 a.png normal cohen")
    with pytest.raises(SourceError, match=r"a\.png is listed twice, as pneumonia and normal"):
        read_source(f"covidx:{tmp_path}")


def test_same_line_twice(tmp_path, put, table):
    put(tmp_path, "train/a.png")
    table(tmp_path / "train.txt", *["1 a.png normal"] * 3)
    flow = read_source(f"covidx:{tmp_path}").flow
    assert (flow.read, dict(flow.dropped), flow.notes) == (3, {"listed twice": 2}, [])


def test_not_this_layout(tmp_path, put, table):
    put(tmp_path, "a.png")
    assert not reader.recognise(tmp_path)
    with pytest.raises(SourceError, match=r"expected lists such as train_COVIDx5\.txt"):
        read_source(f"covidx:{tmp_path}")
    table(tmp_path / "train.txt", "a.png")
    assert read_source(str(tmp_path)).reader == "directory"
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe")
    assert read_source(str(tmp_path)).reader == "directory"
    with pytest.raises(SourceError, match="not a list of text"):
        read_source(f"covidx:{tmp_path}")


def counted(name):
    """Lines, classes and sources of a published list, as the notes on the data sets count them."""
    rows = {"train": reader.ROWS["train"][name], "test": reader.ROWS["test"][name]}
    return rows["train"] + rows["test"]


def test_list_of_the_published_size(tmp_path, table):
    """COVIDx5 in shape: 13,958 and 300 lines, of which 197 without a source; nothing is said about their number."""
    classes = ["normal"] * 7966 + ["pneumonia"] * 5475 + ["COVID-19"] * 517
    train = [f"{i} {i}.png {name} {'cohen' if name == 'COVID-19' else 'rsna'}" for i, name in enumerate(classes)]
    tests = ["normal"] * 100 + ["pneumonia"] * 100 + ["COVID-19"] * 100
    test = [f"t{i} t{i}.png {name}{' sirm' if i >= 197 else ''}" for i, name in enumerate(tests)]
    table(tmp_path / "labels" / "train_COVIDx5.txt", *train)
    table(tmp_path / "labels" / "test_COVIDx5.txt", *test)
    for split, number in (("train", 13958), ("test", 300)):
        folder = tmp_path / split
        folder.mkdir()
        for i in (0, number - 1):  # the first and last alone are there
            (folder / f"{'t' if split == 'test' else ''}{i}.png").touch()
    source = read_source(str(tmp_path))
    assert source.flow.read == counted("COVIDx5") == 14258
    assert dict(source.flow.dropped) == {"missing file": 14254}
    assert [(r.id, [k for k, v in r.labels.items() if v], r.source) for r in source.records] == [
        ("test/t0", ["normal"], ""),
        ("test/t299", ["COVID-19"], "sirm"),
        ("train/0", ["normal"], "rsna"),
        ("train/13957", ["COVID-19"], "cohen"),
    ]
    assert len(source.flow.notes) == 1  # the missing files; the numbers of lines are as published
