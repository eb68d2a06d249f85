"""Catalogues that grow and shrink, against a plain model of them: a dictionary of images and a loop over it."""

import json

import h5py
import numpy as np
import pytest
from growth import KEY, Keeping, arrays, image, write_embedding
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cbir_cli import registry
from cbir_cli.artifacts import files
from cbir_cli.artifacts import index as indexes
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.cli.index import run as index_command
from cbir_cli.errors import ArtifactError, CbirError, UsageError
from cbir_cli.stages import growing
from cbir_cli.stages.guards import Filters
from cbir_cli.stages.joined import Stacked
from cbir_cli.stages.query import Queries, Wanted, search

IMAGES = {record.id: (record, content, vector) for record, content, vector in map(image, range(16))}
IDS = sorted(IMAGES)
METRICS = {name: registry.load("index", name).METRICS for name in registry.names("index")}
METRICS = {name: [m for m in ("l2", "cosine") if m in known] for name, known in METRICS.items()}
METRICS["keeping"] = list(Keeping.METRICS)


@pytest.fixture
def keeping(monkeypatch):
    """Let ``--kind keeping`` name the kind of these tests."""
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda *what: Keeping if what == ("index", "keeping") else load(*what))


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Make an embedding of some images, once."""
    folder = tmp_path_factory.mktemp("batches")

    def make(number, metric):
        path = folder / f"{number}-{metric}.h5"
        if not path.exists():
            write_embedding(path, [IMAGES[key] for key in BATCHES[number]], similarity=metric)
        return str(path)

    return make


def few(least=0, most=6):
    return st.lists(st.sampled_from(IDS), min_size=least, max_size=most, unique=True)


BATCHES = [IDS[:7], IDS[11:4:-1], IDS[9:], IDS[::3], []]
STEPS = st.lists(
    st.tuples(st.lists(st.sampled_from(range(len(BATCHES))), max_size=2), few(), st.booleans()), min_size=1, max_size=5
)


def distance(one, other, metric):
    """In float64, rounded as a table prints it."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    if metric == "l2":
        return np.float32(np.sqrt(np.square(one - other).sum()))
    lengths = np.sqrt(one @ one), np.sqrt(other @ other)
    if not all(lengths):
        return np.float32(1)
    return np.float32(np.square(one / lengths[0] - other / lengths[1]).sum() / 2)


def answers(path, vectors, k):
    """Ids and distances of an index's answers."""
    with files.open_artifact(str(path), indexes.KIND) as artifact:
        stored = indexes.read(artifact)
        found = search(
            stored, Queries(np.array(vectors, np.float32), stored.embedding.items), k, Wanted(Filters(exclude="none"))
        )
        ids = stored.embedding.items.ids
        rows = stored.payload.get("rows")
        fresh = set(ids.tolist()) - set(ids[rows[rows >= 0]].tolist()) if rows is not None else set()
        return [(ids[answer.rows].tolist(), answer.distances.tolist()) for answer in found], fresh


@pytest.mark.parametrize("kind", METRICS)
@settings(
    max_examples=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # every example writes files: to shrink one takes minutes
)
@given(data=st.data(), start=few(least=1, most=16), steps=STEPS, k=st.integers(1, 5))
def test_any_sequence_of_changes_is_the_catalogue_of_a_plain_model(
    kind, data, start, steps, k, keeping, batches, tmp_path_factory
):
    metric = data.draw(st.sampled_from(METRICS[kind]))
    folder = tmp_path_factory.mktemp("growing")
    path, listed = str(folder / "idx.h5"), folder / "ids.txt"
    index_command(write_embedding(folder / "emb.h5", [IMAGES[key] for key in start], similarity=metric), kind, path)
    model = list(start)
    for adds, remove, compact in steps:
        listed.write_text("".join(f"{key}\n" for key in remove))
        absent = set(remove) - set(model)
        status = index_command(
            path, None, path, add=[batches(i, metric) for i in adds], remove=str(listed), compact=compact
        )
        assert status == (3 if absent else 0)
        model = [key for key in model if key not in remove]
        for key in (key for i in adds for key in BATCHES[i]):
            model += [key] * (key not in model)
        if not model:
            continue
        vectors = [vector for _, _, vector in IMAGES.values()]
        found, fresh = answers(path, vectors, k)
        for query, (ids, distances) in zip(vectors, found, strict=True):
            truth = sorted((distance(query, IMAGES[key][2], metric), key) for key in model)
            if kind in ("exact", "keeping"):
                assert list(zip(distances, ids, strict=True)) == truth[:k]
                continue
            by_id = {key: float(far) for far, key in truth}
            assert len(set(ids)) == len(ids) == min(k, len(model)) and set(ids) <= set(model)
            np.testing.assert_allclose(distances, [by_id[key] for key in ids], rtol=1e-5, atol=1e-6)
            assert list(zip(distances, ids, strict=True)) == sorted(zip(distances, ids, strict=True))
            # What came later is searched exactly, so what is nearer than an answer is an answer.
            assert {key for key in fresh if by_id[key] < distances[-1] - 1e-6} <= set(ids)
    # All that is known of the images is that of an index made of them at once.
    write_embedding(folder / "all.h5", [IMAGES[key] for key in model], similarity=metric)
    index_command(str(folder / "all.h5"), kind, str(folder / "whole.h5"))
    grown, whole = arrays(path), arrays(folder / "whole.h5")
    built = ("uns/index/payload", "uns/index/measured")
    same = {name for name in whole if kind == "exact" or compact or not name.startswith(built)}
    if not model:  # a table that is made of nothing has no labels that the targets could be
        same -= {"uns/targets"}
    assert {name: grown[name] for name in same} == {name: whole[name] for name in same}


