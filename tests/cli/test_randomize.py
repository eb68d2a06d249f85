"""``cbir saliency --randomize``: the table, its formats, and methods that are fitted."""

import csv
import io
import json

import numpy as np
import pytest

from cbir_cli.artifacts import files, saliency


def table(ran):
    return list(csv.DictReader(io.StringIO(ran.out), delimiter="\t"))


@pytest.fixture
def few(chain):
    """Six of the images, as a manifest in the folder of the chain."""
    path = chain / "few.csv"
    path.write_text("path\n" + "".join(f"set/images/{p.name}\n" for p in sorted((chain / "set/images").iterdir())[:6]))
    return path.name


def test_a_row_for_each_layer_from_the_output_down(good, chain, few):
    rows = table(good("saliency", "-m", "cnn.h5", few, "--randomize", "cascade", "--seed", "3", cwd=chain))
    assert rows[0]["layer"] == "classifier" and rows[-1]["layer"] == "features.conv0"
    assert all(int(row["images"]) + int(row["flat"]) == 6 for row in rows)
    assert all(-1 <= float(row["spearman"]) <= 1 for row in rows if row["spearman"])


def test_the_numbers_are_those_of_two_maps_files(good, chain, few, tmp_path):
    """The last row of a cascade is a network of fresh weights, which train --epochs 0 makes as well."""
    from small_chain import TRAINING

    rows = table(good("saliency", "-m", "cnn.h5", few, "--randomize", "cascade", "--seed", "5", cwd=chain))
    fresh = tmp_path / "fresh.h5"
    arguments = ["--task", "pleural", "nih:set", *TRAINING, "--epochs", "0", "--seed", "5", "-o", fresh]
    good("train", *arguments, cwd=chain)
    maps = []
    for model in ("cnn.h5", fresh):
        out = tmp_path / "maps.h5"
        good("saliency", "-m", model, few, "-o", out, cwd=chain)
        with files.open_artifact(str(out), saliency.KIND) as artifact:
            maps.append(saliency.read(artifact).maps[()].astype(float))
    found = []
    for one, other in zip(*maps, strict=True):
        ranks = [np.unique(m, return_inverse=True, return_counts=True) for m in (one, other)]
        middle = [(np.cumsum(n) - (n - 1) / 2)[i].ravel() for _, i, n in ranks]
        found.append(np.corrcoef(*middle)[0, 1])
    assert float(rows[-1]["spearman"]) == pytest.approx(np.mean(found), abs=1e-4)


def test_patterns_are_fitted_to_the_network_that_has_lost_a_layer(good, chain, few):
    arguments = ["-m", "cnn.h5", few, "--method", "pattern.attribution", "--fit", "nih:set", "--randomize"]
    rows = table(good("saliency", *arguments, "independent", cwd=chain))
    # Patterns of the trained network would leave the map as it was but for the ReLUs.
    assert float(rows[-1]["spearman"]) < 0.9


def test_json_has_the_same_numbers(good, chain, few):
    arguments = ["saliency", "-m", "cnn.h5", few, "--randomize", "independent"]
    rows = table(good(*arguments, cwd=chain))
    lines = [json.loads(line) for line in good(*arguments, "--format", "json", cwd=chain).out.splitlines()]
    assert [(row["layer"], f"{row['spearman']:.4f}") for row in lines] == [(r["layer"], r["spearman"]) for r in rows]


def test_a_table_for_a_person(good, chain, few):
    out = good("saliency", "-m", "cnn.h5", few, "--randomize", "cascade", "--format", "table", cwd=chain).out
    assert "spearman" in out and "classifier" in out and "\t" not in out


@pytest.mark.parametrize(
    "arguments", [["--preview", "x"], ["--shard", "1/2"], ["--resume"], ["--format", "table", "-o", "x.txt"]]
)
def test_what_does_not_go_together(cbir, chain, few, arguments):
    ran = cbir("saliency", "-m", "cnn.h5", few, "--randomize", "cascade", *arguments, cwd=chain)
    assert ran.status == 2 and ran.error.startswith("cbir saliency: --")


def test_a_seed_that_no_weights_can_be_drawn_from(cbir, chain, few):
    ran = cbir("saliency", "-m", "cnn.h5", few, "--randomize", "cascade", "--seed", 2**64, "-q", cwd=chain)
    assert ran.status == 2
    assert ran.err.splitlines()[-1] == f"cbir saliency: expected a seed from 0 to below 2^64, found {2**64}"


def test_format_is_that_of_the_table(cbir, chain, few):
    ran = cbir("saliency", "-m", "cnn.h5", few, "--format", "json", cwd=chain)
    assert ran.status == 2 and "--randomize" in ran.error
