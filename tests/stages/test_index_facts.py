"""What ``cbir info`` says of an index and of an explanation, and what it measures."""

import json

import explained
import h5py
import numpy as np
import pytest
from growth import Keeping, image, write_embedding
from scipy import stats

from cbir_cli import registry
from cbir_cli.artifacts import files
from cbir_cli.artifacts import index as indexes
from cbir_cli.cli.index import run as index_command
from cbir_cli.errors import CbirError
from cbir_cli.stages import benchmark_index, index_facts, info


@pytest.fixture
def keeping(monkeypatch):
    """Let ``--kind keeping`` name a kind that keeps what it was built from."""
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda *what: Keeping if what == ("index", "keeping") else load(*what))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Read little memory."""
    monkeypatch.setattr(benchmark_index, "_BLOCK", (64, 64))


def catalogue(folder, count, kind="exact", name="idx.h5", **more):
    rng = np.random.default_rng(4)
    images = [image(i, vector=rng.standard_normal(6)) for i in range(count)]
    index_command(write_embedding(folder / "emb.h5", images, **more), kind, str(folder / name))
    return str(folder / name)


def test_bytes_and_what_was_done_since(tmp_path, keeping):
    path = catalogue(tmp_path, 30, "keeping")
    known = info.facts(path)
    assert known["bytes"] == {"file": (tmp_path / "idx.h5").stat().st_size, "vectors": 720, "payload": 30 * 8 + 720}
    assert known["query-memory"] == {"mapped": 1680} and known["since-built"] == {"added": 0, "gone": 0}
    (tmp_path / "ids.txt").write_text("ward/03\nward/04\n")
    index_command(
        path, None, path, add=[write_embedding(tmp_path / "b.h5", [image(99)])], remove=str(tmp_path / "ids.txt")
    )
    known = info.facts(path)
    assert (known["vectors"], known["since-built"]) == (29, {"added": 1, "gone": 2})
    assert "\n  since-built:     added 1, gone 2\n" in info.text(known)
    assert "\n  bytes:           file " in info.text(known) and ", vectors 696, payload 960\n" in info.text(known)


def test_a_recall_that_was_measured_is_told(tmp_path):
    path = catalogue(tmp_path, 3)
    with h5py.File(path, "r+") as file:
        file["uns/index"].create_dataset("measured", data='{"recall@10": 0.97}', dtype=h5py.string_dtype())
    assert info.facts(path)["measured"] == {"recall@10": 0.97}
    assert "\n  measured:        recall@10 0.97\n" in info.text(info.facts(path))


def test_hubness_is_that_of_all_vectors_or_of_a_sample(tmp_path, monkeypatch):
    path = catalogue(tmp_path, 40)
    with files.open_artifact(path) as artifact:
        stored = indexes.read(artifact)
        vectors = np.array(stored.embedding.vectors, np.float64)
        far = np.square(vectors[:, None] - vectors[None]).sum(axis=2) + np.diag(np.full(40, np.inf))
        counts = np.bincount(np.argsort(far, axis=1)[:, :10].ravel(), minlength=40)
        found = index_facts.hubness_of(stored)
        assert found == {
            "skewness": round(float(stats.skew(counts)), 3),
            "antihubs": round(float((counts == 0).mean()), 4),
            "largest": counts.max(),
            "k": 10,
            "vectors": 40,
        }
        monkeypatch.setattr(index_facts, "_SAMPLE", 25)
        assert index_facts.hubness_of(stored)["vectors"] == 25
        assert index_facts.hubness_of(stored, work=1.44)["vectors"] == 30
        assert index_facts.hubness_of(stored, work=0.64) == {}  # of 20 vectors nearly all are neighbours
    assert info.facts(path)["hubness"]["vectors"] == 25
    assert "hubness" not in info.facts(catalogue(tmp_path, 20))


def test_recall_counts_by_distance():
    inf = np.inf
    truth = np.array([[1, 2, 2], [0, 0, inf], [1, 1, 4]], np.float32)
    assert benchmark_index.recall(truth, truth) == 1
    # A tie at the end counts, what is farther does not, and an empty place is not asked for.
    assert benchmark_index.recall(np.array([[1, 2, 2], [0, inf, inf], [1, 4, 5]], np.float32), truth) == 6 / 8
    assert benchmark_index.recall(np.full((3, 3), inf, np.float32), truth) == 0
    assert benchmark_index.recall(np.array([[1, 2.0000002, 2], [0, 0, inf], [1, 1, 4]], np.float32), truth) == 1


def test_a_benchmark(tmp_path, good):
    path = catalogue(tmp_path, 60)
    known = json.loads(good("info", "--benchmark", "--format", "json", path).out)
    found = known["benchmark"]
    assert set(found) == {"process", "latency-ms", "batch", "recall", "bandwidth-gb/s"}
    assert found["recall"] == {"@10": 1.0, "@50": 1.0}
    assert found["latency-ms"]["queries"] == found["batch"]["queries"] == 60
    assert 0 < found["latency-ms"]["median"] <= found["latency-ms"]["p95"] < found["process"]["memory-ms"]
    assert found["process"]["disk-ms"] > 0 and found["bandwidth-gb/s"] > 0
    assert 1e7 < found["process"]["peak-bytes"] < 1e11
    assert known["hubness"]["vectors"] == 60
    text = info.text(known)
    for key in ("process", "latency-ms", "batch", "recall", "bandwidth-gb/s"):
        assert text.count(f"\n  {key + ':':<16} ") == 1, key


def test_a_benchmark_finds_what_a_kind_misses(tmp_path, keeping, monkeypatch):
    """A kind that does not find every second row has a recall of about a half, whatever was measured before."""
    path = catalogue(tmp_path, 200, "keeping")
    whole = Keeping.open

    def none(vectors, *, metric, slow=1):
        raise AssertionError("nothing is to be built")

    monkeypatch.setattr(Keeping, "build", staticmethod(none))

    def half(vectors, payload, **parameters):
        known = np.array(vectors)
        known[1::2] += 1000
        return whole(known, {"rows": np.empty(0, np.int64), "copies": known[:0]}, **parameters)

    monkeypatch.setattr(Keeping, "open", staticmethod(half))
    monkeypatch.setattr(benchmark_index, "_processes", lambda artifact: {})
    with files.open_artifact(path) as artifact:
        found = benchmark_index.benchmark(artifact)
        vectors = np.array(indexes.read(artifact).embedding.vectors, np.float64)
    rows = np.random.default_rng(1).permutation(200)[:100]
    shares = []
    for row in rows:
        near = [i for i in np.argsort(np.square(vectors - vectors[row]).sum(axis=1)) if i != row][:10]
        shares.append(np.mean([i % 2 == 0 for i in near]))
    assert found["recall"]["@10"] == pytest.approx(np.mean(shares), abs=1e-4)


def test_what_cannot_be_measured(tmp_path, cbir):
    path = catalogue(tmp_path, 1)
    ran = cbir("info", "--benchmark", "emb.h5", cwd=tmp_path)
    words = "--benchmark: expected a cbir-index artifact, found cbir-embedding"
    assert (ran.status, ran.error) == (1, f"cbir info: emb.h5: {words}")
    ran = cbir("info", "--benchmark", "idx.h5", cwd=tmp_path)
    assert (ran.status, ran.error) == (1, "cbir info: idx.h5: --benchmark: expected at least two vectors")
    (tmp_path / "query.h5").write_text("")
    with pytest.raises(
        CbirError, match=r"the query that was to be measured failed: cbir query: .*idx.h5: the query needs"
    ):
        benchmark_index._ask(path, str(tmp_path / "query.h5"))


def test_an_explanation_names_what_it_holds(tmp_path):
    plain = explained.write(tmp_path, "plain.h5", explained.made("occlusion"))
    full = explained.write(tmp_path, "full.h5", explained.made("relax", uncertain=True, itself=True, lost=True))
    known = info.facts(str(full))
    maps = known["maps"]
    assert known["uncertainty"] == f"{maps // 2} of the maps"
    curves = ["insertion", "deletion"]
    assert known["measures"] == [*curves, *(f"{c} of a random {what}" for what in ("map", "model") for c in curves)]
    assert known["randomisation"] == {way: f"{len(explained.LAYERS)} layers" for way in ("cascade", "independent")}
    assert list(known["classes"]) == list(explained.CLASSES)
    text = info.text(known)
    assert "\n  measures:        insertion, deletion, insertion of a random map, " in text
    assert f"\n  uncertainty:     {maps // 2} of the maps\n" in text and "\n  classes:         " in text
    assert not {"uncertainty", "randomisation", "classes"} & set(info.facts(str(plain)))
