"""Imports point one way, and method folders do not know each other."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "cbir_cli"
FOLDERS = ("cli", "stages", "artifacts", "tasks")
METHODS = (
    "data",
    "models",
    "objectives",
    "saliency",
    "similarity",
    "index",
    "fusion",
    "stores",
    "metrics",
    "reports",
    "phantom",
    "exchange",
)
SHARED = (
    "allowed",
    "calibration",
    "errors",
    "hypergeometric",
    "registry",
    "records",
    "images",
    "reading",
    "decoders",
    "label_sets",
    "maps",
    "random_masks",
    "relax",
    "sliding_boxes",
    "vectors",
    "names",
    "relevance",
    "shared_labels",
    "ties",
    "progress",
    "ranked_lists",
    "dicom",
    "volumes",
    "where",
    "where_grammar",
    "windows",
    "label_policy",
    "npz",
    "propagation",
    "propagation_operations",
    "propagation_rules",
    "__init__",
)
ENGINES = (  # run, open and train networks
    "augmentation",
    "batches",
    "checkpoints",
    "collectives",
    "colour",
    "distributed",
    "engines",
    "held_retrieval",
    "mappers",
    "occluded",
    "opened",
    "optimisation",
    "passes",
    "recipe",
    "signals",
    "training",
    "whole_batch_norm",
)
JUDGING = (  # scores, splits and leaks; whether maps are true
    "agreement",
    "bootstrap",
    "catalogues",
    "chance",
    "classes",
    "classification",
    "comparisons",
    "curves",
    "evaluation",
    "groups",
    "hubness",
    "intervals",
    "jackknife",
    "label_truth",
    "leaks",
    "metric_names",
    "metric_settings",
    "neighbour_calibration",
    "phash",
    "qrel_truth",
    "random_orders",
    "randomisation",
    "raters",
    "repeats",
    "run_labels",
    "scores",
    "sign_flips",
    "split_presets",
    "splits",
    "truth",
    "uncertainty",
)

FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it, in dotted form below the package."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cbir_cli":
            base = (node.module or "").removeprefix("cbir_cli").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}" if base else alias.name
                exists = (PACKAGE / inner.replace(".", "/")).is_dir() or (
                    PACKAGE / f"{inner.replace('.', '/')}.py"
                ).exists()
                names.add(inner if exists else base or "__init__")
        elif isinstance(node, ast.Import):
            names |= {a.name.removeprefix("cbir_cli.") for a in node.names if a.name.startswith("cbir_cli.")}
    return names


def heads(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", [p for p in FILES if place(p) in METHODS], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_method_folders_import_only_themselves_and_what_is_shared(path):
    assert heads(path) <= {*SHARED, place(path)}


@pytest.mark.parametrize("path", [p for p in FILES if place(p) == "artifacts"], ids=lambda p: p.name)
def test_artifacts_import_no_methods(path):
    # splits defines the rows of a split table; images defines the input that a model stores.
    assert heads(path) <= {*SHARED, "artifacts", "splits"}


def test_only_the_command_line_imports_the_command_line():
    for path in FILES:
        if place(path) not in ("cli", "__main__"):
            assert "cli" not in heads(path), path


def test_stages_are_known_to_the_command_line_alone():
    for path in FILES:
        if place(path) not in ("cli", "stages"):
            assert "stages" not in heads(path), path


def test_shared_modules_import_only_shared_modules():
    for name in SHARED:
        path = PACKAGE / f"{name}.py"
        if path.exists():
            assert heads(path) <= set(SHARED), path


def test_engines_import_no_methods_but_the_builder_of_graphs_that_one_cuts():
    for path in FILES:
        if place(path) in ENGINES:
            methods = {name for name in imported(path) if name.split(".")[0] not in {*SHARED, *ENGINES}}
            assert methods <= ({"models._onnx"} if path.stem == "occluded" else set()), path


def test_judging_knows_rows_of_files_and_no_methods():
    for path in FILES:
        if place(path) in JUDGING:
            assert heads(path) <= {*SHARED, *JUDGING, "artifacts"}, path


def test_every_module_and_folder_has_one_layer():
    every = [*FOLDERS, *METHODS, *SHARED, *ENGINES, *JUDGING, "__main__"]
    there = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert there <= set(every), "name its layer in this file"
    assert len(set(every)) == len(every)


def test_the_check_sees_imports_inside_functions(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from cbir_cli.cli import main\n    import cbir_cli.stages.query\n")
    assert {"cli.main", "stages.query"} <= imported(path)
