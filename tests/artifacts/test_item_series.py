"""Series, positions and examinations in the item table: there where a source says so, hidden like studies."""

from pathlib import Path

import h5py

from cbir_cli.artifacts import items
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.records import MISSING, Record

KEY = Pseudonyms(b"0123456789abcdef")


def table_of(*records):
    made = [Record(f"i{n}", Path("x"), "x", **known) for n, known in enumerate(records)]
    return items.from_records(made, ["c"] * len(made), KEY)


def test_a_series_is_hidden_and_missing_numbers_stay_missing(tmp_path):
    table = table_of({"series": "1.2.3", "position": 4, "examination": 70000}, {})
    with h5py.File(tmp_path / "t.h5", "w") as file:
        items.write(file, table)
    with h5py.File(tmp_path / "t.h5") as file:
        read = items.read(file, "t.h5")
        assert read["series"].tolist() == [KEY("1.2.3"), ""] and KEY("1.2.3") != "1.2.3"
        assert read["position"].tolist() == [4, MISSING]
        assert read["examination"].tolist() == [70000, MISSING]


def test_a_source_that_does_not_say_has_no_such_columns():
    assert not {"series", "position", "examination"} & set(table_of({}, {"patient": "p"}))
    for known in ({"position": 0}, {"examination": 0}, {"series": "s"}):
        assert {"series", "position", "examination"} <= set(table_of(known))


def test_whether_there_is_a_column_is_told_without_reading_it(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        items.write(file, table_of({"patient": "p"}))
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        read = items.read(file, "t.h5")
        del file["obs/patient"]
        assert "patient" in read and "series" not in read
