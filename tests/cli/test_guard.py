"""Nobody is found for himself, what cannot be compared is not, and no figure counts those whom a network has seen."""

import re
import shutil

import h5py
import pytest
import sklearn.metrics
from small_chain import TRAINING

from cbir_cli.artifacts.run import read_run


def table(path, *names):
    """Columns of an artifact's item table, as text."""
    with h5py.File(path) as file:
        return [[cell.decode() for cell in file[f"obs/{name}"][()]] for name in names]


def rows_of(ran, tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_bytes(ran.data)
    return read_run(path)


def test_the_same_patient_is_left_out_and_counted(good, chain, tmp_path):
    ids, patients = table(chain / "cnn.idx.h5", "_index", "patient")
    owner = dict(zip(ids, patients, strict=True))
    ran = good("query", "cnn.idx.h5", "cnn.emb.h5", "-k", "40", cwd=chain)
    rows = rows_of(ran, tmp_path)
    assert {(row.query, row.id) for row in rows} == {(a, b) for a in ids for b in ids if owner[a] != owner[b]}
    left_out = len(ids) ** 2 - len(rows)
    assert ran.err == f"left out: {left_out} results of the same image, study or patient\n"


def test_in_a_catalogue_too(good, chain, tmp_path):
    """A table made by hand may hold the query's own patient."""
    lines = ["query\t00000001_000", "catalogue\t00000001_001", "catalogue\t00000002_000", "catalogue\t00000003_000"]
    split = tmp_path / "split.tsv"
    split.write_text("seed\tset\trole\tid\n" + "".join(f"7\t1\t{line}\n" for line in lines))
    ran = good("query", "cnn.idx.h5", "cnn.emb.h5", "--split", split, cwd=chain)
    assert {row.id for row in rows_of(ran, tmp_path)} == {"00000002_000", "00000003_000"}
    assert "left out: 1 " in ran.err


def test_include_same(good, chain, tmp_path):
    ran = good("query", "cnn.idx.h5", "cnn.emb.h5", "-k", "40", "--include-same", cwd=chain)
    assert len(rows_of(ran, tmp_path)) == 1600 and "left out" not in ran.err


def test_a_renamed_copy_is_the_same_patient(good, chain, tmp_path):
    """The name says nothing, but the bytes are those of a catalogue image, whose patient is known."""
    copy = tmp_path / "someone.png"
    shutil.copy(chain / "set/images/00000001_000.png", copy)
    ran = good("query", "cnn.idx.h5", copy, "-k", "40", cwd=chain)
    found = {row.id for row in rows_of(ran, tmp_path)}
    ids, patients = table(chain / "cnn.idx.h5", "_index", "patient")
    his = patients[ids.index("00000001_000")]
    assert found == {key for key, patient in zip(ids, patients, strict=True) if patient != his}
    assert f"left out: {patients.count(his)} results" in ran.err and patients.count(his) > 1


@pytest.mark.parametrize(
    ("column", "kept"), [("study", {"c", "d"}), ("patient", {"c", "d"}), ("source", {"b", "c", "d"})]
)
def test_study_or_patient_of_a_manifest(good, chain, tmp_path, column, kept):
    for number, name in enumerate("abcd", start=1):
        shutil.copy(chain / f"set/images/0000000{number}_000.png", tmp_path / f"{name}.png")
    (tmp_path / "m.csv").write_text(f"path,{column}\na.png,x\nb.png,x\nc.png,y\nd.png,\n")
    good("embed", "-m", chain / "cnn.h5", "m.csv", "-o", "emb.h5", cwd=tmp_path)
    good("index", "emb.h5", "-o", "idx.h5", cwd=tmp_path)
    rows = rows_of(good("query", "idx.h5", "emb.h5", cwd=tmp_path), tmp_path)
    assert {row.id for row in rows if row.query == "a"} == kept
    assert {row.id for row in rows if row.query == "d"} == {"a", "b", "c"}


def test_a_catalogue_of_the_queries_own_images(good, chain, tmp_path):
    (tmp_path / "own").mkdir()
    for number in range(3):
        shutil.copy(chain / f"set/images/00000001_00{number}.png", tmp_path / "own")
    good("embed", "-m", chain / "cnn.h5", "own", "-o", "emb.h5", cwd=tmp_path)
    good("index", "emb.h5", "-o", "idx.h5", cwd=tmp_path)
    ran = good("query", "idx.h5", "emb.h5", cwd=tmp_path)
    assert ran.out == "query\trank\tid\tdistance\tquery_labels\tlabels\n"
    assert "left out: 9 results" in ran.err
    assert "warning: 3 of 3 queries have no result" in ran.err


def test_another_key_is_said(good, chain, tmp_path):
    key = tmp_path / "key"
    key.write_text("another key of more than 16 bytes")
    ran = good("embed", "-m", "cnn.h5", "nih:set", "-o", tmp_path / "emb.h5", CBIR_KEY=key, cwd=chain)
    assert "warning: cnn.h5: its patients were hidden with another key" in ran.err
    assert set(table(tmp_path / "emb.h5", "seen")[0]) == {""}
    ran = good("query", "cnn.idx.h5", tmp_path / "emb.h5", "-k", "40", cwd=chain)
    assert "warning: patients of query and index were hidden with different keys" in ran.err
    ids, patients = table(chain / "cnn.idx.h5", "_index", "patient")
    owner = dict(zip(ids, patients, strict=True))
    rows = rows_of(ran, tmp_path)
    assert all(owner[row.query] != owner[row.id] for row in rows)  # the images themselves tell
    ran = good("embed", "-m", "cnn.h5", "nih:set", "-o", tmp_path / "kept.h5", "--keep-ids", cwd=chain)
    assert "--keep-ids differs" in ran.err


def test_fine_tuning_on_maps_of_another_key_is_refused(cbir, good, chain, tmp_path):
    key = tmp_path / "key"
    key.write_text("another key of more than 16 bytes")
    good("saliency", "-m", "cnn.h5", "nih:set", "-o", tmp_path / "maps.h5", CBIR_KEY=key, cwd=chain)
    ran = cbir("finetune-ig", "-m", "cnn.h5", tmp_path / "maps.h5", "-o", tmp_path / "ig.h5", cwd=chain)
    assert ran.status == 1 and "hidden with another key" in ran.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "ig.idx.h5", "cnn.emb.h5"], "cnn.emb.h5: embedded by cnn.h5 (cnn, space "),
        (["query", "cnnig.idx.h5", "ig.emb.h5"], "ig.emb.h5: embedded by ig.h5 (ig, space "),
        (["query", "cnn.idx.h5", "cnnig.emb.h5"], "cnnig.emb.h5: embedded by cnn.h5 (cnn(ig), space "),
        (["explain", "ig.idx.h5", "cnn.emb.h5"], "cnn.emb.h5: embedded by cnn.h5 (cnn, space "),
        (["query", "ig.idx.h5", "set/images", "-m", "cnn.h5"], "cnn.h5: another model than the index was made with"),
        (["query", "cnn.idx.h5", "set/images", "-m", "ig.h5"], "ig.h5: another model than the index was made with"),
        (["query", "cnnig.idx.h5", "set/images"], "cnnig.idx.h5: the query needs the model cnn.h5 (cnn(ig))"),
    ],
)
def test_another_model_is_refused(cbir, chain, arguments, message):
    ran = cbir(*arguments, "-q", cwd=chain)
    assert (ran.status, ran.data) == (1, b"")
    assert ran.error.startswith(f"cbir {arguments[0]}: {message}")


