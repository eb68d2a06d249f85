import io
import logging
import os

import pytest

from cbir_cli.data import read_source
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.records import Flow


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_single_image(tmp_path, put, monkeypatch):
    put(tmp_path, "patient00007/study2/view1.png")
    monkeypatch.chdir(tmp_path)
    source = read_source("patient00007/study2/view1.png")
    (record,) = source.records
    assert source.reader == "image"
    assert (record.id, record.relative) == ("view1", "view1.png")
    assert (record.patient, record.study) == ("patient00007", "patient00007/study2")
    assert (source.root / record.relative).samefile(record.path)
    assert source.typed == "patient00007/study2/view1.png"
    assert (source.flow.read, source.flow.kept) == (1, 1)


def test_reader_is_named_in_the_log(tmp_path, put, classes, nih, caplog):
    caplog.set_level(logging.INFO, logger="cbir")
    put(tmp_path, "a.png")
    for text in (classes, nih, tmp_path / "a.png", f"directory:{classes}"):
        read_source(str(text))
    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "read as imagefolder",
        "read as nih",
        "read as one image",
        "read as directory",
    ]


def test_counts_into_the_flow_that_is_given(plain):
    flow = Flow()
    assert read_source(str(plain), flow=flow).flow is flow
    assert flow.read == 6


@pytest.mark.parametrize("text", ["gone", "gone.png", "./a:b", "C:\\scans\\a.png", "sub/nih:x", ""])
def test_path_that_does_not_exist(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="no such file or folder") as caught:
        read_source(text)
    assert one_line(caught).startswith(f"{text}: ")


def test_link_to_nothing(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone")
    with pytest.raises(SourceError, match="no such file or folder"):
        read_source(str(tmp_path / "a.png"))


def test_unknown_reader_lists_the_known_ones():
    with pytest.raises(
        UsageError, match=r"chexpert, covidx, dicom, directory, imagefolder, .*manifest, medmnist, mimic-cxr-jpg, .*nih"
    ) as caught:
        read_source("foo:/x")
    assert "foo" in one_line(caught)
    with pytest.raises(UsageError, match="did you mean nih"):
        read_source("nhi:/x")


def test_reader_with_a_bad_root(tmp_path, put):
    put(tmp_path, "a.png")
    with pytest.raises(SourceError, match=r"^/not/there: no such file or folder$"):
        read_source("nih:/not/there")
    with pytest.raises(UsageError, match="expected nih:ROOT"):
        read_source("nih:")
    with pytest.raises(SourceError, match="expected a folder for the reader directory"):
        read_source(f"directory:{tmp_path / 'a.png'}")


def test_file_whose_name_has_a_colon(tmp_path, put, monkeypatch):
    put(tmp_path, "nih:a.png", "C:\\a.png", "foo:/x.png")
    monkeypatch.chdir(tmp_path)
    for text, name in (("nih:a.png", "nih:a"), ("C:\\a.png", "C:\\a"), ("foo:/x.png", "x")):
        assert [record.id for record in read_source(text).records] == [name]
    assert len(read_source("directory:.").records) == 3


def test_home_folder_of_a_named_reader(classes, monkeypatch):
    monkeypatch.setenv("HOME", str(classes.parent))
    assert len(read_source("imagefolder:~/classes").records) == 7


def test_manifest_by_name_with_any_ending(tmp_path, put, table):
    put(tmp_path, "a.png")
    path = table(tmp_path / "images.txt", "path,label:x", "a.png,1")
    assert dict(read_source(f"manifest:{path}").records[0].labels) == {"x": 1}
    with pytest.raises(SourceError, match="Is a directory"):
        read_source(f"manifest:{tmp_path}")


def test_folder_without_images(tmp_path):
    with pytest.raises(SourceError) as caught:
        read_source(str(tmp_path))
    assert one_line(caught) == f"{tmp_path}: holds no images that can be read"
    for name in ("a.dcm", "b.dcm", "c.DCM", "d.txt"):
        (tmp_path / name).touch()
    with pytest.raises(SourceError) as caught:
        read_source(str(tmp_path))
    assert one_line(caught) == f"{tmp_path}: holds no images that can be read (.dcm 3, .txt 1)"


def test_special_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(SourceError, match="not a regular file"):
        read_source(str(tmp_path / "pipe.png"))


def listed(data, **options):
    return read_source("-", stdin=io.BytesIO(data), **options)


def test_paths_on_standard_input(tmp_path, put, monkeypatch):
    put(tmp_path, "x/a.png", "x/b.png", "x/b.jpg", "person3_virus_1.jpeg")
    monkeypatch.chdir(tmp_path)
    text = f"x/b.png\n./x/b.jpg\r\n{tmp_path}/x/a.png\n\nperson3_virus_1.jpeg\ngone.png"
    source = listed(text.encode())
    assert source.reader == source.typed == "-"
    assert [record.id for record in source.records] == ["gone", "person3_virus_1", "x/a", "x/b.jpg", "x/b.png"]
    gone, *there = source.records
    assert gone.path.name == "gone.png" and not gone.path.exists()
    assert all((source.root / record.relative).samefile(record.path) for record in there)
    assert there[0].patient == "person3"
    assert (source.flow.read, dict(source.flow.dropped)) == (5, {})


def test_paths_that_end_with_nul(tmp_path, put, monkeypatch):
    put(tmp_path, "a.png", "two\nlines.png", " b.png")
    monkeypatch.chdir(tmp_path)
    data = b"a.png\0two\nlines.png\0 b.png\0"
    assert [record.id for record in listed(data, nul=True).records] == [" b", "a", "two\nlines"]
    with pytest.raises(UsageError, match="give -0"):
        listed(data)


def test_standard_input_that_is_wrong(tmp_path, put, monkeypatch):
    put(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="-: holds no images that can be read"):
        listed(b"")
    with pytest.raises(SourceError, match=r"^-: none of 1 image exists, such as gone\.png$"):
        listed(b"gone.png\n")
    with pytest.raises(SourceError, match=r"id 'a\.png' occurs twice"):
        listed(b"a.png\n./a.png\n")
    source = listed(b"a.png\n\xff.png\n")
    assert dict(source.flow.dropped) == {"file name is not UTF-8": 1}
