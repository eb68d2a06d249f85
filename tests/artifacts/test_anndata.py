"""Viewers of single cells open embeddings and indexes as they open any AnnData file."""

import shutil
import warnings

import h5py
import numpy as np
import pytest

from cbir_cli.artifacts import _anndata

anndata = pytest.importorskip("anndata")


@pytest.fixture(params=["cnn.emb.h5", "ig.idx.h5", "ssim.emb.h5", "cnnig.emb.h5"])
def name(request):
    return request.param


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return anndata.read_h5ad(path)


def test_read_h5ad(chain, tmp_path, name):
    shutil.copy(chain / name, tmp_path / "a.h5ad")
    found = read(tmp_path / "a.h5ad")
    with h5py.File(chain / name) as file:
        np.testing.assert_array_equal(found.X, file["X"][()])
        assert found.obs_names.tolist() == [key.decode() for key in file["obs/_index"][()]]
        assert found.obs["path"].tolist() == [path.decode() for path in file["obs/path"][()]]
        if name == "ssim.emb.h5":
            assert not found.obsm
        else:
            np.testing.assert_array_equal(found.obsm["logits"], file["obsm/logits"][()])
        assert found.uns["similarity"] == file["uns/similarity"].asstr()[()]
    assert found.shape == (40, {"ssim.emb.h5": 1024}.get(name, 16))
    assert found.obs["label:Effusion"].isin([0, 1]).all() and found.obs["age"].between(1, 120).all()
    assert set(found.obs["view"]) == {"AP", "PA"}
    assert ("index" in found.uns) == name.endswith("idx.h5")


def test_what_is_missing_is_missing_there_too(good, chain, tmp_path):
    rows = ["a.png,1,61", "b.png,,", "c.png,-1,5"]
    for number, row in enumerate(rows, start=1):
        shutil.copy(chain / f"set/images/0000000{number}_000.png", tmp_path / row[:5])
    (tmp_path / "m.csv").write_text("\n".join(["path,label:Effusion,age", *rows]) + "\n")
    good("embed", "-m", chain / "cnn.h5", tmp_path / "m.csv", "-o", tmp_path / "emb.h5ad")
    found = read(tmp_path / "emb.h5ad")
    assert found.obs["label:Effusion"].isna().tolist() == [False, True, False]
    assert found.obs["label:Effusion"].dropna().tolist() == [1, -1]
    assert found.obs["age"].isna().tolist() == [False, True, False]


def test_no_image_at_all(cbir, chain, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_text("no image")
    (tmp_path / "images/b.png").write_text("no image either")
    shard = ["--shard", "1/2"]  # where another may have images that can be read
    ran = cbir("embed", "-m", chain / "cnn.h5", tmp_path / "images", *shard, "-o", tmp_path / "emb.h5ad")
    assert ran.status == 3
    found = read(tmp_path / "emb.h5ad")
    assert found.shape == (0, 16)


def test_text_beyond_ascii_comes_back(tmp_path):
    names = np.array(["Müller", "", "患者", "a b", "\N{GRINNING FACE}"])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        _anndata.frame(file, "obs", names, {"other": names[::-1], "number": np.array([1, 0, -1, -128, 5], np.int8)})
        assert _anndata.column(file["obs"], "_index").tolist() == names.tolist()
        assert _anndata.column(file["obs"], "other").tolist() == names[::-1].tolist()
        assert _anndata.column(file["obs"], "number").tolist() == [1, 0, -1, -128, 5]