def test_the_model_of_the_environment_is_checked_too(cbir, chain):
    ran = cbir("query", "cnn.idx.h5", "set/images", "-q", CBIR_MODEL="ig.h5", cwd=chain)
    assert ran.status == 1 and ran.error.startswith("cbir query: ig.h5: another model than the index")


def test_another_image_size_is_another_space(cbir, good, chain, tmp_path):
    good("embed", "-m", "ssim", "--image-size", "16", "nih:set", "-o", tmp_path / "emb.h5", cwd=chain)
    ran = cbir("query", "ssim.idx.h5", tmp_path / "emb.h5", cwd=chain)
    assert ran.status == 1 and "embedded by ssim (ssim, space ssim 16)" in ran.error
    ran = good("query", "ssim.idx.h5", "set/images/00000001_000.png", "-k", "1", cwd=chain)
    assert ran.out.count("\n") == 2  # an image is taken at the size of the index


@pytest.fixture(scope="module")
def held(good, linked):
    """A folder with a network that some patients were held out from, and an embedding of all."""
    folder = linked("held")
    options = [*TRAINING, "--set", "test=0.4", "--epochs", "0", "--seed", "4"]
    good("train", "--task", "pleural", "nih:set", *options, "-o", "held.h5", cwd=folder)
    good("embed", "-m", "held.h5", "nih:set", "-o", "held.emb.h5", cwd=folder)
    return folder


