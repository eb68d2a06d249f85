"""What holds for every index backend; those that are approximate are compared with the exact one by distance."""

import inspect

import numpy as np
import pytest

from cbir_cli import registry
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
    masks = np.arange(120)[None] % 4 == np.arange(4)[:, None]
    searcher = backend.open(vectors, backend.build(vectors, metric=metric), metric=metric)
    _, rows = searcher.search(queries, 8, allowed=lambda q: masks[q])
    assert (rows >= 0).all()
    assert (rows % 4 == np.arange(4)[:, None]).all()


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
        lambda: searcher.search(vectors, 1, allowed=lambda q: np.ones(3, bool)),
    ):
        with pytest.raises(CbirError):
            call()
