"""Text of an item table as the file stores it, compared and given without decoding the column."""

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts import items
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError

TEXT = ["", "a", "ä", "aa", "日本", "a", "é́", "z"]
IDS = ["0", "10", "9", "a", "b", "ß", "日", "日1"]


def table():
    columns = {name: np.full(8, "") for name in items.TEXT} | {"age": np.arange(8, dtype=np.int16)}
    return Items(np.array(IDS), columns | {"patient": np.array(TEXT)}, "key")


@pytest.fixture
def stored(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        items.write(file, table())
    with h5py.File(tmp_path / "t.h5") as file:
        yield items.read(file, "t.h5")


@pytest.mark.parametrize("decoded", [False, True])
def test_the_file_answers_as_the_text_does(stored, decoded):
    plain = table()
    if decoded:
        assert stored["patient"].tolist() == TEXT and stored.ids.tolist() == IDS
    for one in (stored, plain):
        assert one.count == 8
        assert one.cells("patient", [4, 0, 2]).tolist() == ["日本", "", "ä"]
        assert one.cells("_index", np.array([7])).tolist() == ["日1"]
        assert one.stated_anywhere("patient") and not one.stated_anywhere("study")
        with pytest.raises(KeyError):
            one.stored("nothing")
    assert stored["patient"].tolist() == TEXT and stored.ids.tolist() == IDS


@pytest.mark.parametrize("ids", [["b", "a", "b"], ["a", "b", "b"], ["ß", "a", "ß"]])
def test_an_id_that_is_there_twice_is_refused(tmp_path, ids):
    columns = {name: np.full(3, "") for name in items.TEXT} | {"age": np.arange(3, dtype=np.int16)}
    with h5py.File(tmp_path / "t.h5", "w") as file:
        items.write(file, Items(np.array(ids), columns, "key"))
        with pytest.raises(ArtifactError, match="twice"):
            items.read(file, "t.h5")
