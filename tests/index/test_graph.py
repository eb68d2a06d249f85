"""The graph against all pairs, plainly; communities against their libraries' promises."""

import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cbir_cli.errors import CbirError, UsageError
from cbir_cli.index import _clustering, _graph, _modularity

DEFAULTS = {"graph": "knn", "neighbours": 5, "threshold": 0.9, "pairs": "all", "cells": 0, "around": 32, "seed": 1}


def clusters(count=400, features=16, seed=0, spread=0.3):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 8, count)
    centres = rng.standard_normal((8, features))
    return (centres[label] + spread * rng.standard_normal((count, features))).astype(np.float32), label


def build(vectors, **changed):
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return _graph.build(vectors, norms, **{**DEFAULTS, **changed})


def cosines(vectors):
    unit = vectors.astype(np.float64) / np.maximum(np.linalg.norm(vectors.astype(np.float64), axis=1)[:, None], 1e-300)
    found = unit @ unit.T
    np.fill_diagonal(found, -1)
    return found


@pytest.mark.parametrize("block", [2**24, 3000])
def test_neighbours_are_those_of_all_pairs(monkeypatch, block):
    monkeypatch.setattr(_graph, "_SCORES", block)
    vectors, _ = clusters(90)
    vectors[7] = 0
    true = cosines(vectors)
    named = np.zeros_like(true, dtype=bool)
    np.put_along_axis(named, np.argsort(-true, axis=1)[:, :5], True, axis=1)
    wanted = np.where((named | named.T) & (true > 0), true, 0)
    found = build(vectors).toarray()
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert (found == found.T).all() and not found[7].any() and not found.diagonal().any()


def test_a_threshold_joins_all_that_are_similar():
    vectors, _ = clusters(120)
    true = cosines(vectors)
    found = build(vectors, graph="threshold", threshold=0.7).toarray()
    np.testing.assert_allclose(found, np.where(true >= 0.7, true, 0), atol=2e-6)
    assert found.any() and (found == 0).sum() > 120


def test_a_threshold_that_joins_too_many_is_refused(monkeypatch):
    monkeypatch.setattr(_graph, "_EDGES", 0.01)
    with pytest.raises(UsageError, match=r"threshold 0\.1 joins more than .* choose a higher one, or graph=knn"):
        build(clusters(120)[0], graph="threshold", threshold=0.1)


@pytest.mark.parametrize("graph", ["knn", "threshold"])
def test_cells_miss_few_edges_and_invent_none(graph):
    pytest.importorskip("faiss")
    vectors, _ = clusters(2000)
    every = build(vectors, graph=graph, pairs="all", threshold=0.92).toarray()
    some = build(vectors, graph=graph, pairs="cells", cells=40, around=8, threshold=0.92)
    again = build(vectors, graph=graph, pairs="cells", cells=40, around=8, threshold=0.92)
    assert all((getattr(some, n) == getattr(again, n)).all() for n in ("data", "indices", "indptr"))
    both = (some.toarray() > 0) & (every > 0)
    assert both.sum() >= 0.95 * (every > 0).sum() > 2000
    np.testing.assert_allclose(some.toarray()[both], every[both], atol=2e-6)
    if graph == "threshold":
        assert not (some.toarray()[every == 0]).any()
    whole = build(vectors, graph=graph, pairs="cells", cells=40, around=40, threshold=0.92)
    np.testing.assert_allclose(whole.toarray(), every, atol=2e-6)


@pytest.mark.parametrize("pairs", ["all", "cells"])
def test_any_number_of_threads_gives_the_same_bytes(pairs):
    pytest.importorskip("faiss")
    vectors, _ = clusters(3000, 128)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(build(vectors, pairs=pairs, neighbours=20))
    assert all((getattr(found[0], n) == getattr(found[1], n)).all() for n in ("data", "indices", "indptr"))


@pytest.mark.parametrize(
    "changed",
    [{"graph": "full"}, {"pairs": "some"}, {"neighbours": 0}, {"graph": "threshold", "threshold": 1.0}, {"around": 0}],
)
def test_parameters_out_of_range_are_refused(changed):
    with pytest.raises(UsageError):
        build(clusters(20)[0], **changed)


@pytest.mark.parametrize("name", _clustering.CLUSTERINGS)
def test_communities_are_found_and_numbered_by_size(name):
    pytest.importorskip("igraph" if name == "cnm" else "networkit")
    vectors, truth = clusters(spread=0.1)
    vectors[[3, 9]] = 0
    graph = build(vectors)
    labels = _clustering.communities(graph, clustering=name, seed=1)
    assert labels.dtype == np.int32 and np.flatnonzero(labels < 0).tolist() == [3, 9]
    sizes = np.bincount(labels[labels >= 0])
    assert (np.diff(sizes) <= 0).all() and sizes.min() > 0
    kept = labels >= 0
    assert all(len(set(truth[kept & (labels == c)])) == 1 for c in range(len(sizes)))
    truth = np.where(kept, truth, -1)
    assert _modularity.modularity(graph, labels) >= _modularity.modularity(graph, truth) - 1e-9


@pytest.mark.parametrize("name", ["leiden", "louvain"])
def test_any_number_of_threads_gives_the_same(name):
    networkit = pytest.importorskip("networkit")
    graph = build(clusters(3000, spread=1.5)[0])
    before = networkit.getMaxNumberOfThreads()
    found = []
    try:
        for threads in (1, 2, 2):
            networkit.setNumberOfThreads(threads)
            found.append(_clustering.communities(graph, clustering=name, seed=5))
            assert networkit.getMaxNumberOfThreads() == threads
    finally:
        networkit.setNumberOfThreads(before)
    assert (found[0] == found[1]).all() and (found[1] == found[2]).all()


@pytest.mark.parametrize(("name", "package"), [("leiden", "networkit"), ("cnm", "igraph")])
def test_a_missing_library_is_named(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CbirError, match=rf"needs {package}.*pip install 'cbir-cli\["):
        _clustering.communities(build(clusters(20)[0]), clustering=name, seed=1)


def test_faiss_missing_is_said_where_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert build(clusters(50)[0], pairs="auto").nnz
    with pytest.raises(CbirError, match="needs faiss: pip install faiss-cpu"):
        build(clusters(50)[0], pairs="cells")


def test_an_unknown_clustering_is_refused():
    with pytest.raises(UsageError, match="unknown clustering 'leyden': did you mean leiden"):
        _clustering.communities(build(clusters(20)[0]), clustering="leyden", seed=1)
