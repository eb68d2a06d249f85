"""Signals to a training run: it ends after its step, saved, and goes on to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from small_chain import TRAINING

LINE = ["train", "--task", "pleural", "nih:set", *TRAINING, "--seed", "1", "--threads", "1"]


def foreground():
    """A shell's job in the background ignores SIGINT, nohup SIGHUP, and both hand that down to the tests."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def begun(cwd, output, epochs):
    """Start a long run, and return it when it has been saved for the first time."""
    variables = {**os.environ, "SLURM_CPUS_PER_TASK": "1"}
    line = [sys.executable, "-m", "cbir_cli", *LINE, "--epochs", str(epochs), "-o", str(output)]
    process = subprocess.Popen(line, cwd=cwd, env=variables, stderr=subprocess.PIPE, text=True, preexec_fn=foreground)
    checkpoint = output.with_name(output.name + ".checkpoint")
    until = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert checkpoint.exists()
    return process


def told(output):
    from safetensors import safe_open

    with safe_open(f"{output}.checkpoint", framework="numpy") as file:
        return json.loads(file.metadata()["cbir"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_the_run_is_saved_at_its_next_step(good, chain, tmp_path, number):
    output = tmp_path / "cut.h5"
    process = begun(chain, output, 5000)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "--resume goes on" in err and "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.h5.checkpoint"]
    epochs = len(told(output)["history"]) + 1
    good(*LINE, "--epochs", epochs, "--resume", "-o", output, cwd=chain)
    good(*LINE, "--epochs", epochs, "-o", tmp_path / "whole.h5", cwd=chain)
    assert output.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_kill_loses_what_came_after_the_last_save(good, chain, tmp_path):
    output = tmp_path / "cut.h5"
    process = begun(chain, output, 5000)
    process.kill()
    process.communicate(timeout=60)
    epochs = len(told(output)["history"]) + 1
    good(*LINE, "--epochs", epochs, "--resume", "-o", output, cwd=chain)
    good(*LINE, "--epochs", epochs, "-o", tmp_path / "whole.h5", cwd=chain)
    assert output.read_bytes() == (tmp_path / "whole.h5").read_bytes()