def test_no_image_at_all(tmp_path):
    """A catalogue may lose all its images and gain some again."""
    path = str(tmp_path / "idx.h5")
    emb = write_embedding(tmp_path / "emb.h5", [image(1), image(2)])
    index_command(emb, "exact", path)
    before = arrays(path)
    (tmp_path / "ids.txt").write_text("\ufeffward/01\r\n\n\nward/02\n")
    assert index_command(path, None, path, remove=str(tmp_path / "ids.txt")) == 0
    assert arrays(path)["X"][1] == (0, 6)
    assert index_command(path, None, path, add=[emb]) == 0
    assert arrays(path) == before


def test_an_index_is_replaced_by_remove_and_add_in_one_call(tmp_path, caplog):
    path, ids = str(tmp_path / "idx.h5"), tmp_path / "ids.txt"
    index_command(write_embedding(tmp_path / "a.h5", [image(1), image(2)]), "exact", path)
    before = (tmp_path / "idx.h5").read_bytes()
    other = write_embedding(tmp_path / "b.h5", [image(2, content="b" * 16, vector=[9] * 6)])
    with pytest.raises(ArtifactError, match=r"b.h5: 'ward/02' is in the catalogue already, with another image"):
        index_command(path, None, path, add=[other])
    assert (tmp_path / "idx.h5").read_bytes() == before
    ids.write_text("ward/02\n")
    assert index_command(path, None, path, add=[other], remove=str(ids)) == 0
    with h5py.File(path) as file:
        assert file["obs/content"][1] == b"b" * 16 and file["X"][1].tolist() == [9] * 6


def test_what_is_there_already_is_passed_over_and_copies_are_named(tmp_path, caplog):
    caplog.set_level("INFO", "cbir")
    path = str(tmp_path / "idx.h5")
    index_command(write_embedding(tmp_path / "a.h5", [image(i) for i in range(4)]), "exact", path)
    copies = [image(i % 4, key=f"again/{i}") for i in range(7)]
    new = write_embedding(tmp_path / "b.h5", [image(1), *copies, image(20), image(21, content=f"{20:016x}")])
    index_command(path, None, path, add=[new], allow_leaks=True)
    said = [record.getMessage() for record in caplog.records]
    assert any(line.endswith("b.h5: passed over, as they are there already: 1 images ('ward/01')") for line in said)
    named = [line.split(": ", 1)[1] for line in said if "is the same image as" in line]
    assert named[0] == "'again/0' is the same image as 'ward/00'; both are kept" and len(named) == 5
    assert any(line.endswith("b.h5: 8 images are there under another id too") for line in said)
    assert "removed 0, added 9: 13 images" in said
    assert len(arrays(path)["obs/_index"][2]) // int(arrays(path)["obs/_index"][0][2:]) == 13


