"""Images through a function into rows: in order, each once, whatever fails on the way."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cbir_cli.errors import ImageError
from cbir_cli.records import Record
from cbir_cli.stages.streaming import Job, extract

FIELDS = {"mean": ((), "<f4"), "corner": ((2, 2), "<f2")}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Ten images of one grey level each; the fourth is not one."""
    folder = tmp_path_factory.mktemp("images")
    made = []
    for number in range(10):
        path = folder / f"{number}.png"
        Image.new("L", (4, 4), 20 * number).save(path)
        made.append(Record(id=f"i{number}", path=path, relative=f"sub/{number}.png"))
    made[3].path.write_text("text")
    return made


def load(record):
    try:
        with Image.open(record.path) as image:
            return np.asarray(image, np.float32)
    except OSError as error:
        raise ImageError(f"{record.path.name}: no image") from error


def process(pixels):
    return {"mean": pixels.mean(axis=(1, 2)), "corner": pixels[:, :2, :2]}


def job(tmp_path, **changes):
    return Job(**{"output": str(tmp_path / "out.h5"), "header": {"a": 1}, "batch": 3, "workers": 2, **changes})


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_rows_in_order_without_what_cannot_be_read(records, tmp_path, batch, caplog):
    with extract(records, load, process, FIELDS, job(tmp_path, batch=batch)) as done:
        np.testing.assert_array_equal(done.rows["mean"], [20 * i for i in range(10) if i != 3])
        assert done.rows["corner"].shape == (9, 2, 2) and done.rows["corner"].dtype == np.float16
        assert [r.id for r in done.records] == [f"i{i}" for i in range(10) if i != 3]
        assert done.unreadable == {"i3": "3.png: no image"}
        assert len(set(done.contents)) == 9 and all(len(c) == 16 for c in done.contents)
        assert (tmp_path / "out.h5.partial").is_dir()
    assert not os.listdir(tmp_path)
    assert "sub/3.png: no image" in caplog.text


def test_to_a_pipe_nothing_is_left_in_the_folder(records, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with extract(records, load, process, FIELDS, job(tmp_path, output="-")) as done:
        assert len(done.records) == 9 and os.listdir(tmp_path)
    assert not os.listdir(tmp_path)
    with pytest.raises(ImageError), extract(records, load, process, FIELDS, job(tmp_path, output="-", fail=True)):
        pass
    assert not os.listdir(tmp_path)


def test_the_first_unreadable_image_ends_it_on_demand(records, tmp_path):
    line = job(tmp_path, fail=True)
    with pytest.raises(ImageError, match=r"^sub/3\.png: no image$"), extract(records, load, process, FIELDS, line):
        pass


def test_going_on_does_only_what_is_left(records, tmp_path):
    shown = []

    def failing(pixels):
        shown.append(len(pixels))
        if len(shown) == 3:
            raise RuntimeError("the network broke down")
        return process(pixels)

    with pytest.raises(RuntimeError), extract(records, load, failing, FIELDS, job(tmp_path)):
        pass
    again = []

    def counted(pixels):
        again.extend(pixels[:, 0, 0].tolist())
        return process(pixels)

    with extract(records, load, counted, FIELDS, job(tmp_path, resume=True, batch=2)) as done:
        assert again == [120, 140, 160, 180]
        np.testing.assert_array_equal(done.rows["mean"], [20 * i for i in range(10) if i != 3])
        assert len(set(done.contents)) == 9


def test_rows_stay_if_what_is_done_with_them_fails(records, tmp_path):
    with pytest.raises(OSError, match="full"), extract(records, load, process, FIELDS, job(tmp_path)):
        raise OSError("the disk is full")
    with extract(records, load, process, FIELDS, job(tmp_path, resume=True)) as done:
        assert len(done.records) == 9


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 30), parts=st.integers(1, 12))
def test_shards_hold_each_image_once_and_in_order(tmp_path_factory, records, count, parts):
    some = [Record(id=f"x{i}", path=records[0].path, relative=f"x{i}") for i in range(count)]
    folder = tmp_path_factory.mktemp("shards")
    found = []
    for part in range(1, parts + 1):
        with extract(some, load, process, FIELDS, job(folder, shard=(part, parts), workers=1)) as done:
            found += [record.id for record in done.records]
    assert found == [record.id for record in some]
