"""From an embedding to scores by way of a community index."""

from pathlib import Path

import numpy as np
import pytest

from cbir_cli.artifacts import embeddings
from cbir_cli.artifacts.items import from_records
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.records import Record

pytest.importorskip("networkit")

NAMES = ("Edema", "Effusion", "Mass")


def write(path, count, similarity="cosine", seed=0):
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 6, count)
    centres, own = rng.standard_normal((6, 16)), rng.random((6, 3)) < 0.5
    vectors = np.maximum(centres[cluster] + 0.6 * rng.standard_normal((count, 16)) + 1, 0).astype(np.float32)
    records = [
        Record(
            id=f"i{n:03d}",
            path=Path(f"{n}.png"),
            relative=f"{n}.png",
            labels=dict(zip(NAMES, own[cluster[n]].astype(int).tolist(), strict=True)),
            patient=f"p{n // 2}",
        )
        for n in range(count)
    ]
    table = from_records(records, [f"{n:016x}" for n in range(count)], Pseudonyms(b"a key"))
    space = embeddings.Space(similarity, "0" * 64, "cnn", source="ward")
    embeddings.write(str(path), vectors, table, space, history=[])


def test_index_query_evaluate(good, tmp_path):
    write(tmp_path / "emb.h5", 240)
    for name in ("idx.h5", "again.h5"):
        ran = good("index", "emb.h5", "--kind", "community", "-o", name, cwd=tmp_path)
    assert "communities of 240 images (modularity 0." in ran.err
    assert (tmp_path / "idx.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()
    good("index", "emb.h5", "-o", "exact.h5", cwd=tmp_path)
    assert "community" in good("info", "idx.h5", cwd=tmp_path).out
    scores = {}
    for name in ("idx", "exact"):
        (tmp_path / f"{name}.tsv").write_bytes(good("query", f"{name}.h5", "emb.h5", "-k", "8", cwd=tmp_path).data)
        command = ["evaluate", f"{name}.tsv", "--items", f"{name}.h5", "--format", "json"]
        scores[name] = good(*command, "--metrics", "acg@8,acg-p-union@8,precision-any@8", cwd=tmp_path).out
    runs = [set((tmp_path / f"{name}.tsv").read_text().splitlines()) for name in scores]
    assert len(runs[0]) == len(runs[1]) and len(runs[0] & runs[1]) >= 0.97 * len(runs[1])
    assert '"metric": "acg@8"' in scores["idx"] and '"random": 0.' in scores["idx"]
    assert "labels Edema, Effusion, Mass: labels that agree, of those of the query" in scores["idx"]


def test_the_printed_algorithm_and_its_shorter_lists(good, tmp_path):
    write(tmp_path / "emb.h5", 60)
    good("index", "emb.h5", "--kind", "community", "--set", "algorithm=literal", "-o", "idx.h5", cwd=tmp_path)
    ran = good("query", "idx.h5", "emb.h5", "-k", "1", cwd=tmp_path)
    assert ran.out.count("\n") <= 1 and "60 of 60 queries have no result" in ran.err


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few_images(good, tmp_path, count):
    write(tmp_path / "emb.h5", count)
    good("index", "emb.h5", "--kind", "community", "-o", "idx.h5", cwd=tmp_path)
    rows = good("query", "idx.h5", "emb.h5", "-k", "3", "--include-same", cwd=tmp_path).out.splitlines()
    assert len(rows) == 1 + count * count


def test_other_similarities_are_refused(cbir, tmp_path):
    write(tmp_path / "emb.h5", 20, "l2")
    ran = cbir("index", "emb.h5", "--kind", "community", "-o", "idx.h5", cwd=tmp_path)
    assert (
        ran.status == 2
        and len(ran.err.splitlines()) == 1
        and "compared by l2, which --kind community cannot" in ran.err
    )
    assert not (tmp_path / "idx.h5").exists()
    write(tmp_path / "emb.h5", 20)
    ran = cbir("index", "emb.h5", "--kind", "community", "--set", "entry=3", "-o", "idx.h5", cwd=tmp_path)
    assert ran.status == 2 and "did you mean entries" in ran.err
