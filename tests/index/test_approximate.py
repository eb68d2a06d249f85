"""What the kinds that search by faiss have in common: nothing is lost, distances are true, recall is as promised."""

import functools
import logging
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli import registry
from cbir_cli.allowed import Allowed
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.index import _faiss, _grown, exact

KINDS = ("hnsw", "ivf-sq8", "ivf-pq")
EFFORT = {"hnsw": "ef_search", "ivf-sq8": "nprobe", "ivf-pq": "nprobe"}

each_kind = pytest.mark.parametrize("kind", KINDS)
each_metric = pytest.mark.parametrize("metric", ["l2", "cosine"])


def clustered(count, width=32, seed=0, draw=0):
    """Vectors of clusters that overlap, as embeddings have them, of different lengths; ``seed`` makes the clusters."""
    rng = np.random.default_rng(seed)
    centres, basis = rng.standard_normal((20, 8)), rng.standard_normal((8, width))
    rng = np.random.default_rng([seed, draw, count])
    points = (centres[rng.integers(20, size=count)] + 0.6 * rng.standard_normal((count, 8))) @ basis
    points += 0.1 * rng.standard_normal(points.shape)
    return (points * rng.uniform(0.5, 2, (count, 1))).astype(np.float32)


def built(kind, vectors, metric, **parameters):
    backend = registry.load("index", kind)
    payload = backend.build(vectors, metric=metric, **parameters)
    return payload, backend.open(vectors, payload, metric=metric)


def plain_distances(query, vectors, metric):
    """Of one query to all vectors, (N,) float32, plainly in float64."""
    query, vectors = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "cosine":
        query, vectors = query / np.linalg.norm(query), vectors / np.linalg.norm(vectors, axis=1)[:, None]
        return (np.square(vectors - query).sum(axis=1) / 2).astype(np.float32)
    return np.sqrt(np.square(vectors - query).sum(axis=1)).astype(np.float32)


@functools.cache
def stock(kind, metric):
    """An index of 200 vectors, a few of them twice, that looks at as little as can be: it names too few."""
    vectors = clustered(200, 12)
    vectors[150:170] = vectors[:20]
    how = {"links": 2} if kind == "hnsw" else {"nlist": 40}
    return vectors, registry.load("index", kind).build(vectors, metric=metric, rerank=1, **{EFFORT[kind]: 1}, **how)


