"""The worked examples of CONTRIBUTING.md are true: each does its work and passes the contract of its folder."""

import importlib.util
import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cbir_cli import registry, tasks
from cbir_cli.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent

BLOCKS = dict(
    re.findall(
        r"^```(?:python|toml)\n# (cbir_cli/[\w/.-]+)\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S
    )
)


def load(name, path):
    """Import a file that is not on the path."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def worked(path, tmp_path):
    """Import a worked example under the name that it would have, from a file outside the package."""
    file = tmp_path / Path(path).name
    file.write_text(BLOCKS[path])
    return load(f"worked_{file.stem}", file)


def contract(file, beside=None, /, **given):
    """Run the tests of a contract that ask for nothing but what is given or parametrized; return how many ran.

    Where a test is parametrized by what is given, it must be for methods like ``beside``.
    """
    module = load(f"worked_{file}", ROOT / "tests" / "contracts" / f"{file}.py")
    ran = 0
    for function in [f for name, f in vars(module).items() if name.startswith("test_") and callable(f)]:
        wanted = set(inspect.signature(function).parameters)
        marks = [m.args[:2] for m in getattr(function, "pytestmark", []) if m.name == "parametrize"]
        marks = [((names,) if isinstance(names, str) else tuple(names), values) for names, values in marks]
        others = [(names, values) for names, values in marks if not set(names) & set(given)]
        alike = all(beside in str(values) for names, values in marks if set(names) & set(given))
        free = wanted - set(given) - {name for names, _ in others for name in names}
        if free or not alike or not wanted & set(given):
            continue
        for choice in itertools.product(*(values for _, values in others)):
            pairs = zip((names for names, _ in others), choice, strict=True)
            chosen = {
                k: v
                for names, value in pairs
                for k, v in zip(names, [value] if len(names) == 1 else value, strict=True)
            }
            function(**{name: value for name, value in (given | chosen).items() if name in wanted})
            ran += 1
    return ran


def test_worked_reader(tmp_path):
    from cbir_cli.records import Flow

    (path,) = [p for p in BLOCKS if "/data/" in p]
    module = worked(path, tmp_path)
    assert module.CITATION and module.LICENSE and inspect.isgeneratorfunction(module.read)
    for word in ("What is labelled", "Size", "origin", "paper", "Access", "licence"):
        assert word in module.__doc__
    root = tmp_path / "set"
    root.mkdir()
    assert not module.recognise(root)
    (root / "a.png").touch()
    (root / "labels.txt").write_text("a.png p1 1\nb.png p2 0\n")
    flow = Flow()
    (record,) = module.read(root, flow=flow)
    assert module.recognise(root)
    assert (record.id, record.patient, dict(record.labels)) == ("a", "p1", {"disease": 1})
    assert (flow.read, flow.kept) == (2, 1)


def test_worked_saliency_method(tmp_path):
    torch = pytest.importorskip("torch")
    (path,) = [p for p in BLOCKS if "/saliency/" in p]
    module = worked(path, tmp_path)
    assert module.EXPLAINS == "output" and "Reference\n---------" in module.__doc__
    weights = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 0.0, 0.0, 1.0]])
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
    model[1].weight.data = weights
    images = torch.ones(3, 1, 2, 2)
    maps = module.explain(model, images)
    assert maps.shape == images.shape
    assert torch.equal(maps, weights[0].reshape(1, 1, 2, 2).expand(3, 1, 2, 2))
    assert torch.equal(module.explain(model, images, torch.tensor([1, 1, 0]))[0].flatten(), weights[1])
    gated = torch.nn.Sequential(*model, torch.nn.ReLU())
    assert torch.equal(module.explain(gated, images, 0, threshold=2.4), maps)  # the value there is 2.5
    assert not module.explain(gated, images, 0, threshold=2.6).any()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_worked_similarity_explainer(tmp_path):
    import numpy as np

    (path,) = [p for p in BLOCKS if "/similarity/" in p]
    images = np.random.default_rng(1).random((4, 16, 16), dtype=np.float32)
    pairs = images[[0, 0, 3]], images[[1, 2, 0]]
    assert contract("test_similarity_contract", method=worked(path, tmp_path), pairs=pairs) >= 5


def test_worked_metric(tmp_path, monkeypatch):
    (path,) = [p for p in BLOCKS if "/metrics/" in p]
    module = worked(path, tmp_path)
    monkeypatch.setattr(registry, "load", lambda folder, name: module)
    assert contract("test_metric_contract", "precision", name="second-tier", folder="metrics/ranking") >= 8
    assert module.score([[0, 1, 0], [0, 0, 1]], [1, 1]).tolist() == [1, 0]


def test_worked_index_backend(tmp_path):
    (path,) = [p for p in BLOCKS if "/index/" in p]
    module = worked(path, tmp_path)
    assert module.METRICS == ("l2",)
    assert contract("test_index_contract", case=(module, "l2"), tmp_path=tmp_path) >= 5


def test_worked_command(tmp_path, monkeypatch, capsys):
    (path,) = [p for p in BLOCKS if "/cli/" in p]
    name = Path(path).stem
    module = worked(path, tmp_path)
    assert module.__doc__.startswith(f"``cbir {name}``:")
    monkeypatch.setitem(sys.modules, f"cbir_cli.cli.{name}", module)
    monkeypatch.setitem(COMMANDS, name, "list the labels of an artifact's images")
    assert main([name, "--help"]) == 0
    assert "--debug" in capsys.readouterr().out
    text = tmp_path / "text.h5"
    text.write_text("no artifact")
    assert main([name, str(text)]) == 1
    assert capsys.readouterr().err == f"cbir {name}: {text}: is not an HDF5 file\n"


def test_worked_task(tmp_path):
    (path,) = [p for p in BLOCKS if "/tasks/" in p]
    file = tmp_path / Path(path).name
    file.write_text(BLOCKS[path])
    task = tasks.load(file)
    assert task.name == file.stem and task.title and set(task.sources) <= set(task.settings())


def test_there_is_a_worked_example_of_each_kind():
    assert len(BLOCKS) == 7
    assert not any((ROOT / path).exists() for path in BLOCKS), "the example has become a method: take another"


def test_worked_examples_are_formatted(tmp_path):
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("ruff is not installed")
    for path, text in BLOCKS.items():
        if path.endswith(".py"):
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [ruff, *command, "--config", ROOT / "pyproject.toml", "--no-cache", tmp_path],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
