"""torchrun: two processes with half batches do what one does with whole ones."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

NETWORK = ["--image-size", "32", "--init", "none", "--seed", "1", "--set", "validation=0.3", "--set", "views=any"]
SGD = ["--set", "optimizer=sgd", "--set", "lr=0.05"]  # Adam would blow rounding up where gradients are small
PLEURAL = ["--task", "pleural", "nih:set", *NETWORK, *SGD, "--set", "architecture=densenet-tiny"]
SIMSIAM = [*PLEURAL, "--set", "objective=simsiam", "--set", "class_weights=none", "--set", "selection=last",
           "--set", "rotation=0", "--set", "crop=0.5", "--set", "lr=0.005"]  # fmt: skip
PARTS = [*PLEURAL, "--set", "accumulate=2", "--set", "sampler=permutation"]
TRIPLET = [*PLEURAL, "--set", "objective=triplet", "--set", "class_weights=none", "--set", "selection=last",
           "--set", "embedding=8"]  # fmt: skip


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launch(arguments, cwd, count=2):
    """Start torchrun on this machine's loopback, as a process of its own."""
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    line += ["--master-addr", "127.0.0.1", "--master-port", str(port()), "-m", "cbir_cli", *map(str, arguments)]
    variables = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "SLURM_CPUS_PER_TASK": "1"}
    return subprocess.Popen(line, cwd=cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def together(arguments, cwd, count=2):
    process = launch(arguments, cwd, count)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err


def curves(path):
    with h5py.File(path) as file:
        return json.loads(file.attrs["epochs"])


def weights(path):
    with h5py.File(path) as file:
        group, found = file["weights"], {}
        group.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.mark.parametrize("task", [PLEURAL, TRIPLET, SIMSIAM], ids=["binary", "triplet", "simsiam"])
def test_two_processes_train_as_one_with_the_whole_batch(good, chain, tmp_path, task):
    """Tolerance after 2 epochs: 1e-4 of the loss (at least 1e-4), 1e-2 of a layer's largest change (at least 1e-6).

    Rounding grows with every step, in SimSiam's batch norm over vectors of 8 images fastest, hence its smaller steps.
    """
    line = ["train", *task, "--epochs", "2"]
    err = together([*line, "--batch-size", "4", "-o", tmp_path / "two.h5"], chain)
    assert err.count("epoch 1:") == 1  # one of them speaks
    good(*line, "--batch-size", "8", "-o", tmp_path / "one.h5", cwd=chain)
    one, two = curves(tmp_path / "one.h5"), curves(tmp_path / "two.h5")
    assert [list(entry) for entry in one] == [list(entry) for entry in two]
    for first, second in zip(one, two, strict=True):
        for name, value in first.items():
            assert second[name] == (value if value is None else pytest.approx(value, rel=1e-4, abs=1e-4)), name
    good("train", *task, "--epochs", "0", "-o", tmp_path / "start.h5", cwd=chain)
    start, first, second = (weights(tmp_path / f"{name}.h5") for name in ("start", "one", "two"))
    assert start.keys() == first.keys() == second.keys()
    for name, value in first.items():
        change = np.abs(value - start[name]).max()
        np.testing.assert_allclose(second[name], value, atol=1e-2 * change + 1e-6, rtol=0, err_msg=name)


def test_batches_in_parts_may_end_unevenly(chain, tmp_path):
    """28 images in batches of 10 leave 8; 29 would leave an odd share, as 27 do: 10, 10 and 7."""
    together(["train", *PARTS, "--epochs", "1", "--batch-size", "5", "--seed", "3", "-o", tmp_path / "m.h5"], chain)
    assert np.isfinite(curves(tmp_path / "m.h5")[0]["loss"])


def test_all_processes_stop_at_one_step_and_go_on(chain, tmp_path):
    line = ["train", *PLEURAL, "--batch-size", "4", "--epochs", "2"]
    together([*line, "-o", tmp_path / "whole.h5"], chain)
    output = tmp_path / "cut.h5"
    process = launch([*line[:-1], "1000", "-o", output], chain)
    until = time.monotonic() + 120
    while not (tmp_path / "cut.h5.checkpoint").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode != 0 and not output.exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("cut")] == ["cut.h5.checkpoint"]
    from safetensors import safe_open

    with safe_open(tmp_path / "cut.h5.checkpoint", framework="numpy") as file:
        told = json.loads(file.metadata()["cbir"])
    epochs = len(told["history"])
    assert epochs >= 1
    together([*line[:-1], str(epochs + 1), "--resume", "-o", output], chain)
    one = together([*line[:-1], str(epochs + 1), "-o", tmp_path / "again.h5"], chain)
    assert "going on" not in one
    assert output.read_bytes() == (tmp_path / "again.h5").read_bytes()


@pytest.mark.parametrize("command", ["embed", "saliency"])
def test_shards_are_joined_to_the_same_bytes(good, chain, tmp_path, command):
    line = [command, "-m", "cnn.h5", "nih:set"]
    together([*line, "-o", tmp_path / "two.h5"], chain)
    good(*line, "-o", tmp_path / "one.h5", cwd=chain)
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.h5", "two.h5"]


def test_what_no_process_could_read_is_told_once(chain, tmp_path):
    names = sorted((chain / "set/images").iterdir())[:6]
    (tmp_path / "some").mkdir()
    for number, name in enumerate(names):
        (tmp_path / "some" / f"{number}.png").write_bytes(b"no" if number in (1, 5) else name.read_bytes())
    process = launch(["embed", "-m", chain / "cnn.h5", "some", "-o", "emb.h5"], tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and err.count("2 images could not be read") == 1
    assert err.count("the artifact is whole") == 1 and "exitcode  : 3" in err  # torchrun itself ends with 1
    again = together(["embed", "-m", chain / "cnn.h5", "some", "-o", "skip.h5", "--on-error", "skip"], tmp_path)
    assert (
        "the artifact is whole" not in again
        and (tmp_path / "skip.h5").read_bytes() == (tmp_path / "emb.h5").read_bytes()
    )
    (tmp_path / "skip.h5").unlink()
    with h5py.File(tmp_path / "emb.h5") as file:
        assert len(file["X"]) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["emb.h5", "some"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nih:set"], "give -o FILE"),
        (["nih:set", "--shard", "1/2", "-o", "x.h5"], "take shards of their own"),
        (["-", "-o", "x.h5"], "cannot share standard input"),
    ],
)
def test_what_several_processes_cannot_do(chain, options, says):
    process = launch(["embed", "-m", "cnn.h5", *options], chain)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and says in err


def test_other_launchers_are_not_taken_for_torchrun(monkeypatch):
    from cbir_cli import distributed

    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert distributed.launched() == distributed.ALONE
