"""Photographs of skin in three classes, by triplets and by labels: colour and classes reach every command."""

import h5py
import numpy as np
import pytest

NETWORK = ["--image-size", "32", "--init", "none", "--epochs", "1", "--set", "architecture=densenet-tiny"]
TRIPLET = ["--batch-size", "6", "--set", "per_class=2"]
LABELS = ["--set", "objective=multilabel", "--set", "class_weights=balanced", "--set", "sampler=permutation",
          "--set", "per_class=0", "--batch-size", "6"]  # fmt: skip


@pytest.fixture(scope="module")
def skin(tmp_path_factory, good):
    folder = tmp_path_factory.mktemp("skin")
    good("phantom", "set", "--kind", "skin", "-n", "24", "--size", "48", cwd=folder)
    for name, options in (("triplet", TRIPLET), ("labels", LABELS)):
        good("train", "--task", "isic", "set", *NETWORK, *options, "-o", f"{name}.h5", cwd=folder)
        good("embed", "-m", f"{name}.h5", "set", "-o", f"{name}.emb.h5", cwd=folder)
        good("index", f"{name}.emb.h5", "-o", f"{name}.idx.h5", cwd=folder)
    return folder


def test_the_network_saw_colours(skin, good, tmp_path):
    """An image and its grey copy are two points."""
    from PIL import Image

    (tmp_path / "both").mkdir()
    image = Image.open(next((skin / "set/images").glob("*.jpg")))
    image.save(tmp_path / "both/colour.png")
    image.convert("L").save(tmp_path / "both/grey.png")
    good("embed", "-m", skin / "triplet.h5", "both", "-o", "e.h5", cwd=tmp_path)
    with h5py.File(tmp_path / "e.h5") as file:
        colour, grey = file["X"][()]
        assert "obsm" not in file or "logits" not in file["obsm"]
    assert np.abs(colour - grey).max() > 1e-3 * np.abs(colour).max()


def test_triplets_are_compared_by_cosine(skin, good):
    rows = [
        line.split("\t")
        for line in good("query", "triplet.idx.h5", "triplet.emb.h5", "-k", "3", cwd=skin).out.splitlines()
    ]
    with h5py.File(skin / "triplet.emb.h5") as file:
        vectors = dict(zip((key.decode() for key in file["obs/_index"][()]), file["X"][()].astype(float), strict=True))
    for query, _, found, distance, *_ in rows[1:10]:
        a, b = vectors[query], vectors[found]
        assert float(distance) == pytest.approx(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert all("nevus=" in row[4] and "melanoma=" in row[5] for row in rows[1:])


@pytest.mark.parametrize(("name", "method"), [("triplet", "occlusion"), ("labels", "ig")])
def test_a_page_shows_colours_and_classes(skin, good, tmp_path, name, method):
    image = next((skin / "set/images").glob("*.jpg"))
    line = [f"{name}.idx.h5", image, "-m", f"{name}.h5", "--root", "set", "-k", "2", "-o", tmp_path / "ex.h5"]
    good("explain", *line, cwd=skin)
    with h5py.File(tmp_path / "ex.h5") as file:
        assert file.attrs["method"] == method
        assert file["queries/images"].shape == (1, 32, 32, 3) and file["results/images"].shape == (2, 32, 32, 3)
        assert file["maps"].shape[1:] == (32, 32)
        pixels = file["results/images"][()].astype(int)
    assert (np.abs(pixels[..., 0] - pixels[..., 2]) > 20).any()
    good("report", tmp_path / "ex.h5", "-o", tmp_path / "page.html", cwd=skin)
    text = (tmp_path / "page.html").read_text()
    assert sum(word in text for word in ("nevus", "melanoma", "seborrheic_")) >= 1
    assert "not compared" in text


def test_without_outputs_there_is_nothing_to_map(skin, cbir):
    for line in (
        ["saliency", "-m", "triplet.h5", "set"],
        ["saliency", "-m", "triplet.h5", "set", "--randomize", "cascade"],
    ):
        ran = cbir(*line, "-q", "-o", "none.h5", cwd=skin)
        assert ran.status == 2 and "gives a vector and no outputs" in ran.error
    assert not (skin / "none.h5").exists()
