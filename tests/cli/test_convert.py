"""Embeddings and results go to other programs and come back."""

import csv
import json
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from cbir_cli.artifacts import embeddings, files


def read(path):
    with files.open_artifact(str(path), embeddings.KIND, "cbir-index") as artifact:
        found = embeddings.read(artifact)
        items = found.items.take(range(found.items.count))
        return np.array(found.vectors), {"id": items.ids, **{name: items[name] for name in items}}, found.space


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_there_and_back(good, chain, tmp_path, ending):
    good("convert", chain / "cnn.idx.h5", "-o", tmp_path / f"v.{ending}")
    good("convert", tmp_path / f"v.{ending}", "--space", "mine", "--similarity", "l2", "-o", tmp_path / "back.h5")
    vectors, columns, _ = read(chain / "cnn.idx.h5")
    again, table, space = read(tmp_path / "back.h5")
    assert (again == vectors).all()
    assert {name: cells.tolist() for name, cells in table.items()} == {n: c.tolist() for n, c in columns.items()}
    assert (space.encoder, space.model_name, space.similarity) == ("mine", "mine", "l2")
    good("index", tmp_path / "back.h5", "-o", tmp_path / "idx.h5")
    rows = [line.split("\t")[:4] for line in good("query", tmp_path / "idx.h5", tmp_path / "back.h5").out.splitlines()]
    told = good("query", chain / "cnn.idx.h5", chain / "cnn.emb.h5").out.splitlines()
    assert rows == [line.split("\t")[:4] for line in told]


def test_h5ad_is_an_artifact_that_anndata_reads(good, chain, tmp_path):
    anndata = pytest.importorskip("anndata")
    good("convert", chain / "cnn.idx.h5", "-o", tmp_path / "v.h5ad")
    assert (anndata.read_h5ad(tmp_path / "v.h5ad").X == read(chain / "cnn.idx.h5")[0]).all()
    good("verify", tmp_path / "v.h5ad")
    good("index", tmp_path / "v.h5ad", "-o", tmp_path / "idx.h5")
    assert read(tmp_path / "idx.h5")[2].fingerprint == read(chain / "cnn.idx.h5")[2].fingerprint


