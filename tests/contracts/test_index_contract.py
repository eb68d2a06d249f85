"""What holds for every index backend; those that are approximate are compared with the exact one by distance."""

import inspect

import numpy as np
import pytest

from cbir_cli import registry
from cbir_cli.allowed import Allowed
from cbir_cli.errors import CbirError
from cbir_cli.index import exact

CASES = [(name, metric) for name in registry.names("index") for metric in registry.load("index", name).METRICS]


def data(metric, count=120, seed=1):
    rng = np.random.default_rng(seed)
    if metric == "ssim":
        return rng.integers(0, 256, (count, 64)).astype(np.float32)
    return rng.standard_normal((count, 12), dtype=np.float32)


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request):
    name, metric = request.param
    return registry.load("index", name), metric


def test_the_exact_backend_is_there():
    assert {("exact", metric) for metric in ("l2", "cosine", "ssim")} <= set(CASES)


def test_signature_and_words(case):
    backend, _ = case
    assert list(inspect.signature(backend.build).parameters)[:2] == ["vectors", "metric"]
    assert list(inspect.signature(backend.open).parameters)[:3] == ["vectors", "payload", "metric"]
    assert "Reference\n---------" in backend.__doc__


def test_payload(case):
    backend, metric = case
    vectors = data(metric)
    before = vectors.copy()
    payload, again = backend.build(vectors, metric=metric), backend.build(vectors, metric=metric)
    assert payload and list(payload) == list(again)
    for name, values in payload.items():
        assert isinstance(values, np.ndarray) and values.tobytes() == again[name].tobytes(), name
    np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize("k", [1, 10, 200])
def test_answers(case, k):
    backend, metric = case
    vectors, queries = data(metric), data(metric, 5, seed=2)
    before = queries.copy()
    searcher = backend.open(vectors, backend.build(vectors, metric=metric), metric=metric)
    distances, rows = searcher.search(queries, k)
    assert distances.shape == rows.shape == (5, k)
    assert distances.dtype == np.float32 and rows.dtype == np.int64
    assert not np.isnan(distances).any()
    np.testing.assert_array_equal(rows == -1, np.isinf(distances))
    assert (rows[:, : min(k, 120)] >= 0).all() and (rows[:, 120:] == -1).all()
    for q in range(5):
        real = rows[q][rows[q] >= 0]
        assert len(set(real)) == len(real)
        order = list(zip(distances[q], np.where(rows[q] < 0, 10**9, rows[q]), strict=True))
        assert order == sorted(order)
        one = searcher.search(queries[q : q + 1], k)
        np.testing.assert_array_equal(one[1][0], rows[q])
        np.testing.assert_array_equal(one[0][0], distances[q])
    np.testing.assert_array_equal(queries, before)
    # Distances are true ones, and the recall, counted by distance so that ties do not hurt, is high.
    reference = exact.open(vectors, exact.build(vectors, metric=metric), metric=metric)
    truth, every = reference.search(queries, 120)
    table = np.empty((5, 120), np.float32)
    np.put_along_axis(table, every, truth, axis=1)
    for q in range(5):
        real = rows[q] >= 0
        np.testing.assert_allclose(distances[q][real], table[q][rows[q][real]], rtol=1e-5, atol=1e-6)
        kth = truth[q][min(k, 120) - 1]
        assert (distances[q] <= kth * (1 + 1e-6)).sum() >= 0.9 * min(k, 120)


def test_a_filter_is_honoured(case):
    backend, metric = case
    vectors, queries = data(metric), data(metric, 4, seed=2)
    searcher = backend.open(vectors, backend.build(vectors, metric=metric), metric=metric)
    for filters in (
        [Allowed(np.arange(q, 120, 4)) for q in range(4)],
        [Allowed(without=np.flatnonzero(np.arange(120) % 4 != q)) for q in range(4)],
        [Allowed(np.arange(0, 120, 2), np.flatnonzero(np.arange(120) % 4 != q)) for q in (0, 2, 0, 2)],
    ):
        wanted = [set(rows.rows(120).tolist()) for rows in filters]
        for k in (8, 30, 40):
            distances, rows = searcher.search(queries, k, allowed=filters.__getitem__)
            for q in range(4):
                found = rows[q][rows[q] >= 0]
                assert len(found) == len(set(found)) == min(k, len(wanted[q])) and set(found.tolist()) <= wanted[q]
                assert np.isinf(distances[q, len(found) :]).all()


def test_a_filter_that_leaves_nothing(case):
    backend, metric = case
    searcher = backend.open(data(metric), backend.build(data(metric), metric=metric), metric=metric)
    _, rows = searcher.search(data(metric, 2, seed=2), 3, allowed=lambda q: Allowed(np.empty(0, np.int64)))
    assert (rows == -1).all()


def test_a_memory_map_gives_the_same(case, tmp_path):
    backend, metric = case
    vectors = data(metric)
    vectors.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", dtype=np.float32, mode="r", shape=vectors.shape)
    found = [
        backend.open(v, backend.build(v, metric=metric), metric=metric).search(v[:9], 5) for v in (vectors, mapped)
    ]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_malformed(case):
    backend, metric = case
    vectors = data(metric)
    searcher = backend.open(vectors, backend.build(vectors, metric=metric), metric=metric)
    wrong = vectors.copy()
    wrong[7, 3] = np.nan
    for call in (
        lambda: backend.build(wrong, metric=metric),
        lambda: backend.build(vectors, metric="hamming"),
        lambda: searcher.search(wrong, 1),
        lambda: searcher.search(vectors[:, :5], 1),
        lambda: searcher.search(vectors, 0),
        lambda: searcher.search(vectors, 1, allowed=lambda q: Allowed(np.array([120]))),
    ):
        with pytest.raises(CbirError):
            call()
