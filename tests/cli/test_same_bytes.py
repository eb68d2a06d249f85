"""The same inputs and seed give the same bytes, however the work is cut up, and also after a kill."""

import shutil
import signal

import h5py
import numpy as np
import pytest
from small_chain import MAKE


def content(path):
    """Vectors, logits and what they mean, without the history."""
    with h5py.File(path) as file:
        return file["X"][()], file["obsm/logits"][()], file["uns/space"].asstr()[()], file["obs/_index"][()].tolist()


@pytest.mark.parametrize("name", MAKE)
def test_again(good, chain, tmp_path, name):
    good(*MAKE[name], "-o", tmp_path / name, cwd=chain)
    assert (tmp_path / name).read_bytes() == (chain / name).read_bytes()


def test_a_source_of_another_name_gives_the_same_vectors(good, chain, phantom):
    """Only the last component of an absolute source is kept, so it makes no difference where the data lie."""
    ran = good("embed", "-m", "cnn.h5", f"nih:{chain / 'set'}", cwd=chain)
    assert ran.data == (chain / "cnn.emb.h5").read_bytes()


@pytest.mark.parametrize("cut", [["--batch-size", "1", "--workers", "1"], ["--batch-size", "7", "--workers", "3"]])
@pytest.mark.parametrize("name", ["maps.h5", "cnn.emb.h5", "ig.emb.h5", "ssim.emb.h5"])
def test_batches_and_workers_make_no_difference(good, chain, name, cut):
    assert good(*MAKE[name], *cut, "--threads", "1", cwd=chain).data == (chain / name).read_bytes()


@pytest.mark.parametrize("name", ["cnn.emb.h5", "ig.emb.h5", "maps.h5"])
def test_threads_make_no_difference(good, chain, name):
    assert good(*MAKE[name], "--threads", "2", cwd=chain).data == (chain / name).read_bytes()


def test_batches_of_maps_make_no_difference(good, chain):
    assert good(*MAKE["cnnig.emb.h5"], "--batch-size", "3", cwd=chain).data == (chain / "cnnig.emb.h5").read_bytes()


def test_workers_make_no_difference_to_training(good, chain):
    assert good(*MAKE["cnn.h5"], "--workers", "3", "-o", "-", cwd=chain).data == (chain / "cnn.h5").read_bytes()


def test_another_seed_makes_another_network(good, chain):
    other = [("2" if before == "--seed" else value) for before, value in zip(["", *MAKE["cnn.h5"]], MAKE["cnn.h5"],
             strict=False)]  # fmt: skip
    assert good(*other, "-o", "-", cwd=chain).data != (chain / "cnn.h5").read_bytes()


