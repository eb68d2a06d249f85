"""Modularity against the double sum of its definition, and against networkx."""

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from cbir_cli.index import _modularity


def plain(weights, labels):
    """Q, as the definition has it; a node of community None is alone."""
    n = len(weights)
    k = [sum(weights[i][j] for j in range(n)) for i in range(n)]
    two_m = sum(k)
    return (
        sum(
            weights[i][j] - k[i] * k[j] / two_m
            for i in range(n)
            for j in range(n)
            if i == j or (labels[i] is not None and labels[i] == labels[j])
        )
        / two_m
    )


def graph(seed, nodes, density):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((nodes, nodes)) * (rng.random((nodes, nodes)) < density), 1).astype(np.float32)
    return upper + upper.T, rng.integers(0, 3, nodes)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 12), st.floats(0.3, 1))
def test_is_the_double_sum_and_what_networkx_says(seed, nodes, density):
    weights, labels = graph(seed, nodes, density)
    found = _modularity.modularity(csr_array(weights), labels)
    if not weights.any():
        assert found == 0
        return
    assert found == pytest.approx(plain(weights.astype(np.float64), labels), abs=1e-7)
    groups = [set(np.flatnonzero(labels == c).tolist()) for c in np.unique(labels)]
    outside = networkx.from_numpy_array(weights.astype(np.float64))
    assert found == pytest.approx(networkx.community.modularity(outside, groups), abs=1e-7)
    np.testing.assert_allclose(_modularity.degrees(csr_array(weights)), weights.sum(axis=0), rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(4, 10))
def test_a_gain_is_the_difference_of_two_modularities(seed, nodes):
    weights = graph(seed, nodes, 0.8)[0].astype(np.float64)
    if not weights.any():
        return
    first, second = range(nodes // 3 + 1), range(nodes // 3 + 1, nodes - 1)
    apart = ["a" if i in first else "b" if i in second else None for i in range(nodes)]
    together = ["a" if one == "b" else one for one in apart]
    k = weights.sum(axis=0)
    gain = _modularity.gain(weights[np.ix_(first, second)].sum(), k[first].sum(), k[second].sum(), weights.sum())
    assert gain == pytest.approx(plain(weights, together) - plain(weights, apart), abs=1e-12)


def test_two_triangles_joined_by_an_edge():
    weights = np.zeros((6, 6))
    for a, b in [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)]:
        weights[a, b] = weights[b, a] = 1
    assert _modularity.modularity(csr_array(weights), np.array([0, 0, 0, 1, 1, 1])) == pytest.approx(5 / 14)


def test_nodes_without_edges_change_nothing():
    weights, labels = graph(3, 8, 1.0)
    more = np.zeros((10, 10), np.float32)
    more[:8, :8] = weights
    without = _modularity.modularity(csr_array(weights), labels)
    assert _modularity.modularity(csr_array(more), np.append(labels, [-1, -1])) == pytest.approx(without)
    assert _modularity.modularity(csr_array((4, 4)), np.full(4, -1)) == 0
