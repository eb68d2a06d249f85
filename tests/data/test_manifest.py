import pytest

from cbir_cli.data import read_source
from cbir_cli.errors import SourceError


def test_all_columns(manifest, tmp_path):
    source = read_source(str(manifest))
    assert source.reader == "manifest"
    assert source.root == manifest.parent
    later, far, bee, first, gone = source.records
    assert (far.id, far.relative, far.part) == ("../elsewhere/c#2", "../elsewhere/c.png", 2)
    assert (later.id, later.relative, later.part) == ("../elsewhere/c#10", "../elsewhere/c.png", 10)
    assert (bee.mask, bee.boxes) == (manifest.parent / "masks/b.png", ((1.0, 2.0, 3.0, 4.5), (0.0, 0.0, 7.0, 7.0)))
    assert (first.mask, first.boxes, first.part) == (None, (), None)
    assert far.path.resolve() == (tmp_path / "elsewhere" / "c.png").resolve()
    assert (far.patient, far.age, dict(far.labels)) == ("", 7, {"Effusion": 0, "Edema": 1})
    assert (bee.id, bee.patient, bee.view, bee.split, bee.sex, bee.age) == ("bee", "p2", "AP", "validation", "M", None)
    assert dict(bee.labels) == {"Effusion": -1}
    assert (first.id, first.study, first.source, first.split, first.sex) == ("img/a", "s1", "mercy", "train", "F")
    assert (first.age, dict(first.labels)) == (61, {"Effusion": 1, "Edema": 0})
    assert source.flow.read == 5
    # It is listed by its name, so that it is unreadable and named when it is to be read.
    assert gone.id == "img/gone" and not gone.path.exists() and not source.flow.dropped
    assert "missing mask: 1 (masks/gone.png)" in source.flow.notes
    assert "labels: Effusion, Edema" in source.flow.notes
    assert "columns not used: remark" in source.flow.notes


def test_series_and_examinations(tmp_path, put, table):
    put(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "m.csv", "path,series,position,examination", "a.png,s1,7,2", "b.png,,,")
    found = [(r.series, r.position, r.examination) for r in read_source(str(path)).records]
    assert found == [("s1", 7, 2), ("", None, None)]


def test_labels_without_a_prefix(tmp_path, put, table):
    put(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "m.tsv", "path\tEdema\tgrade\tage\tEmpty", "a.png\t1\t2\t1\t", "b.png\t\t1\t0\t")
    source = read_source(str(path))
    assert [dict(record.labels) for record in source.records] == [{"Edema": 1}, {}]
    assert [record.age for record in source.records] == [1, 0]
    assert "columns not used: grade" in source.flow.notes


def test_labels_with_a_prefix_are_the_only_ones(tmp_path, put, table):
    put(tmp_path, "a.png")
    path = table(tmp_path / "m.csv", "path,label:Edema,portable", "a.png,0,1")
    assert dict(read_source(str(path)).records[0].labels) == {"Edema": 0}


def test_byte_order_mark_crlf_quotes_and_blank_rows(tmp_path, put):
    put(tmp_path, "a, b.png")
    path = tmp_path / "m.csv"
    path.write_bytes('\ufeffpath,patient\r\n"a, b.png","Ä ""x"""\r\n\r\n,\r\n'.encode())
    (record,) = read_source(str(path)).records
    assert (record.id, record.patient) == ("a, b", 'Ä "x"')


def test_pattern_serves_rows_without_a_patient(tmp_path, put, table):
    put(tmp_path, "p7_a.png", "p8_a.png")
    path = table(tmp_path / "m.csv", "path,patient", "p7_a.png,", "p8_a.png,known")
    assert [r.patient for r in read_source(str(path), patient=r"p(\d+)_").records] == ["7", "known"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["file,label:x", "a.png,1"], r"m\.csv: lacks column path; columns there: file, label:x"),
        ([], r"m\.csv: lacks column path; columns there: none"),
        (["path,path", "a.png,a.png"], "column path occurs twice"),
        (["path,label:x", "a.png,1", "a.png,2"], r"m\.csv: row 3: label:x: expected 1, 0, -1 or blank, found '2'"),
        (["path,label:x", "gone.png,yes"], "row 2: label:x"),
        (["path,label:x", "a.png"], "row 2 has 1 cells where the header has 2"),
        (["path,label:x", "a.png,1,1"], "row 2 has 3 cells where the header has 2"),
        (["path,label:x", ",1"], "row 2 has no path"),
        (["path,age", "a.png,old"], "row 2: expected an age in years, found 'old'"),
        (["path,age", "a.png,nan"], "row 2: expected an age"),
        (["path,id", "a.png,x", "b.png,x"], "id 'x' occurs twice: a.png and b.png"),
        (["path", "a.png", "./a.png"], "id 'a' occurs twice: a.png and a.png"),
        (["path,part", "a.png,2", "a.png,2"], "id 'a#2' occurs twice"),
        (["path,part", "a.png,first"], "row 2: part: expected a number from 0, found 'first'"),
        (["path,part", "a.png,-1"], "row 2: part: expected a number from 0, found '-1'"),
        (["path,position", "a.png,x"], "row 2: position: expected a number from 0, found 'x'"),
        (["path,examination", "a.png,3000000000"], "row 2: examination: expected a number from 0, found '3000000000'"),
        (["path,boxes", "a.png,1 2 3"], "row 2: boxes: expected x y width height, found '1 2 3'"),
        (["path,boxes", "a.png,1 2 3 4; 1 2 0 4"], "row 2: boxes: expected x y width height, found '1 2 0 4'"),
        (["path,boxes", "a.png,nan 2 3 4"], "row 2: boxes: expected x y width height"),
        (["path,id", "a.png,b", "b.png,"], "id 'b' occurs twice: a.png and b.png"),
        (["path", "x.png", "y.png"], r"m\.csv: none of 2 images exists, such as x\.png"),
        (["path", '"a.png'], "not a table of text"),
    ],
)
def test_tables_that_are_wrong(tmp_path, put, table, lines, expected):
    put(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "m.csv", *lines)
    with pytest.raises(SourceError, match=expected) as caught:
        read_source(str(path))
    assert "\n" not in str(caught.value)


def test_packed_table(tmp_path, put, table):
    put(tmp_path, "a.png")
    for name, text in (("m.csv.gz", "path,label:x"), ("m.tsv.gz", "path\tlabel:x")):
        path = table(tmp_path / name, text, text.replace("path", "a.png").replace("label:x", "1"))
        source = read_source(str(path))
        assert (source.reader, dict(source.records[0].labels)) == ("manifest", {"x": 1})


def test_table_that_is_not_text(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00\x01path")
    with pytest.raises(SourceError, match="not a table of text"):
        read_source(str(tmp_path / "m.csv"))