def test_the_same_bytes_twice(good, chain, tmp_path):
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("v.npy", "v.parquet", "v.h5", "r.sqlite", "p/"):
            good("convert", chain / "cnn.idx.h5", "-o", f"{folder}/{name}")
        good("convert", "v.npy", "--space", "s", "-o", "in.h5", cwd=folder)
    made = {path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file()}
    assert len(made) >= 9
    for name in made:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def foreign(folder, rows):
    np.save(folder / "v.npy", np.random.default_rng(1).standard_normal((len(rows), 5)))
    with (folder / "v.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "path", "patient", "Effusion"], *rows])


def test_foreign_vectors_in_any_order_and_no_identifiers(good, tmp_path):
    foreign(tmp_path, [["b", "x/b.png", "Mustermann", "1"], ["a", "x/a.png", "Musterfrau", "0"]])
    good("convert", tmp_path / "v.npy", "--space", "theirs", "-o", tmp_path / "v.h5")
    vectors, table, _ = read(tmp_path / "v.h5")
    stored = np.load(tmp_path / "v.npy").astype(np.float32)
    assert table["id"].tolist() == ["a", "b"] and (vectors == stored[[1, 0]]).all()
    assert table["label:Effusion"].tolist() == [0, 1]
    assert b"Muster" not in (tmp_path / "v.h5").read_bytes()
    good("convert", tmp_path / "v.npy", "--space", "theirs", "--keep-ids", "-o", tmp_path / "kept.h5")
    assert read(tmp_path / "kept.h5")[1]["patient"].tolist() == ["Musterfrau", "Mustermann"]


def test_only_vectors_of_the_same_model_are_compared(good, cbir, tmp_path):
    foreign(tmp_path, [["b", "b.png", "", "1"], ["a", "a.png", "", "0"]])
    for space in ("one", "two"):
        good("convert", tmp_path / "v.npy", "--space", space, "-o", tmp_path / f"{space}.h5")
    good("index", tmp_path / "one.h5", "-o", tmp_path / "idx.h5")
    good("query", tmp_path / "idx.h5", tmp_path / "one.h5")
    assert "embedded by two" in cbir("query", tmp_path / "idx.h5", tmp_path / "two.h5").error
    (tmp_path / "image.png").write_bytes(b"")
    assert "made elsewhere, by one" in cbir("query", tmp_path / "idx.h5", tmp_path / "image.png").err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["v.npy", "-o", "x.h5"], 2, "which model made the vectors?"),
        (["v.npy", "--space", "ssim", "-o", "x.h5"], 2, "is a built-in model's name"),
        (["v.npy", "--space", "s", "-o", "x.npy"], 2, "become an embedding"),
        (["v.npy", "--space", "s", "-o", "v.npy"], 2, "become an embedding"),
        (["v.npy", "--space", "s", "--items", "no.csv", "-o", "x.h5"], 1, "no.csv: no such table"),
        (["v.npy", "--space", "s", "--items", "short.csv", "-o", "x.h5"], 1, "2 vectors, but the table lists 1 images"),
        (["v.npy", "--space", "s", "--items", "twice.csv", "-o", "x.h5"], 1, "id 'a' occurs twice"),
        (["nan.npy", "--space", "s", "--items", "v.csv", "-o", "x.h5"], 1, "the vector of b is not finite"),
        (["flat.npy", "--space", "s", "--items", "v.csv", "-o", "x.h5"], 1, "expected vectors (N, D) of numbers"),
        (["none.npy", "--space", "s", "-o", "x.h5"], 1, "none.npy: no such file"),
        (["v.csv", "-o", "x.h5"], 2, "expected an embedding or index artifact"),
        (["v.npy", "v.csv", "-o", "x.h5"], 2, "only a database"),
        (["v.csv", "-o", "x.sqlite"], 1, "expected a run table"),
        (["v.h5", "-o", "x.doc"], 2, "expected a name that ends in .h5"),
        (["v.h5", "--space", "s", "-o", "x.npy"], 2, "--space does not go with"),
        (["v.h5", "--similarity", "l2", "-o", "x.npy"], 2, "--similarity does not go with"),
        (["comparisons.tsv", "-o", "x.sqlite"], 2, "have no place in the database"),
        (["comparisons.json", "-o", "x.sqlite"], 2, "have no place in the database"),
        (["agreement.json", "-o", "x.sqlite"], 2, "have no place in the database"),
        (["v.h5", "-o", "v.csv/"], 1, "v.csv/: is a file, not a folder"),
        (["v.h5", "-o", "no/x.npy"], 1, "the folder no does not exist"),
        (["v.h5", "-o", "."], 1, "holds other files"),
        (["v.h5", "--root", "nowhere", "-o", "p/"], 1, "no such image"),
    ],
)
def test_one_line_for_what_is_wrong(cbir, good, tmp_path, arguments, status, said):
    foreign(tmp_path, [["b", "b.png", "", "1"], ["a", "a.png", "", "0"]])
    good("convert", tmp_path / "v.npy", "--space", "s", "-o", tmp_path / "v.h5")
    np.save(tmp_path / "nan.npy", np.array([[np.nan], [1.0]]))
    np.save(tmp_path / "flat.npy", np.array([1.0, 2.0]))
    (tmp_path / "short.csv").write_text("id,path\na,a.png\n")
    (tmp_path / "twice.csv").write_text("id,path\na,a.png\na,b.png\n")
    compared = {"a": "x.tsv", "b": "y.tsv", "metric": "ndcg@4", "n": 9, "difference": 0.1, "p": 0.5, "p_holm": 1}
    agreed = {"first": "R1", "second": "R2", "statistic": "kendall-tau", "n": 9, "left_out": 0, "value": 0.5}
    (tmp_path / "comparisons.json").write_text(json.dumps(compared) + "\n")
    (tmp_path / "comparisons.tsv").write_text(
        "\t".join(compared) + "\n" + "\t".join(map(str, compared.values())) + "\n"
    )
    (tmp_path / "agreement.json").write_text(json.dumps(agreed) + "\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    ran = cbir("convert", *arguments, cwd=tmp_path)
    assert ran.status == status and said in ran.err.splitlines()[-1] and "Traceback" not in ran.err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "p") == before


def test_the_sprite_shows_the_images(good, chain, tmp_path):
    from PIL import Image

    good("convert", chain / "cnn.emb.h5", "--root", chain / "set", "-o", f"{tmp_path}/p/")
    count = len(read(chain / "cnn.emb.h5")[0])
    across = int(np.ceil(np.sqrt(count)))
    sprite = np.asarray(Image.open(tmp_path / "p" / "sprite.png"))
    assert sprite.shape == (64 * across, 64 * across)
    first = sorted((chain / "set").rglob("*.png"))[0]
    direct = np.asarray(Image.open(first).convert("L").resize((64, 64), Image.Resampling.BILINEAR), float)
    assert np.abs(sprite[:64, :64] - direct).mean() < 3


