"""What holds for every reader; a new one needs a miniature data set in ``conftest.py`` and its name in ``SOURCES``."""

import inspect

import pytest

from cbir_cli import registry
from cbir_cli.data import read_source
from cbir_cli.records import NEGATIVE, POSITIVE, UNCERTAIN, Flow, Record

SOURCES = {
    "chexpert": "chexpert",
    "covidx": "covidx",
    "dicom": "dicoms",
    "directory": "plain",
    "imagefolder": "classes",
    "isic2017": "isic2017",
    "manifest": "manifest",
    "medmnist": "medmnist",
    "mimic-cxr-jpg": "mimic",
    "msd-liver": "liver",
    "nih": "nih",
}
EVERY = registry.names("data")


@pytest.fixture
def root(request, reader):
    return request.getfixturevalue(SOURCES[reader])


def test_every_reader_has_a_miniature():
    assert sorted(SOURCES) == EVERY


@pytest.mark.parametrize("reader", EVERY)
def test_module_says_what_it_reads(reader):
    module = registry.load("data", reader)
    assert module.CITATION.strip()
    assert module.LICENSE.strip()
    text = module.__doc__.lower()
    for word in ("what is labelled", "size", "origin", "paper", "access", "licence"):
        assert word in text, word
    assert inspect.isgeneratorfunction(module.read)
    parameters = inspect.signature(module.read).parameters
    assert next(iter(parameters)) == "root"
    assert parameters["flow"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("reader", EVERY)
def test_records(reader, root):
    source = read_source(f"{reader}:{root}")
    records = source.records
    assert source.reader == reader
    names = [record.id for record in records]
    assert len(set(names)) == len(names) > 0
    assert names == sorted(names)
    for record in records:
        assert isinstance(record, Record)
        assert record.id
        if reader != "manifest":  # a row of the user's own table is unreadable where its file is not there
            assert record.path.is_file()
        if record.path.exists():
            assert (source.root / record.relative).samefile(record.path)
        assert not record.relative.startswith("/")
        assert "\\" not in record.relative
        assert set(record.labels.values()) <= {POSITIVE, NEGATIVE, UNCERTAIN}
        assert record.sex in ("", "F", "M")
        assert record.age is None or isinstance(record.age, int)
        assert record.part is None or record.part >= 0
        assert record.mask is None or record.mask.is_file()
        assert all(len(box) == 4 and box[2] > 0 and box[3] > 0 for box in record.boxes)
    # What an artifact stores, and reads an image by.
    assert len({record.place for record in records}) == len(records)


@pytest.mark.parametrize("reader", EVERY)
def test_flow_adds_up(reader, root):
    flow = Flow()
    count = len(list(registry.load("data", reader).read(root, flow=flow)))
    assert flow.kept == count
    assert flow.read == count + flow.dropped.total()
    assert all("\n" not in line for line in flow.lines())
    assert all("/" + str(root).strip("/") not in line for line in flow.lines())  # no machine's path


@pytest.mark.parametrize("reader", ["chexpert", "covidx", "isic2017", "mimic-cxr-jpg", "nih"])
def test_file_that_a_table_lists_is_named_if_it_is_missing(reader, root):
    source = read_source(str(root))
    assert source.flow.dropped["missing file"] == 1
    (note,) = [note for note in source.flow.notes if note.startswith("missing file: ")]
    assert len(note.split(", ")) == 1


@pytest.mark.parametrize("reader", EVERY)
def test_recognised_and_read_the_same_twice(reader, root):
    by_name, by_itself = read_source(f"{reader}:{root}"), read_source(str(root))
    assert by_itself.reader == reader
    assert by_itself.records == by_name.records


@pytest.mark.parametrize("reader", EVERY)
def test_nothing_is_recognised_in_an_empty_folder(reader, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert registry.load("data", reader).recognise(empty) == (reader == "directory")
    assert not registry.load("data", reader).recognise(tmp_path / "not there")
