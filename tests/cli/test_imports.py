"""What a command loads: nothing heavy for help, no torch where it is not needed."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "numpy", "h5py", "pandas", "scipy", "sklearn", "PIL", "matplotlib", "onnxruntime",
         "onnx", "typer", "rich", "jinja2", "zennit", "tqdm")  # fmt: skip


def loaded(arguments, cwd):
    """Run a command and return the heavy packages that it has imported."""
    code = (
        "import atexit, json, sys\n"
        f"atexit.register(lambda: print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]), file=sys.stderr))\n"
        "from cbir_cli.cli.main import main\nsys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return set(json.loads(done.stderr.decode().splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["help"]])
def test_top_level_help_loads_nothing_heavy(tmp_path, arguments):
    assert loaded(arguments, tmp_path) == set()


@pytest.mark.parametrize("command", ["train", "embed", "query", "report"])
def test_the_help_of_a_command_loads_typer_alone(tmp_path, command):
    assert loaded([command, "--help"], tmp_path) <= {"typer", "rich"}


LIGHT = [
    ["query", "cnn.idx.h5", "cnn.emb.h5"],
    ["query", "ssim.idx.h5", "ssim.emb.h5"],
    ["query", "ig.idx.h5", "ig.emb.h5", "--split", "split.tsv"],
    ["query", "ssim.idx.h5", "set/images/00000001_000.png"],
    ["info", "cnn.h5", "ig.h5", "maps.h5", "cnn.emb.h5", "ig.idx.h5", "ex.h5"],
    ["verify", "cnn.h5", "ex.h5"],
    ["info", "--benchmark", "ig.idx.h5"],
    ["index", "cnn.emb.h5", "-o", "/dev/null"],
    ["index", "cnn.idx.h5", "--add", "cnn.emb.h5", "--compact", "-o", "/dev/null"],
    ["evaluate", "ig.tsv", "--raters", "ranks.csv"],
    ["evaluate", "ig.tsv", "--split", "split.tsv", "--items", "ig.idx.h5", "--allow-leaks"],
    ["evaluate", "maps.h5", "--masks", "set/masks"],
    ["evaluate", "ex.h5"],
    ["evaluate", "ex.h5", "--masks", "set/masks"],
    ["split", "cnn.emb.h5", "--task", "pleural", "--catalogue", "4"],
    ["report", "ex.h5", "-o", "/dev/null"],
    ["report", "maps.h5", "-o", "/dev/null"],
    ["embed", "-m", "ssim", "--image-size", "32", "nih:set", "-o", "/dev/null"],
    ["embed", "-m", "cnn.h5", "maps.h5", "-o", "/dev/null"],
]


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_no_torch_on_stored_numbers(chain, arguments):
    assert not loaded(arguments, chain) & {"torch", "torchvision", "zennit", "pandas"}


def test_a_query_by_vectors_loads_no_engine_and_no_decoder(chain):
    found = loaded(["query", "cnn.idx.h5", "cnn.emb.h5"], chain)
    assert not found & {"onnx", "onnxruntime", "PIL", "sklearn", "scipy", "matplotlib", "jinja2", "rich", "tqdm"}


def test_features_on_a_cpu_come_without_torch(chain):
    for arguments in (["embed", "-m", "cnn.h5", "nih:set", "--device", "cpu", "-o", "/dev/null"],
                      ["query", "cnn.idx.h5", "set/images/00000001_000.png", "--device", "cpu"]):  # fmt: skip
        found = loaded(arguments, chain)
        assert "onnxruntime" in found and not found & {"torch", "torchvision", "zennit", "pandas", "sklearn"}
