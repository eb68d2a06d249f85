"""``cbir report``: maps of embeddings, Hounsfield units, and figures as files."""

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cbir_cli.artifacts import files, index
from cbir_cli.stages import report_calibration, report_embedding


@pytest.fixture(scope="module")
def made(linked, good):
    folder = linked("figures")
    good("phantom", "ct", "--kind", "ct", "-n", "2", "--size", "48", cwd=folder)
    return folder


def figures(folder: Path) -> list[str]:
    names = sorted(path.stem for path in folder.glob("*.svg"))
    assert names == sorted(path.stem for path in folder.glob("*.png"))
    return names


def test_an_embedding_is_a_map_with_the_images_nearest_to_the_centroids(good, made, tmp_path):
    page = good("report", "cnn.idx.h5", "--figures", tmp_path / "f", cwd=made).out
    assert figures(tmp_path / "f") == ["01-map-of-cnn-idx"]  # no patient is held out: no calibration
    assert 'id="map"' in page and "perplexity" in page
    svg = (tmp_path / "f" / "01-map-of-cnn-idx.svg").read_text()
    assert svg.count("<image") == 6  # three of each class
    again = good("report", "cnn.idx.h5", "--figures", tmp_path / "g", cwd=made).out
    assert again == page
    for path in sorted((tmp_path / "f").iterdir()):
        assert path.read_bytes() == (tmp_path / "g" / path.name).read_bytes(), path.name


def test_images_that_are_not_at_hand_are_left_out_or_asked_for(cbir, made, tmp_path):
    shutil.copy(made / "cnn.emb.h5", tmp_path)
    ran = cbir("report", "cnn.emb.h5", "--figures", "f", cwd=tmp_path)
    assert ran.status == 0 and "no images on its map" in ran.err and "--root" in ran.err
    assert "<image" not in (tmp_path / "f" / "01-map-of-cnn-emb.svg").read_text()
    ran = cbir("report", "cnn.emb.h5", "--root", tmp_path, cwd=tmp_path)
    assert ran.status == 1 and "no such image" in ran.error
    assert cbir("report", "cnn.emb.h5", "--root", made / "set", cwd=tmp_path).status == 0


def test_centroids_are_those_of_the_vectors():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 5)).astype(np.float32)
    of = ["a" if i % 3 else "" if i % 2 else "b" for i in range(30)]
    groups = report_embedding._groups(vectors, of, ["a", "b", "c"])
    assert [group.name for group in groups] == ["a", "b"]
    for group in groups:
        own = [i for i in range(30) if of[i] == group.name]
        middle = np.mean([vectors[i].astype(float) for i in own], axis=0)
        far = sorted(own, key=lambda i: np.linalg.norm(vectors[i] - middle))
        assert group.rows.tolist() == own and list(group.nearest) == far[:3]


def test_points_are_the_same_each_time_and_keep_groups_apart():
    rng = np.random.default_rng(0)
    of = np.repeat([0, 1], 20)
    vectors = (rng.normal(size=(40, 70)) + 12 * of[:, None]).astype(np.float32)
    points = report_embedding.project(vectors, "tsne")
    assert points.shape == (40, 2) and np.array_equal(points, report_embedding.project(vectors, "tsne"))
    distance = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(40, np.inf))
    assert (of[distance.argmin(axis=1)] == of).all()
    assert not report_embedding.project(np.ones((5, 3), np.float32), "tsne").any()  # all images alike


def test_of_many_images_some_are_drawn(good, made, tmp_path, monkeypatch):
    monkeypatch.setattr(report_embedding, "MOST", 12)
    page = good("report", "cnn.idx.h5", "-o", "-", cwd=made).out
    assert re.search(r"of 12 of \d+ images, drawn by lot", page)