def test_a_projection_is_replaced_whole(good, cbir, chain, tmp_path, monkeypatch):
    from cbir_cli.exchange import projector

    line = ["convert", chain / "cnn.emb.h5", "-o", f"{tmp_path}/p/"]
    good(*line, "--root", chain / "set")
    before = {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()}
    assert before.keys() == {*projector.FILES}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(projector, "_sprite", full)
        ran = cbir(*line, "--root", chain / "set")
    assert ran.status == 1 and "no space left" in ran.error
    assert {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()} == before
    foreign(tmp_path, [["b", "b.png", "", "1"], ["a", "a.png", "", "0"]])
    good("convert", tmp_path / "v.npy", "--space", "s", "-o", tmp_path / "v.h5")
    good("convert", tmp_path / "v.h5", "-o", f"{tmp_path}/p/", cwd=tmp_path)
    assert {path.name for path in (tmp_path / "p").iterdir()} == {*projector.FILES} - {"sprite.png"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_array_and_its_table_are_replaced_together(good, cbir, chain, tmp_path, monkeypatch):
    from cbir_cli.exchange import npy

    foreign(tmp_path, [["b", "b.png", "", "1"], ["a", "a.png", "", "0"]])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(npy, "write", full)
    ran = cbir("convert", chain / "cnn.emb.h5", "-o", tmp_path / "v.npy")
    assert ran.status == 1 and "no space left" in ran.error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_foreign_vectors_have_a_map_on_the_page(good, chain, tmp_path):
    """Nobody knows what a foreign network saw; the images are shown all the same, if they are named."""
    good("convert", chain / "cnn.emb.h5", "-o", tmp_path / "v.npy")
    good("convert", tmp_path / "v.npy", "--space", "theirs", "-o", tmp_path / "v.h5")
    line = ["report", "v.h5", "--label", "Effusion", "-o", "p.html", "--figures"]
    assert "no images on its map" in good(*line, "without", cwd=tmp_path).err
    good(*line, "with", "--root", chain / "set", cwd=tmp_path)
    shown = [(tmp_path / name / "01-map-of-v.svg").read_text().count("<image") for name in ("without", "with")]
    assert shown == [0, 6]  # three of each class


def test_a_database_of_everything(good, chain, tmp_path):
    scores = good("evaluate", "cnn.tsv", "--split", "split.tsv", "--format", "json", cwd=chain).out
    (tmp_path / "scores.json").write_text(scores)
    inputs = [chain / "cnn.tsv", chain / "ranks.csv", chain / "cnn.idx.h5", tmp_path / "scores.json"]
    good("convert", *inputs, "-o", tmp_path / "r.sqlite")
    with sqlite3.connect(tmp_path / "r.sqlite") as database:

        def count(table):
            return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

        assert count("results") == len((chain / "cnn.tsv").read_text().splitlines()) - 1
        assert count("ranks") == len((chain / "ranks.csv").read_text().splitlines()) - 1
        assert count("items") == len(read(chain / "cnn.idx.h5")[0])
        rows = [json.loads(line) for line in scores.splitlines()]
        assert count("scores") == len(rows) and count("query_scores") == sum(len(row["queries"]) for row in rows)
        mean = database.execute("SELECT mean FROM scores WHERE metric = ?", (rows[0]["metric"],)).fetchone()[0]
        assert mean == rows[0]["mean"]
        seen = "SELECT count(*) FROM results_and_ranks WHERE expert_rank IS NOT NULL"
        assert database.execute(seen).fetchone()[0] > 0


def test_a_database_holds_what_raters_say_beside_ranks(good, tmp_path):
    (tmp_path / "ranks.csv").write_text(
        "query,rater,rank,id,query_severity,severity,query_labels,labels\n"
        "q,R1,1,a,3,2,Edema=1|Mass=0,Edema=-1\nq,R1,2,b,3,,Edema=1|Mass=0,\n"
    )
    good("convert", "ranks.csv", "-o", "r.sqlite", cwd=tmp_path)
    with sqlite3.connect(tmp_path / "r.sqlite") as database:
        columns = "id, query_severity, severity, query_labels, labels"
        found = database.execute(f"SELECT {columns} FROM ranks ORDER BY rank").fetchall()
    said = '{"Edema": 1, "Mass": 0}'
    assert found == [("a", 3, 2, said, '{"Edema": -1}'), ("b", 3, None, said, "")]


def test_an_index_is_not_replaced_by_its_vectors(cbir, chain, tmp_path):
    index = tmp_path / "i.h5"
    index.write_bytes((chain / "cnn.idx.h5").read_bytes())
    ran = cbir("convert", index, "-o", index)
    assert ran.status == 2 and "is one of the inputs" in ran.error
    assert index.read_bytes() == (chain / "cnn.idx.h5").read_bytes()


def test_without_torch(chain, tmp_path):
    code = (
        "import sys; from cbir_cli.cli.main import main; "
        f"s = main(['convert', {str(chain / 'cnn.idx.h5')!r}, '-o', 'v.npy']); "
        "sys.exit(s or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ).returncode == 0