def test_without_a_content_hash_the_vector_decides(tmp_path):
    path = str(tmp_path / "idx.h5")
    index_command(write_embedding(tmp_path / "a.h5", [(image(1)[0], "", image(1)[2])]), "exact", path)
    same = write_embedding(tmp_path / "b.h5", [image(1)])
    assert index_command(path, None, path, add=[same]) == 0
    other = write_embedding(tmp_path / "c.h5", [image(1, vector=[1] * 6)])
    with pytest.raises(ArtifactError, match="with another image"):
        index_command(path, None, path, add=[other])


def test_columns_of_both_are_there(tmp_path, caplog):
    path = str(tmp_path / "idx.h5")
    first = write_embedding(tmp_path / "a.h5", [image(1, labels={"Effusion": 1}), image(3, labels={"Edema": -1})])
    second = write_embedding(tmp_path / "b.h5", [image(2, labels={"Mass": 0})], logits=False)
    index_command(first, "exact", path)
    index_command(path, None, path, add=[second])
    assert "logits are left out: not every input has them" in caplog.text
    with files.open_artifact(path, indexes.KIND) as artifact:
        stored = indexes.read(artifact).embedding
        table = stored.items
        assert stored.logits is None
        assert table.label_names == ["Effusion", "Edema", "Mass"]
        assert [table.stated(row, table.label_names) for row in range(3)] == [
            {"Effusion": 1},
            {"Mass": 0},
            {"Edema": -1},
        ]


def test_older_tables_lack_columns(tmp_path):
    """Without perceptual hashes and parts a table is joined with one that has them, and the other way round."""
    from cbir_cli.stages.joined import join

    with files.open_artifact(write_embedding(tmp_path / "a.h5", [image(1)])) as artifact:
        from cbir_cli.artifacts import embeddings

        old = embeddings.read(artifact).items.take([0])
    new = type(old)(old.ids, {**{n: old[n] for n in old}, "phash": np.array(["0123456789abcdef"])}, old.pseudonyms)
    older = type(old)(old.ids, {n: old[n] for n in old if n != "part"}, old.pseudonyms)
    for tables in ([new, older], [older, new]):
        table = join(tables, ["new", "older"])
        assert sorted(table["phash"].tolist()) == ["", "0123456789abcdef"] and table["part"].tolist() == [-1, -1]
        assert table["phash"].dtype.kind == "U" and table["part"].dtype == np.int32


def test_unreadable_images_are_those_of_all_that_are_not_there(tmp_path):
    path = str(tmp_path / "idx.h5")
    first = write_embedding(tmp_path / "a.h5", [image(1)], unreadable={"ward/02": "cut", "ward/09": "empty"})
    index_command(first, "exact", path)
    index_command(path, None, path, add=[write_embedding(tmp_path / "b.h5", [image(2)], unreadable={"ward/08": "x"})])
    assert arrays(path)["uns/unreadable/id"][2] == b"ward/09ward/08"


def test_what_does_not_belong_together_is_refused(tmp_path, keeping):
    path = str(tmp_path / "idx.h5")
    first = write_embedding(tmp_path / "a.h5", [image(1)])
    index_command(first, "keeping", path)
    before = (tmp_path / "idx.h5").read_bytes()
    for other, error, words in (
        (
            {"space": "other"},
            ArtifactError,
            r"b.h5: embedded by hand.h5 \(cnn, space other\), .*idx.h5 by hand.h5 \(cnn",
        ),
        ({"hide": Pseudonyms(b"another key")}, ArtifactError, r"b.h5: its patients were hidden with another key than "),
    ):
        part = write_embedding(tmp_path / "b.h5", [image(2)], **other)
        with pytest.raises(error, match=words):
            index_command(path, None, path, add=[part])
    part = write_embedding(tmp_path / "b.h5", [image(1, key="copy", patient="other")])
    with pytest.raises(CbirError, match="2 images have a copy under another patient's name"):
        index_command(path, None, path, add=[part])
    with pytest.raises(UsageError, match="give --compact too"):
        index_command(path, "exact", path, add=[part])
    with pytest.raises(UsageError, match="give --compact too"):
        index_command(path, None, path, add=[part], settings=["slow=2"])
    with pytest.raises(UsageError, match="is one of the inputs"):
        index_command(path, None, str(tmp_path / "b.h5"), add=[part])
    with pytest.raises(UsageError, match="is one of the inputs"):
        index_command(first, None, first, add=[part])
    with pytest.raises(UsageError, match="is an index already"):
        index_command(path, None, str(tmp_path / "x.h5"))
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CbirError, match="expected ids, one a line"):
        index_command(path, None, path, remove=str(tmp_path / "ids.txt"))
    assert (tmp_path / "idx.h5").read_bytes() == before


