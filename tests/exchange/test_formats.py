"""Each format by a reader of somebody else's: NumPy, pyarrow and pandas, anndata, TensorBoard, sqlite3."""

import csv
import sqlite3

import numpy as np
import pytest
from PIL import Image

from cbir_cli.errors import CbirError, SourceError
from cbir_cli.exchange import h5ad, npy, parquet, projector, sqlite

COLUMNS = {
    "id": ["a", "b", "c"],
    "path": ["a.png", 'ä, "b".png', "c.png"],
    "age": ["40", "", "7"],
    "label:Effusion": ["1", "-1", ""],
    "study": ["", "", ""],
}
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


def test_npy_and_its_table(tmp_path):
    npy.write(tmp_path / "v", VECTORS)
    npy.write_table(tmp_path / "v.csv", COLUMNS)
    assert npy.table_of(tmp_path / "v.npy") == tmp_path / "v.csv"
    assert (np.load(tmp_path / "v", allow_pickle=False) == VECTORS).all()
    assert (npy.read(tmp_path / "v") == VECTORS).all()
    rows = list(csv.DictReader((tmp_path / "v.csv").open(encoding="utf-8", newline="")))
    assert {name: [row[name] for row in rows] for name in COLUMNS} == COLUMNS


@pytest.mark.parametrize("kind", ["pickled", "text", "empty"])
def test_npy_of_no_numbers_is_refused(tmp_path, kind):
    path = tmp_path / "v.npy"
    if kind == "pickled":
        np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    else:
        path.write_bytes(b"hello" if kind == "text" else b"")
    with pytest.raises(SourceError, match="expected an array of numbers"):
        npy.read(path)


def test_parquet_as_pandas_reads_it(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr(parquet, "_ROWS", 2)
    parquet.write(tmp_path / "v.parquet", VECTORS, COLUMNS)
    found = pandas.read_parquet(tmp_path / "v.parquet")
    assert (np.stack(found["vector"]) == VECTORS).all()
    assert found["path"].tolist() == COLUMNS["path"]
    assert found["label:Effusion"].tolist()[:2] == [1, -1] and pandas.isna(found["label:Effusion"][2])
    assert found["age"].isna().tolist() == [False, True, False]


def test_parquet_there_and_back(tmp_path):
    parquet.write(tmp_path / "v.parquet", VECTORS, COLUMNS)
    vectors, columns = parquet.read(tmp_path / "v.parquet")
    assert (vectors == VECTORS).all() and vectors.dtype == np.float32
    assert columns == COLUMNS


def test_parquet_of_others(tmp_path):
    """Lists of doubles, whole numbers as floats, truth values; what is no cell is left out."""
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"id": ["a", "b"], "embedding": [[0.5, 1.0], [2.0, 3.0]], "Effusion": [1.0, np.nan]})
    table["frontal"], table["more"] = [True, False], [[1], [2]]
    table.to_parquet(tmp_path / "v.parquet")
    vectors, columns = parquet.read(tmp_path / "v.parquet", "embedding")
    assert vectors.tolist() == [[0.5, 1.0], [2.0, 3.0]]
    assert columns == {"id": ["a", "b"], "Effusion": ["1", ""], "frontal": ["1", "0"]}
    with pytest.raises(
        SourceError, match=r"no column 'vector' with vectors .*: id, embedding, Effusion, frontal, more"
    ):
        parquet.read(tmp_path / "v.parquet")
    with pytest.raises(SourceError, match="'id' does not hold vectors"):
        parquet.read(tmp_path / "v.parquet", "id")


@pytest.mark.parametrize("cells", [[[1.0], [1.0, 2.0]], [[1.0], None], [[1.0], [None]], [["a"], ["b"]], [[], []]])
def test_parquet_without_vectors_of_one_length(tmp_path, cells):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    write_table(arrow.table({"id": ["a", "b"], "vector": cells}), tmp_path / "v.parquet")
    with pytest.raises(SourceError, match="does not hold vectors of one length without gaps"):
        parquet.read(tmp_path / "v.parquet")