def test_ig_through_a_maps_file_is_ig_in_one_pass(good, chain, tmp_path):
    good("embed", "-m", "ig.h5", "maps.h5", "-o", tmp_path / "ig.h5", cwd=chain)
    for one, other in zip(content(tmp_path / "ig.h5"), content(chain / "ig.emb.h5"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_cnn_ig_as_a_model_is_the_maps_through_the_cnn(good, chain, tmp_path):
    good("finetune-ig", "-m", "cnn.h5", "maps.h5", "--epochs", "0", "-o", tmp_path / "both.h5", cwd=chain)
    good("embed", "-m", tmp_path / "both.h5", "nih:set", "-o", tmp_path / "emb.h5", cwd=chain)
    for one, other in zip(content(tmp_path / "emb.h5"), content(chain / "cnnig.emb.h5"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_torch_is_the_reference_of_onnx_runtime(good, chain, tmp_path):
    good(*MAKE["cnn.emb.h5"], "--engine", "torch", "-o", tmp_path / "emb.h5", cwd=chain)
    vectors, logits, space, _ = content(chain / "cnn.emb.h5")
    by_torch = content(tmp_path / "emb.h5")
    np.testing.assert_allclose(by_torch[0], vectors, atol=1e-5)
    np.testing.assert_allclose(by_torch[1], logits, atol=1e-5)
    assert by_torch[2] == space


@pytest.mark.parametrize("name", ["cnn.emb.h5", "maps.h5"])
def test_shards_make_the_whole(good, chain, tmp_path, name):
    for number in (1, 2, 3):
        good(*MAKE[name], "--shard", f"{number}/3", "-o", tmp_path / f"{number}.h5", cwd=chain)
    merged = good("merge", "3.h5", "-", "2.h5", stdin=(tmp_path / "1.h5").read_bytes(), cwd=tmp_path)
    assert merged.data == (chain / name).read_bytes()


@pytest.mark.parametrize("command", ["embed", "saliency"])
def test_more_shards_than_images(good, chain, tmp_path, command):
    (tmp_path / "few").mkdir()
    for name in ("00000001_000.png", "00000002_000.png"):
        shutil.copy(chain / "set/images" / name, tmp_path / "few")
    line = [command, "-m", chain / "cnn.h5", "few"]
    for number in (1, 2, 3):
        good(*line, "--shard", f"{number}/3", "-o", f"{number}.h5", cwd=tmp_path)
    assert good("merge", "1.h5", "2.h5", "3.h5", cwd=tmp_path).data == good(*line, cwd=tmp_path).data


def test_a_label_that_one_shard_does_not_state(good, chain, tmp_path):
    rows = [f"{chain}/set/images/0000000{i}_000.png,{'1' if i > 2 else ''}" for i in range(1, 5)]
    (tmp_path / "m.csv").write_text("path,label:Effusion\n" + "\n".join(rows) + "\n")
    line = ["embed", "-m", chain / "cnn.h5", "m.csv"]
    for number in (1, 2):
        good(*line, "--shard", f"{number}/2", "-o", f"{number}.h5", cwd=tmp_path)
    assert good("merge", "1.h5", "2.h5", cwd=tmp_path).data == good(*line, cwd=tmp_path).data


@pytest.fixture(scope="module")
def shards(good, linked):
    folder = linked("shards")
    for name, line in {
        "s1.h5": ["embed", "-m", "cnn.h5", "nih:set", "--shard", "1/3"],
        "s2.h5": ["embed", "-m", "cnn.h5", "nih:set", "--shard", "2/3"],
        "s3.h5": ["embed", "-m", "cnn.h5", "nih:set", "--shard", "3/3"],
        "source.h5": ["embed", "-m", "cnn.h5", "set/images", "--shard", "2/3"],
        "model.h5": ["embed", "-m", "ig.h5", "nih:set", "--shard", "2/3"],
        "half.h5": ["embed", "-m", "cnn.h5", "nih:set", "--shard", "2/2"],
        "kind.h5": ["saliency", "-m", "cnn.h5", "nih:set", "--shard", "2/3"],
    }.items():
        good(*line, "-o", name, cwd=folder)
    return folder


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["s1.h5", "s3.h5"], "of 3 shards, 2 are missing"),
        (["s1.h5"], "of 3 shards, 2, 3 are missing"),
        (["s1.h5", "s2.h5", "s3.h5", "s2.h5"], "s2.h5: is shard 2/3, as is s2.h5"),
        (["s1.h5", "s3.h5", "cnn.emb.h5"], "cnn.emb.h5: is whole, not a shard"),
        (["s1.h5", "s3.h5", "half.h5"], "half.h5: is shard 2/2, the others are of 3"),
        (["s1.h5", "source.h5", "s3.h5"], "source.h5: is not of the same run as s1.h5"),
        (["s1.h5", "model.h5", "s3.h5"], "model.h5: is not of the same run as s1.h5"),
        (["s1.h5", "kind.h5", "s3.h5"], "kind.h5: is not of the same run as s1.h5"),
        (["s1.h5", "ig.idx.h5"], "ig.idx.h5: expected a cbir-embedding or cbir-saliency artifact, found cbir-index"),
    ],
)
def test_shards_that_do_not_make_a_whole(cbir, shards, tmp_path, given, message):
    ran = cbir("merge", *given, "-o", tmp_path / "all.h5", cwd=shards)
    assert ran.status == 1 and ran.error == f"cbir merge: {message}"
    assert not list(tmp_path.iterdir())


KILL_ROWS = """
import os, signal
from cbir_cli.artifacts.partial import Partial
append, calls = Partial.append, []
def killed(self, *arguments):
    if len(calls) == 2:
        self._raw[next(iter(self.fields))].write(b"half a row")
        self._raw[next(iter(self.fields))].flush()
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(1)
    append(self, *arguments)
Partial.append = killed
"""
KILL_EPOCHS = """
import os, signal
from cbir_cli import checkpoints
write, calls = checkpoints.write, []
def killed(path, run):
    write(path, run)
    calls.append(1)
    if len(calls) == {write}:
        open(f"{{path}}.left", "wb").write(b"half a checkpoint")
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.write = killed
"""


@pytest.mark.parametrize("name", ["cnn.emb.h5", "ig.emb.h5", "maps.h5"])
def test_going_on_with_images_after_a_kill(spawn, good, chain, tmp_path, name):
    out, line = tmp_path / name, [*MAKE[name], "--batch-size", "8", "-o", tmp_path / name]
    out.write_bytes(b"the file of the last run")
    assert spawn(*line, code=KILL_ROWS, cwd=chain).status == -signal.SIGKILL
    assert out.read_bytes() == b"the file of the last run"
    ran = good(*line, "--resume", cwd=chain)
    assert "resumed: 16 of 40 images are done\n" in ran.err
    assert out.read_bytes() == (chain / name).read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == [name]


# A run is saved before the validation of an epoch and after it.
@pytest.mark.parametrize(("write", "says"), [(1, "after epoch 0 of 2, step "), (2, "after epoch 1 of 2\n")])
@pytest.mark.parametrize("name", ["cnn.h5", "ig.h5"])
def test_going_on_with_training_after_a_kill(spawn, good, chain, tmp_path, name, write, says):
    line = [*MAKE[name], "-o", tmp_path / name]
    whole = (chain / name).read_bytes()
    if name == "ig.h5":
        line += ["--epochs", "2"]
        whole = good(*line[:-4], "--epochs", "2", "-o", "-", cwd=chain).data
    assert spawn(*line, code=KILL_EPOCHS.format(write=write), cwd=chain).status == -signal.SIGKILL
    assert not (tmp_path / name).exists()
    ran = good(*line, "--resume", cwd=chain)
    assert f"going on {says}" in ran.err
    assert (tmp_path / name).read_bytes() == whole
    assert not (tmp_path / f"{name}.checkpoint").exists()


@pytest.fixture(scope="module")
def killed(spawn, chain, tmp_path_factory):
    """What a killed embed and a killed train leave behind."""
    folder = tmp_path_factory.mktemp("killed")
    spawn(*MAKE["cnn.emb.h5"], "--batch-size", "8", "-o", folder / "emb.h5", code=KILL_ROWS, cwd=chain)
    spawn(*MAKE["cnn.h5"], "-o", folder / "cnn.h5", code=KILL_EPOCHS.format(write=2), cwd=chain)
    return folder


@pytest.mark.parametrize(
    "other",
    [
        ["embed", "-m", "ig.h5", "nih:set"],
        ["embed", "-m", "cnn.h5", "set/masks"],
        ["embed", "-m", "cnn.h5", "nih:set", "--keep-ids"],
        ["embed", "-m", "cnn.h5", "nih:set", "--shard", "1/2"],
        ["embed", "-m", "ssim", "--image-size", "16", "nih:set"],
    ],
)
def test_another_run_does_not_go_on_with_images(cbir, killed, chain, tmp_path, other):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    ran = cbir(*other, "-o", tmp_path / "emb.h5", "--resume", "-q", cwd=chain)
    assert ran.status == 1
    assert ran.err.splitlines()[-1].endswith(
        "emb.h5.partial: was made by another command or from other inputs; remove it or drop --resume"
    )
    assert not (tmp_path / "emb.h5").exists() and (tmp_path / "emb.h5.partial").exists()


@pytest.mark.parametrize(
    "other", [["--seed", "2"], ["--set", "lr=0.02"], ["--set", "rotation=3"], ["--init", "cnn.h5"]]
)
def test_another_run_does_not_go_on_with_training(cbir, killed, chain, tmp_path, other):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    ran = cbir(*MAKE["cnn.h5"], *other, "-o", tmp_path / "cnn.h5", "--resume", "-q", cwd=chain)
    assert ran.status == 1 and "cnn.h5.checkpoint" in ran.error
    assert not (tmp_path / "cnn.h5").exists()


def test_without_resume_the_work_begins_anew(good, killed, chain, tmp_path):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    ran = good(*MAKE["cnn.emb.h5"], "-o", tmp_path / "emb.h5", cwd=chain)
    assert "resumed" not in ran.err
    assert (tmp_path / "emb.h5").read_bytes() == (chain / "cnn.emb.h5").read_bytes()
    assert not (tmp_path / "emb.h5.partial").exists()


def test_resume_where_nothing_was_begun(good, chain, tmp_path):
    good(*MAKE["cnn.emb.h5"], "-o", tmp_path / "emb.h5", "--resume", cwd=chain)
    good(*MAKE["cnn.h5"], "-o", tmp_path / "cnn.h5", "--resume", cwd=chain)
    assert (tmp_path / "emb.h5").read_bytes() == (chain / "cnn.emb.h5").read_bytes()
    assert (tmp_path / "cnn.h5").read_bytes() == (chain / "cnn.h5").read_bytes()
