"""Unfinished rows: what a kill at any byte leaves can be gone on from, and nothing else is taken for it."""

import shutil

import numpy as np
import pytest

from cbir_cli.artifacts.partial import Partial
from cbir_cli.errors import ArtifactError

FIELDS = {"X": ((3,), "<f4"), "logits": ((), "<f8")}
HEADER = {"command": "embed", "size": 32}


def rows(first, count):
    values = np.arange(first, first + count)
    return {"X": np.stack([values, values + 0.5, -values], axis=1).astype("f4"), "logits": values / 7}


def filled(folder):
    """Five images in two batches; the third cannot be read."""
    partial = Partial(folder, HEADER, FIELDS, resume=False)
    partial.append(["a", "b", "c"], ["", "", "no image"], rows(0, 2), [{"content": "x"}, {"content": "y"}, {}])
    partial.append(["d", "é"], ["", ""], rows(2, 2))
    return partial


def test_rows_in_order(tmp_path):
    partial = filled(tmp_path / "p")
    for name, expected in rows(0, 4).items():
        np.testing.assert_array_equal(partial.rows(name), expected.astype(FIELDS[name][1]))
    assert partial.done == {"a": "", "b": "", "c": "no image", "d": "", "é": ""}
    assert partial.notes["b"] == {"content": "y"}
    partial.close(remove=True)
    assert not (tmp_path / "p").exists()


def test_no_rows(tmp_path):
    partial = Partial(tmp_path / "p", HEADER, FIELDS, resume=False)
    partial.append(["a"], ["broken"], {"X": np.empty((0, 3)), "logits": np.empty(0)})
    assert partial.rows("X").shape == (0, 3) and partial.rows("logits").shape == (0,)
    partial.close(remove=False)


def test_going_on_after_a_cut_at_any_byte_of_the_journal(tmp_path):
    filled(tmp_path / "p").close(remove=False)
    journal = (tmp_path / "p/journal.jsonl").read_bytes()
    for cut in range(len(journal) + 1):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "p", folder)
        (folder / "journal.jsonl").write_bytes(journal[:cut])
        again = Partial(folder, HEADER, FIELDS, resume=True)
        done = journal[:cut].count(b"\n")
        assert list(again.done) == ["a", "b", "c", "d", "é"][:done]
        left = ["a", "b", "c", "d", "é"][done:]
        numbers = {"a": 0, "b": 1, "d": 2, "é": 3}
        for key in left:
            if key == "c":
                again.append([key], ["no image"], {"X": np.empty((0, 3)), "logits": np.empty(0)})
            else:
                again.append([key], [""], rows(numbers[key], 1))
        for name, expected in rows(0, 4).items():
            np.testing.assert_array_equal(again.rows(name), expected)
        again.close(remove=True)


def test_rows_that_the_journal_does_not_know_are_dropped(tmp_path):
    filled(tmp_path / "p").close(remove=False)
    with open(tmp_path / "p/X.raw", "ab") as file:
        file.write(b"half a row, written before the kill")
    again = Partial(tmp_path / "p", HEADER, FIELDS, resume=True)
    np.testing.assert_array_equal(again.rows("X"), rows(0, 4)["X"])
    again.close(remove=False)


def test_fewer_rows_than_the_journal_says_is_damage(tmp_path):
    filled(tmp_path / "p").close(remove=False)
    raw = tmp_path / "p/X.raw"
    raw.write_bytes(raw.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="fewer rows than its journal"):
        Partial(tmp_path / "p", HEADER, FIELDS, resume=True)


def test_another_header_is_refused(tmp_path):
    filled(tmp_path / "p").close(remove=False)
    with pytest.raises(ArtifactError, match="made by another command or from other inputs"):
        Partial(tmp_path / "p", {**HEADER, "size": 64}, FIELDS, resume=True)
    anew = Partial(tmp_path / "p", {**HEADER, "size": 64}, FIELDS, resume=False)
    assert not anew.done
    anew.close(remove=True)


@pytest.mark.parametrize("left", [[], ["header.tmp"], ["X.raw"], ["header.json", "X.raw", "journal.jsonl"]])
def test_what_a_kill_leaves_is_cleared(tmp_path, left):
    (tmp_path / "p").mkdir()
    for name in left:
        (tmp_path / "p" / name).write_bytes(b"rest")
    partial = Partial(tmp_path / "p", HEADER, FIELDS, resume=False)
    assert not partial.done and not len(partial.rows("X"))
    partial.close(remove=True)


def test_somebodys_folder_is_left_alone(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="is in the way"):
        Partial(tmp_path / "p", HEADER, FIELDS, resume=False)
    assert (tmp_path / "p/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("wrong", [np.zeros((2, 4)), np.zeros((1, 3)), np.zeros(3)])
def test_rows_of_another_shape_are_refused(tmp_path, wrong):
    partial = Partial(tmp_path / "p", HEADER, FIELDS, resume=False)
    with pytest.raises(ArtifactError, match="rows of shape"):
        partial.append(["a", "b"], ["", ""], {"X": wrong, "logits": np.zeros(2)})
    partial.close(remove=True)