def test_umap_needs_its_package(cbir, made, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    ran = cbir("report", "cnn.idx.h5", "--projection", "umap", cwd=made)
    assert (ran.status, ran.error) == (
        1,
        "cbir report: --projection umap needs umap-learn: pip install 'cbir-cli[umap]'",
    )
    ran = cbir("report", "cnn.idx.h5", "--projection", "pca", cwd=made)
    assert ran.status == 2 and "--projection: expected tsne or umap, found 'pca'" in ran.error


def test_calibration_counts_images_of_held_out_patients(made):
    with files.open_artifact(str(made / "cnn.idx.h5"), index.KIND) as artifact:
        one = index.read(artifact).embedding
        assert report_calibration.figures_of([("cnn.idx.h5", one)], None) == []  # the network has seen all of them
        seen = np.array(["test", "train", "", "validation"])[np.arange(one.items.count) % 4]
        one = replace(one, items=one.items.take(np.arange(one.items.count)).replace(seen=seen))
        ((said, drawing),) = report_calibration.figures_of([("x/cnn.idx.h5", one)], None)
        codes = one.items.label(one.space.targets[0])
        held = np.isin(seen, ("", "test")) & np.isin(codes, (0, 1))
        probability = 1 / (1 + np.exp(-one.logits[:, 0][held].astype(float)))
        assert report_calibration.figures_of([("cnn.idx.h5", one)], "Edema") == []
    upper, lower = drawing.figure().axes
    bins = np.minimum((probability * 10).astype(int), 9)
    counted = {i: int((bins == i).sum()) for i in set(bins.tolist())}
    assert {round(10 * bar.get_x()): int(bar.get_height()) for bar in lower.patches} == counted
    shares = {round(10 * bar.get_x()): bar.get_height() for bar in upper.patches}
    assert shares == {i: pytest.approx((codes[held][bins == i] == 1).mean()) for i in counted}
    assert f"n {held.sum()}" in drawing and "cnn.idx, Effusion" in drawing and "held-out patients" in said


def test_hounsfield_units_of_livers(good, made, tmp_path):
    page = good("report", "--hounsfield", "msd-liver:ct", "--figures", tmp_path / "f", cwd=made).out
    assert figures(tmp_path / "f") == ["01-windows-of-hounsfield-units", "02-histogram-of-hounsfield-units"]
    assert 'id="hounsfield"' in page and "voxels inside the masks, of 10 slices" in page
    import nibabel

    from cbir_cli.data import read_source

    voxels = 0
    for record in read_source(f"msd-liver:{made / 'ct'}").records:
        mask = nibabel.as_closest_canonical(nibabel.load(record.mask)).get_fdata()
        voxels += int((mask[:, :, record.part] > 0).sum())
    assert f"{voxels:,} voxels inside the masks" in page


def test_other_windows_and_what_is_no_ct(cbir, good, made):
    page = good("report", "--hounsfield", "msd-liver:ct", "--windows", "lung/0,80", cwd=made).out
    assert "\N{MINUS SIGN}1350 to 150 HU" in page and "0 to 80 HU" in page and "liver-wide" not in page
    for windows in ("", "lung/", "80,0"):
        assert cbir("report", "--hounsfield", "msd-liver:ct", "--windows", windows, cwd=made).status == 2
    ran = cbir("report", "-q", "--hounsfield", "nih:set", cwd=made)
    assert ran.status == 1 and "no image in Hounsfield units: 00000001_000.png: no Hounsfield units" in ran.error


def test_contact_sheets_are_files_and_not_on_the_page(good, made, tmp_path):
    page = good("report", "ex.h5", "--raters", "ranks.csv", "--sheets", "1", "--figures", tmp_path / "f", cwd=made).out
    names = figures(tmp_path / "f")
    assert [name[3:] for name in names][:2] == ["least-and-most-similar-images", "expert-rankings"]
    assert len([name for name in names if "query" in name]) == 1
    assert page == good("report", "ex.h5", "--raters", "ranks.csv", cwd=made).out
    good("report", "ex.h5", "--raters", "ranks.csv", "--sheets", "0", "--figures", tmp_path / "none", cwd=made)
    assert not figures(tmp_path / "none")
