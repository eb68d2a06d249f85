"""What a run leaves that was killed in the middle tells no more than a finished one: folders, checkpoints, spools."""

import os
import re
import shutil
import signal

import pytest
from small_chain import TRAINING

CANARY = "KANARIE"
FOUND = re.compile(rb"kanarie")

# The process ends itself as kill -9 would: after its second batch, in the middle of writing, after a checkpoint.
WORKING = """
import os, signal
from cbir_cli.artifacts.partial import Partial
append, calls = Partial.append, []
def killed(self, *arguments):
    append(self, *arguments)
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Partial.append = killed
"""
WRITING = """
import os, signal
from cbir_cli.artifacts import _payload
_payload.fingerprint = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
"""
TRAINED = """
import os, signal
from cbir_cli import checkpoints
write, calls = checkpoints.write, []
def killed(*arguments):
    write(*arguments)
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.write = killed
"""


@pytest.fixture(scope="module")
def ward(tmp_path_factory, phantom):
    """A table of images whose folders, names, patients and studies are canaries; one image is damaged."""
    root = tmp_path_factory.mktemp("far") / f"{CANARY}-hospital"
    rows = ["path,patient,study,view,Effusion"]
    for number, image in enumerate(sorted((phantom / "images").iterdir())[:24]):
        name = f"{CANARY}{number // 2}/{CANARY}{number // 2}-{number}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, root / name)
        rows.append(f"{name},{CANARY}{number // 2},{CANARY}S{number},AP,{number % 2}")
    (root / name).write_bytes(b"no image")
    (root / "t.csv").write_text("\n".join(rows) + "\n")
    return root


def left(folder):
    """Bytes and names of all files below a folder, in lower case."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: name.encode().lower() + b"\n" + data.lower() for name, data in files.items()}


def run(spawn, tmp_path, line, code, status=-signal.SIGKILL):
    out, spool = tmp_path / "out", tmp_path / "spool"
    for folder in (out, spool):
        folder.mkdir(exist_ok=True)
    ran = spawn(*line, code=code, cwd=out, env={"TMPDIR": str(spool), "HOME": str(tmp_path)})
    assert ran.status == status, ran.err
    return left(out) | left(spool), ran


@pytest.mark.parametrize("code", [WORKING, WRITING], ids=["working", "writing"])
@pytest.mark.parametrize("where", ["file", "pipe"])
def test_killed_embedding(spawn, ward, tmp_path, code, where):
    line = ["embed", "-m", "ssim", "--image-size", "16", ward / "t.csv", "--batch-size", "12"]
    line += ["-o", "a.h5"] if where == "file" else []
    files, ran = run(spawn, tmp_path, line, code)
    told = [name for name, data in files.items() if FOUND.search(data)]
    assert files and not told and CANARY not in ran.err
    if where == "file":
        assert {"a.h5.partial/header.json", "a.h5.partial/journal.jsonl"} <= files.keys()
        assert b'"error"' in files["a.h5.partial/journal.jsonl"] or b"not a" in files["a.h5.partial/journal.jsonl"]
    # The same search finds them where they are kept.
    shutil.rmtree(tmp_path / "out"), shutil.rmtree(tmp_path / "spool")
    kept, _ = run(spawn, tmp_path, [*line, "--keep-ids"], code)
    assert any(FOUND.search(data) for data in kept.values())


def test_killed_training_and_maps(spawn, good, ward, tmp_path):
    line = ["train", "--task", "pleural", ward / "t.csv", *TRAINING, "--epochs", "3", "-o", "m.h5"]
    files, ran = run(spawn, tmp_path, line, TRAINED)
    assert "m.h5.checkpoint" in files
    assert not [name for name, data in files.items() if FOUND.search(data)] and CANARY not in ran.err
    assert str(ward).lower().encode() not in files["m.h5.checkpoint"]
    run(spawn, tmp_path, [*line, "--resume"], "", status=3)
    maps = ["saliency", "-m", "m.h5", ward / "t.csv", "-o", "maps.h5", "--batch-size", "12"]
    files, ran = run(spawn, tmp_path, maps, WORKING)
    assert "maps.h5.partial/journal.jsonl" in files and os.path.getsize(tmp_path / "out" / "m.h5")
    assert not [name for name, data in files.items() if FOUND.search(data)] and CANARY not in ran.err
