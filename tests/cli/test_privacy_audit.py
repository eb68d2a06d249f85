"""``cbir embed --audit``: on every kind of artifact, as TSV, JSON and a table on a terminal."""

import csv
import json

import pytest

KINDS = ["cnn.h5", "ig.h5", "maps.h5", "ig.emb.h5", "ig.idx.h5", "ex.h5"]


def audited(good, name, chain):
    return [json.loads(line) for line in good("embed", "--audit", name, "--format", "json", cwd=chain).out.splitlines()]


@pytest.mark.parametrize("name", KINDS)
def test_json_says_what_the_table_says(good, chain, name):
    ran = good("embed", "--audit", name, "--format", "json", cwd=chain)
    rows = [json.loads(line) for line in ran.out.splitlines()]
    table = list(csv.DictReader(good("embed", "--audit", name, cwd=chain).out.splitlines(), delimiter="\t"))
    assert list(rows[0]) == list(table[0]) == ["kind", "name", "count", "studies", "set", "holds", "looks_like"]
    assert len(rows) == len(table)
    for row, cells in zip(rows, table, strict=True):
        if row["kind"] == "field":
            assert cells["studies"] == "" and row["studies"] == 0
            cells["studies"] = "0"
        assert {key: str(value) for key, value in row.items()} == cells
    # The chain's names are those of a public set and its patients are hidden.
    assert {row["kind"] for row in rows} == {"patient", "field"} and not [row for row in rows if row["looks_like"]]


def test_of_a_network(good, chain):
    """Its patients with their sets, and every attribute; what it was told of them is nothing."""
    import h5py

    rows = audited(good, "cnn.h5", chain)
    with h5py.File(chain / "cnn.h5") as file:
        sets = dict(zip(file["split/patient"].asstr()[()], file["split/set"].asstr()[()], strict=True))
        fields = {"@" + name for name in file.attrs}
    patients = [row for row in rows if row["kind"] == "patient"]
    assert {row["name"]: row["set"] for row in patients} == sets
    assert set(sets.values()) == {"train", "validation"} and {row["count"] for row in patients} == {0}
    assert fields <= {row["name"] for row in rows if row["kind"] == "field"}


def test_of_an_explanation(good, chain):
    """Images of a patient who asks and is found count once."""
    import h5py

    rows = audited(good, "ex.h5", chain)
    with h5py.File(chain / "ex.h5") as file:
        images = {
            (patient, key)
            for group in ("queries", "results")
            for patient, key in zip(
                file[group]["obs/patient" if "obs" in file[group] else "patient"].asstr()[()],
                file[group]["obs/_index" if "obs" in file[group] else "_index"].asstr()[()],
                strict=True,
            )
        }
    assert sum(row["count"] for row in rows if row["kind"] == "patient") == len(images)


def test_table(good, chain):
    """For a person: every column, each patient once."""
    shown = good("embed", "--audit", "ig.emb.h5", "--format", "table", cwd=chain, COLUMNS=240).out
    rows = audited(good, "ig.emb.h5", chain)
    assert "\t" not in shown and shown.split()[: len(rows[0])] == list(rows[0])
    for row in rows:
        if row["kind"] == "patient":
            assert shown.count(row["name"]) == 1


def test_what_looks_like_an_identifier(good, cbir, chain, tmp_path):
    """The patient and the field are named, with the kind and the number of values; a table is written to a file."""
    (tmp_path / "19620304").mkdir()
    for number, image in enumerate(sorted((chain / "set" / "images").iterdir())[:4]):
        (tmp_path / "19620304" / f"{number}.png").write_bytes(image.read_bytes())
    (tmp_path / "t.csv").write_text(
        "path,patient\n" + "".join(f"19620304/{number}.png,DOE^JANE{number // 2}\n" for number in range(4))
    )
    line = ["embed", "-m", "ssim", "--image-size", "16", tmp_path / "t.csv", "-q", "-o", tmp_path / "a.h5"]
    good(*line, "--keep-ids")
    ran = good("embed", "--audit", tmp_path / "a.h5", "--format", "json", "-o", tmp_path / "audit.json")
    assert ran.out == "" and "looks like an identifier" in ran.err
    rows = [json.loads(text) for text in (tmp_path / "audit.json").read_text().splitlines()]
    patients = {row["name"]: row for row in rows if row["kind"] == "patient"}
    assert set(patients) == {"DOE^JANE0", "DOE^JANE1"}
    assert {(row["count"], row["looks_like"]) for row in patients.values()} == {(2, "date 2, person name 2")}
    fields = {row["name"]: row["looks_like"] for row in rows if row["kind"] == "field" and row["looks_like"]}
    assert fields["obs/path"] == "date 4" and fields["obs/patient"] == "person name 4"
    refused = cbir("embed", "--audit", tmp_path / "a.h5", "--format", "table", "-o", tmp_path / "x")
    assert refused.status == 2 and "tsv or json" in refused.error
    good(*line)
    rows = good("embed", "--audit", tmp_path / "a.h5", "--format", "json").out
    assert not [row for row in map(json.loads, rows.splitlines()) if row["looks_like"]]


def test_what_is_no_artifact(cbir, tmp_path):
    for name in ("", "gone.h5"):
        ran = cbir("embed", "--audit", *([name] if name else []), cwd=tmp_path)
        assert ran.status == 2 and ran.error.startswith("cbir embed: --audit: ")