def test_patients_that_nobody_knows_need_no_key(tmp_path):
    path = str(tmp_path / "idx.h5")
    index_command(write_embedding(tmp_path / "a.h5", [image(1, patient="")], hide=Pseudonyms(b"one")), "exact", path)
    index_command(path, None, path, add=[write_embedding(tmp_path / "b.h5", [image(2)], hide=Pseudonyms(b"two"))])
    with h5py.File(path) as file:
        assert file["obs"].attrs["pseudonyms"] == Pseudonyms(b"two").check != KEY.check


def test_a_compacted_index_may_become_of_another_kind(tmp_path, keeping, caplog):
    caplog.set_level("INFO", "cbir")
    path = str(tmp_path / "idx.h5")
    index_command(write_embedding(tmp_path / "a.h5", [image(i) for i in range(5)]), "exact", path)
    index_command(path, "keeping", path, compact=True, settings=["slow=7"])
    index_command(path, None, path, add=[write_embedding(tmp_path / "b.h5", [image(7)])])
    assert (
        "1 images were added since the keeping index was built and are searched one by one, 0 are gone" in caplog.text
    )
    with files.open_artifact(path, indexes.KIND) as artifact:
        stored = indexes.read(artifact)
        assert (stored.kind, stored.parameters) == ("keeping", {"metric": "l2", "slow": 7})
        assert stored.payload["rows"].tolist() == [0, 1, 2, 3, 4]
        last = artifact.history[-1]
        assert last["parameters"] == {
            "kind": "keeping",
            "metric": "l2",
            "slow": 7,
            "added": 1,
            "removed": 0,
            "there": 0,
        }
        assert set(last["inputs"]) == {"index", "added-1"}
        assert [entry["command"] for entry in artifact.history] == ["embed", "index", "index", "index"]
    index_command(path, None, path, compact=True)
    with files.open_artifact(path, indexes.KIND) as artifact:
        stored = indexes.read(artifact)
        assert stored.parameters["slow"] == 7 and stored.payload["rows"].tolist() == [0, 1, 2, 3, 4, 5]
        assert artifact.history[-1]["parameters"]["compact"] is True


def test_a_few_changes_are_not_worth_a_word(tmp_path, keeping, caplog):
    caplog.set_level("INFO", "cbir")
    path = str(tmp_path / "idx.h5")
    index_command(write_embedding(tmp_path / "a.h5", [image(i) for i in range(200)]), "keeping", path)
    index_command(path, None, path, add=[write_embedding(tmp_path / "b.h5", [image(300), image(301), image(302)])])
    (tmp_path / "ids.txt").write_text("".join(f"ward/{i:02d}\n" for i in range(40)))
    index_command(path, None, path, remove=str(tmp_path / "ids.txt"))
    assert "--compact" not in caplog.text
    (tmp_path / "ids.txt").write_text("ward/40\n")
    index_command(path, None, path, remove=str(tmp_path / "ids.txt"))
    assert (
        "3 images were added since the keeping index was built and are searched one by one, 41 are gone" in caplog.text
    )


def test_a_payload_that_names_rows_that_are_not_there(tmp_path, keeping):
    path = str(tmp_path / "idx.h5")
    index_command(write_embedding(tmp_path / "a.h5", [image(1)]), "keeping", path)
    with files.open_artifact(path, indexes.KIND) as artifact:
        stored = indexes.read(artifact)
        grown = growing.grow(stored.embedding, [], [])
        for rows in (np.array([1]), np.array([[0]]), np.array([0], np.int32)):
            stored.payload["rows"] = rows
            with pytest.raises(ArtifactError, match=r"idx.h5: damaged: its payload names rows"):
                growing.payload(stored, grown)


def test_rows_of_several_arrays_are_those_of_one():
    rng = np.random.default_rng(1)
    parts = [rng.standard_normal((n, 3)) for n in (4, 0, 1, 5)]
    whole = np.concatenate(parts)
    rows = rng.permutation(10)[:7]
    for cut in (slice(None), slice(1, 5), slice(3, 3), np.array([6, 0]), rows[:0]):
        np.testing.assert_array_equal(Stacked(parts, rows)[cut], whole[rows][cut])
    assert Stacked(parts, rows).shape == (7, 3) and len(Stacked(parts, rows)) == 7