def test_h5ad_of_others(tmp_path):
    anndata = pytest.importorskip("anndata")
    pandas = pytest.importorskip("pandas")
    names = pandas.Index(["a", "b", "c"], dtype=object)  # pandas' own kind of text, anndata cannot write
    sex = pandas.Categorical.from_codes([0, -1, 1], categories=pandas.Index(["F", "M"], dtype=object))
    obs = pandas.DataFrame({"sex": sex, "age": [40.0, np.nan, 7.0]}, names)
    var = pandas.DataFrame(index=pandas.Index(list("wxyz"), dtype=object))
    made = anndata.AnnData(VECTORS.astype(np.float64), obs=obs, var=var)
    made.obsm["X_pca"] = VECTORS[:, :2]
    made.write_h5ad(tmp_path / "v.h5ad")
    vectors, columns = h5ad.read(tmp_path / "v.h5ad")
    assert (vectors == VECTORS).all() and vectors.dtype == np.float32
    assert columns == {"id": ["a", "b", "c"], "sex": ["F", "", "M"], "age": ["40", "", "7"]}
    assert (h5ad.read(tmp_path / "v.h5ad", "X_pca")[0] == VECTORS[:, :2]).all()
    with pytest.raises(SourceError, match="no vectors 'X_umap'; there are: X, X_pca"):
        h5ad.read(tmp_path / "v.h5ad", "X_umap")
    (tmp_path / "bad.h5ad").write_bytes(b"no")
    with pytest.raises(SourceError, match=r"bad\.h5ad: anndata cannot read it"):
        h5ad.read(tmp_path / "bad.h5ad")


@pytest.mark.parametrize(("module", "package"), [(parquet, "pyarrow"), (h5ad, "anndata")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, module, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(CbirError, match=rf"needs? {package}: pip install 'cbir-cli\["):
        module.read(tmp_path / "v")


def test_the_projector_as_tensorboard_reads_it(tmp_path):
    """Its own parser of the configuration and of the vectors, and the sprite cell by cell."""
    plugin = pytest.importorskip("tensorboard.plugins.projector.projector_plugin")
    from google.protobuf import text_format

    small = np.stack([np.full((8, 8), 10 * (n + 1), np.uint8) for n in range(3)])
    projector.write(tmp_path, VECTORS, COLUMNS, small)
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), plugin.ProjectorConfig())
    (one,) = config.embeddings
    assert list(one.tensor_shape) == [3, 4] and list(one.sprite.single_image_dim) == [8, 8]
    assert (plugin._read_tensor_tsv_file(str(tmp_path / one.tensor_path)) == VECTORS).all()
    rows = (tmp_path / one.metadata_path).read_text().splitlines()
    assert rows[0].split("\t") == ["id", "path", "age", "label:Effusion"] and len(rows) == 4
    assert rows[2].split("\t") == ["b", 'ä, "b".png', "-", "-1"]
    sprite = np.asarray(Image.open(tmp_path / one.sprite.image_path))
    assert sprite.shape == (16, 16)
    assert [sprite[4, 4], sprite[4, 12], sprite[12, 4], sprite[12, 12]] == [10, 20, 30, 0]


def test_a_projector_of_one_column_has_no_header(tmp_path):
    projector.write(tmp_path, VECTORS, {"id": ["a", "b", "c"]})
    assert (tmp_path / "metadata.tsv").read_text() == "a\nb\nc\n"
    assert not (tmp_path / "sprite.png").exists() and "sprite" not in (tmp_path / "projector_config.pbtxt").read_text()


UNSAID = (None, None, "", "")


def test_a_database_has_all_tables_and_results_beside_ranks(tmp_path):
    rows = {
        "results": [("run", 1, 2, "q", 1, "a", 0.5, "", ""), ("run", 1, 2, "q", 2, "b", 0.6, "", "")],
        "ranks": [("ranks", 1, 2, "q", "R1", 2, "a", *UNSAID), ("ranks", 1, 3, "q", "R1", 1, "b", *UNSAID)],
    }
    sqlite.write(tmp_path / "r.sqlite", rows)
    with sqlite3.connect(tmp_path / "r.sqlite") as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert tables == set(sqlite.TABLES)
        found = database.execute("SELECT id, rank, expert_rank FROM results_and_ranks ORDER BY rank").fetchall()
    assert found == [("a", 1, 2), ("b", 2, None)]  # b was ranked in another set