@each_kind
def test_beside_packages_that_change_faiss(kind):
    """As pytorch-metric-learning does by loading ``torch_utils``; in a process of its own."""
    code = (
        "import numpy as np, faiss.contrib.torch_utils; from cbir_cli import registry; "
        "v = np.random.default_rng(1).standard_normal((400, 8)).astype('f4'); "
        f"kind = registry.load('index', {kind!r}); payload = kind.build(v, metric='l2'); "
        "print(kind.open(v, payload, metric='l2').search(v[:5], 1)[1].ravel().tolist())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "[0, 1, 2, 3, 4]", ran.stderr


@each_kind
@settings(max_examples=60, deadline=None)
@given(data=st.data(), metric=st.sampled_from(["l2", "cosine"]), direct=st.sampled_from([0, 30, 10_000]))
def test_sets(kind, data, metric, direct):
    """Whatever is removed, added and filtered: all answers that exist, no other, each with its true distance."""
    old, payload = stock(kind, metric)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    gone = rng.random(200) < data.draw(st.sampled_from([0, 0.1, 0.9, 1]))
    fresh = clustered(data.draw(st.sampled_from([0, 1, 40])), 12, draw=5)
    order = rng.permutation((~gone).sum() + len(fresh))  # ids sort what is new among the old
    vectors = np.concatenate([old[~gone], fresh])[np.argsort(order)]
    if not len(vectors):
        return
    added = np.sort(order[(~gone).sum() :])
    place = np.full(200, -1)
    place[~gone] = order[: (~gone).sum()]
    payload = {**payload, "rows": place[payload["rows"]]}
    np.testing.assert_array_equal(vectors[place[~gone]], old[~gone])
    searcher = registry.load("index", kind).open(vectors, payload, metric=metric)
    queries = np.concatenate([vectors[:2], clustered(4, 12, draw=6)])
    k = data.draw(st.sampled_from([1, 3, 10, 70, 300]))
    everything = np.arange(len(vectors))
    shared = everything[rng.random(len(vectors)) < data.draw(st.sampled_from([0, 0.02, 0.5, 1]))]
    filters = []
    for _ in queries:
        without = everything[rng.random(len(vectors)) < data.draw(st.sampled_from([0, 0.03, 0.9, 1]))]
        own = everything[rng.random(len(vectors)) < 0.5]
        filters.append(
            data.draw(st.sampled_from([None, Allowed(shared, without), Allowed(None, without), Allowed(own)]))
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_grown, "_DIRECT", direct)
        patch.setattr(_grown, "_PIECE", 7)
        distances, rows = searcher.search(queries, k, allowed=filters.__getitem__)
    assert distances.shape == rows.shape == (len(queries), k)
    for q, query in enumerate(queries):
        may = everything if filters[q] is None else filters[q].rows(len(vectors))
        found = rows[q][rows[q] >= 0]
        assert len(found) == min(k, len(may)) == len(set(found.tolist())) and np.isin(found, may).all()
        assert (rows[q, len(found) :] == -1).all() and np.isinf(distances[q, len(found) :]).all()
        real, true = distances[q, : len(found)], plain_distances(query, vectors, metric)
        np.testing.assert_allclose(real, true[found], rtol=3e-7, atol=1e-12)
        assert list(zip(real, found, strict=True)) == sorted(zip(real, found, strict=True))
        if len(found):  # what was added is never missed
            assert np.isin(
                np.intersect1d(added, may)[true[np.intersect1d(added, may)] < real[-1] * (1 - 1e-6)], found
            ).all()


@each_kind
def test_other_queries_do_not_matter(kind):
    vectors, payload = stock(kind, "l2")
    searcher, queries = registry.load("index", kind).open(vectors, payload, metric="l2"), clustered(60, 12, draw=3)
    without = [np.arange(0, 200, 1 + q * q) if q % 3 else np.empty(0, np.int64) for q in range(60)]
    distances, rows = searcher.search(queries, 2, allowed=lambda q: Allowed(without=without[q]))
    for q in range(60):
        alone = searcher.search(queries[q : q + 1], 2, allowed=lambda _, q=q: Allowed(without=without[q]))
        assert alone[0].tobytes() == distances[q].tobytes() and alone[1].tobytes() == rows[q].tobytes()


@each_kind
@each_metric
def test_distances_are_those_of_exact_to_the_bit(kind, metric):
    vectors, queries = clustered(500), clustered(20, draw=1)
    everything = exact.open(vectors, exact.build(vectors, metric=metric), metric=metric).search(queries, 500)
    table = np.empty((20, 500), np.float32)
    np.put_along_axis(table, everything[1], everything[0], axis=1)
    distances, rows = built(kind, vectors, metric)[1].search(queries, 9)
    assert np.take_along_axis(table, rows, axis=1).tobytes() == distances.tobytes()


@each_kind
@each_metric
def test_recall_is_what_was_measured_and_wanted(kind, metric):
    vectors, queries = clustered(4000), clustered(400, draw=1)
    truth, _ = exact.open(vectors, exact.build(vectors, metric=metric), metric=metric).search(queries, 50)
    efforts = []
    for wanted in (0.8, 0.99):
        payload, searcher = built(kind, vectors, metric, recall=wanted)
        assert payload["recall"][0] >= wanted
        for k, measured in zip((10, 50), payload["recall"], strict=True):
            found = searcher.search(queries, k)[0]
            assert (found <= truth[:, k - 1 : k]).mean() == pytest.approx(measured, abs=0.05)
        efforts.append(payload["effort"])
        described = registry.load("index", kind).measured(payload)
        assert described["recall@10"] == round(payload["recall"][0], 4) and described["sample"] == 500
        assert [described[EFFORT[kind]], described["rerank"]] == payload["effort"].tolist()
    assert (efforts[0] <= efforts[1]).all()


@each_kind
def test_recall_counts_what_is_as_near_as_found(kind):
    """Of a thousand equal vectors any ten are the nearest."""
    vectors = np.repeat(clustered(10), 150, axis=0)
    payload, _ = built(kind, vectors, "l2")
    assert payload["recall"][0] == 1 and payload["recall"][1] > 0.98


@each_kind
def test_recall_that_is_not_reached_is_said(kind, caplog):
    vectors = np.random.default_rng(1).standard_normal((3000, 64), dtype=np.float32)
    with caplog.at_level(logging.WARNING, "cbir"):
        payload, _ = built(kind, vectors, "l2", recall=0.9999, rerank=10, **{EFFORT[kind]: 1})
    assert payload["recall"][0] < 0.9999 and len(caplog.messages) == 1
    assert caplog.messages[0] == f"recall@10 is {payload['recall'][0]:.3f} on 500 images; 0.9999 was wanted"


@each_kind
@each_metric
def test_threads_and_memory_maps_do_not_matter(kind, metric, tmp_path, monkeypatch):
    vectors = clustered(1500)
    monkeypatch.setattr(_faiss, "_WORK", 32 * 600)
    vectors.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=vectors.shape)
    one, two = (
        registry.load("index", kind).build(mapped, metric=metric, threads=threads, sample=100) for threads in (1, 3)
    )
    for name in one:
        assert one[name].tobytes() == two[name].tobytes(), name
    other = registry.load("index", kind).build(vectors, metric=metric, seed=4, sample=100)
    assert other["codes"].tobytes() != one["codes"].tobytes()