def roles(model):
    with h5py.File(model) as file:
        names = [p.decode() for p in file["split/patient"][()]]
        return dict(zip(names, [s.decode() for s in file["split/set"][()]], strict=True))


def test_each_patient_is_marked_with_his_set(held):
    patients, seen = table(held / "held.emb.h5", "patient", "seen")
    known = roles(held / "held.h5")
    assert seen == [known[patient] for patient in patients]
    assert set(seen) == {"train", "validation", "test"}


def test_fine_tuning_inherits_the_sets(good, held, tmp_path):
    good("saliency", "-m", "held.h5", "nih:set", "-o", tmp_path / "maps.h5", cwd=held)
    good("finetune-ig", "-m", "held.h5", tmp_path / "maps.h5", "--epochs", "0", "-o", tmp_path / "ig.h5", cwd=held)
    assert roles(tmp_path / "ig.h5") == roles(held / "held.h5")


def test_classifier_figures_are_of_patients_whom_no_training_has_seen(good, held):
    with h5py.File(held / "held.emb.h5") as file:
        logits = file["obsm/logits"][:, 0].astype(float)
        truth = file["obs/label:Effusion/values"][()]
        test = file["obs/seen"][()] == b"test"
    ran = good("evaluate", "held.emb.h5", "--format", "tsv", cwd=held)
    header, *lines = [line.split("\t") for line in ran.out.splitlines()]
    found = {line[header.index("metric")]: line for line in lines}
    expected = {
        "auroc": sklearn.metrics.roc_auc_score(truth[test], logits[test]),
        "f1": sklearn.metrics.f1_score(truth[test], logits[test] > 0, zero_division=0),
    }
    for name, value in expected.items():
        assert float(found[name][header.index("mean")]) == pytest.approx(value, abs=1e-4)
        assert int(found[name][header.index("n")]) == test.sum() < 40
    assert f"{test.sum()} images scored; left out: {40 - test.sum()} not held out" in ran.err


def test_a_network_that_has_seen_everybody_has_no_figures(cbir, chain):
    ran = cbir("evaluate", "cnn.emb.h5", cwd=chain)
    assert (ran.status, ran.data) == (1, b"")
    assert ran.error == "cbir evaluate: cnn.emb.h5: no image to score: of 40, 40 are not held out, 0 have no label"


@pytest.mark.parametrize("source", ["nih:set", "cnn.emb.h5"])
def test_split_leaves_out_whom_the_model_has_seen(good, held, source):
    options = ["--label", "Effusion", "--catalogue", "3", "--queries", "2", "--seeds", "1"]
    ran = good("split", source, *options, "-m", "held.h5", cwd=held)
    patients, seen, ids = table(held / "held.emb.h5", "patient", "seen", "_index")
    role = dict(zip(ids, seen, strict=True))
    rows = [line.split("\t") for line in ran.out.splitlines()[1:]]
    assert {role[row[3]] for row in rows} == {"test"}
    owner = dict(zip(ids, patients, strict=True))
    for number in {row[1] for row in rows}:
        members = {
            part: {owner[r[3]] for r in rows if r[1] == number and r[2] == part} for part in ("query", "catalogue")
        }
        assert not members["query"] & members["catalogue"]
    dropped = {"train": seen.count("train"), "validation": seen.count("validation")}
    for name, count in dropped.items():
        assert re.search(rf"dropped: {name} patient of held.h5 +{count}\n", ran.err)


def test_split_cannot_leave_out_patients_of_another_key(cbir, held):
    line = ["split", "nih:set", "--label", "Effusion", "-m", "held.h5", "--keep-ids", "-q"]
    ran = cbir(*line, cwd=held)
    assert ran.status == 2 and "hidden with another key" in ran.error
    assert ran.data == b""
