"""Several files take the place of others together: old or new, never half."""

import os
import stat

import pytest

from cbir_cli.artifacts.files import replacing_files
from cbir_cli.errors import CbirError


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(folder, **texts):
    for name, text in texts.items():
        (folder / name).write_text(text)


def test_a_folder_that_is_not_there_appears_whole(tmp_path):
    target = tmp_path / "new"
    with replacing_files(str(target)) as made:
        fill(made, a="1", b="2")
        assert not target.exists()
    assert content(target) == {"a": "1", "b": "2"} and [path.name for path in tmp_path.iterdir()] == ["new"]
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_text("")
    for mine, usual in ((target, tmp_path / "plain"), (target / "a", tmp_path / "plain" / "file")):
        assert stat.S_IMODE(mine.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


@pytest.mark.parametrize("there", [True, False])
def test_an_error_leaves_what_was_there(tmp_path, there):
    target = tmp_path / "old"
    if there:
        target.mkdir()
        fill(target, a="old")
    with pytest.raises(CbirError, match="no space left"), replacing_files(f"{target}/", last="a") as made:
        fill(made, a="new", b="new")
        raise OSError(28, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == (["old"] if there else [])
    assert not there or content(target) == {"a": "old"}


def test_files_are_replaced_and_the_one_that_names_the_others_comes_last(tmp_path, monkeypatch):
    seen = []

    def replace(source, target, really=os.replace):
        seen.append((target.name, (target.parent / "a").exists()))
        really(source, target)

    monkeypatch.setattr(os, "replace", replace)
    target = tmp_path / "target"
    target.mkdir()
    fill(target, a="old", b="old", other="stays")
    with replacing_files(str(target), last="a") as made:
        fill(made, a="new", b="new", c="new")
    assert content(target) == {"a": "new", "b": "new", "c": "new", "other": "stays"}
    assert seen == [("b", False), ("c", False), ("a", False)]


def test_a_file_is_no_folder(tmp_path):
    fill(tmp_path, a="1")
    with pytest.raises(CbirError, match="a: is a file, not a folder"), replacing_files(str(tmp_path / "a")):
        pytest.fail("nothing can be written there")
    assert content(tmp_path) == {"a": "1"}