# --- as commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    write_embedding(tmp_path / "a.h5", [image(i) for i in range(6)])
    write_embedding(tmp_path / "b.h5", [image(i) for i in range(6, 9)])
    write_embedding(tmp_path / "c.h5", [image(i) for i in range(9, 10)])
    write_embedding(tmp_path / "all.h5", [image(i) for i in (0, 2, 3, 4, 5, 6, 7, 8, 9)])
    return tmp_path


def test_in_a_shell(folder, spawn, good):
    """Pipes in and out, the file itself as output, and what an id that is not there comes to."""
    assert spawn("index", "a.h5", "-o", "idx.h5", cwd=folder).status == 0
    ran = spawn("index", "-", "--add", "b.h5", "--add", "c.h5", stdin=open(folder / "idx.h5", "rb"), cwd=folder)
    assert ran.status == 0, ran.err
    (folder / "big.h5").write_bytes(ran.data)
    (folder / "ids").write_text("ward/01\nward/77\n")
    ran = spawn("index", "big.h5", "--remove", "-", "-o", "big.h5", stdin=open(folder / "ids", "rb"), cwd=folder)
    assert ran.status == 3
    assert ran.err.splitlines() == [
        "warning: standard input: 1 id is not in big.h5: 'ward/77'",
        "removed 1, added 0: 9 images",
    ]
    assert not [p.name for p in folder.iterdir() if "tmp" in p.name]
    good("index", "all.h5", "-o", "whole.h5", cwd=folder)
    assert arrays(folder / "big.h5") == arrays(folder / "whole.h5")
    one = good("query", "big.h5", "all.h5", "-k", "4", cwd=folder)
    assert one.data == good("query", "whole.h5", "all.h5", "-k", "4", cwd=folder).data
    known = json.loads(good("info", "big.h5", "--format", "json", cwd=folder).out)
    assert [entry["command"] for entry in known["history"]] == ["embed", "index", "index", "index"]
    good("verify", "big.h5", cwd=folder)
    ran = spawn("index", "-", "--add", "-", cwd=folder)
    assert (ran.status, ran.error) == (2, "cbir index: - is standard input: it can stand for one input only")
    ran = spawn("index", "big.h5", "--remove", "none.txt", "-o", "x.h5", cwd=folder)
    assert (ran.status, ran.error) == (1, "cbir index: none.txt: No such file or directory")


def test_the_same_call_gives_the_same_bytes(folder, good):
    good("index", "a.h5", "-o", "idx.h5", cwd=folder)
    line = ["index", "idx.h5", "--add", "b.h5", "--compact"]
    assert good(*line, cwd=folder).data == good(*line, cwd=folder).data


@pytest.mark.parametrize("where", ["cbir_cli.artifacts._payload.seal", "cbir_cli.artifacts._replacing._replace"])
def test_killed_it_leaves_the_old_index(folder, spawn, good, where):
    good("index", "a.h5", "-o", "idx.h5", cwd=folder)
    before = (folder / "idx.h5").read_bytes()
    module, name = where.rsplit(".", 1)
    code = f"import os, {module}\n{module}.{name} = lambda *_: os.kill(os.getpid(), 9)"
    assert spawn("index", "idx.h5", "--add", "b.h5", "-o", "idx.h5", code=code, cwd=folder).status == -9
    assert (folder / "idx.h5").read_bytes() == before
    assert good("index", "idx.h5", "--add", "b.h5", "-o", "idx.h5", cwd=folder).status == 0
    assert (folder / "idx.h5").read_bytes() != before


def test_a_history_of_many_changes_fits(tmp_path):
    """HDF5 keeps short attributes in a header of 64 KiB; a catalogue that grows daily has more history than that."""
    from cbir_cli.artifacts import embeddings

    path = str(tmp_path / "a.h5")
    write_embedding(path, [image(1)])
    with files.open_artifact(path) as artifact:
        stored = embeddings.read(artifact)
        old = [{"command": "index", "parameters": {"n": n}, "inputs": {"x": "f" * 64}} for n in range(3000)]
        indexes.write(str(tmp_path / "i.h5"), stored, "exact", {"metric": "l2"}, lambda v: {}, history=old)
    with files.open_artifact(str(tmp_path / "i.h5")) as artifact:
        assert len(artifact.history) == 3000