@each_kind
def test_parameters_that_are_set_are_kept(kind):
    backend, vectors = registry.load("index", kind), clustered(400)
    how = {"hnsw": {"links": 5, "ef_construction": 9}, "ivf-sq8": {"nlist": 7}, "ivf-pq": {"nlist": 7, "pieces": 4}}
    payload, _ = built(kind, vectors, "l2", rerank=77, sample=30, **{EFFORT[kind]: 3}, **how[kind])
    told = {name: value for name, value in how[kind].items() if name != "ef_construction"}
    assert backend.measured(payload).items() >= {"rerank": 77, "sample": 30, EFFORT[kind]: 3, **told}.items()
    assert payload["recall"].dtype == np.float64 and payload["sample"].tolist() == [30]


@each_kind
@each_metric
@pytest.mark.parametrize("count", [0, 1, 2, 5, 41, 300])
@pytest.mark.parametrize("width", [1, 9])
def test_few_vectors(kind, metric, count, width, capfd):
    vectors = clustered(count, width, seed=2)
    _, searcher = built(kind, vectors, metric)
    queries = clustered(3, width, seed=2, draw=1)
    distances, rows = searcher.search(queries, 4)
    assert ((rows >= 0).sum(axis=1) == min(4, count)).all()
    if 0 < count <= 41:
        truth = exact.open(vectors, exact.build(vectors, metric=metric), metric=metric).search(queries, 4)
        np.testing.assert_array_equal(distances, truth[0])
    assert capfd.readouterr() == ("", "")  # faiss says nothing of few training points


@each_kind
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-18, 1e17])
def test_lengths_at_the_ends_of_float32(kind, scale):
    vectors = (clustered(1500) / 100 * scale).astype(np.float32)
    queries = np.concatenate([vectors[:5], np.full((1, 32), 1e17, np.float32), np.zeros((1, 32), np.float32)])
    for metric in ("l2", "cosine"):
        _, searcher = built(kind, vectors, metric, sample=50)
        truth = exact.open(vectors, exact.build(vectors, metric=metric), metric=metric).search(queries, 5)
        distances, rows = searcher.search(queries, 5)
        assert np.isfinite(distances).all()
        np.testing.assert_array_equal(distances[:5, 0], 0)
        if (
            metric == "l2" and scale < 1
        ):  # float32 cannot rank for a query that is so far away, so it is answered exactly
            np.testing.assert_array_equal(rows[5], truth[1][5])


@each_kind
def test_zero_vectors_are_as_far_as_exact_says(kind):
    vectors = clustered(600)
    vectors[::3] = 0
    distances, rows = built(kind, vectors, "cosine")[1].search(np.zeros((1, 32), np.float32), 4)
    assert (distances == 1).all() and (rows >= 0).all()


@each_kind
def test_no_query_is_no_answer(kind):
    distances, rows = built(kind, clustered(50), "l2")[1].search(np.empty((0, 32), np.float32), 4)
    assert distances.shape == rows.shape == (0, 4)


@each_kind
def test_what_makes_no_sense_is_refused(kind):
    backend, vectors = registry.load("index", kind), clustered(60)
    with pytest.raises(UsageError, match="unknown metric 'ssim': known: l2, cosine"):
        backend.build(vectors, metric="ssim")
    for wrong in ({"recall": 1.0}, {"recall": 0.0}, {"rerank": -1}, {"seed": 2**31}, {EFFORT[kind]: -3}):
        with pytest.raises(UsageError, match="expected"):
            backend.build(vectors, metric="l2", **wrong)
    with pytest.raises(ShapeError):
        backend.build(vectors.astype(np.float64), metric="l2")
    payload = backend.build(vectors, metric="l2")
    for rows in (payload["rows"][:-1], payload["rows"] + 1, np.zeros_like(payload["rows"])):
        with pytest.raises(ShapeError):
            backend.open(vectors, {**payload, "rows": rows}, metric="l2")
    with pytest.raises(ShapeError, match="no codes"):
        backend.open(vectors, {name: values for name, values in payload.items() if name != "codes"}, metric="l2")
    with pytest.raises(ShapeError):
        backend.open(vectors[:, :-9].copy(), payload, metric="l2")


@pytest.mark.parametrize("kind", ["u1", "i4"])
def test_a_view_is_the_same_memory(kind):
    values = np.arange(200, dtype=kind)
    values.setflags(write=False)
    seen = _faiss.view(values)
    assert not seen.is_owned and seen.size() == 200
    assert _faiss.library().rev_swig_ptr(seen.data(), 200).ctypes.data == values.ctypes.data
