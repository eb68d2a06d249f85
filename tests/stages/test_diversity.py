"""Maximal marginal relevance against the formula, written out over distances of a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir_cli.stages.diversity import diverse


def plain(query, vectors, k, weight):
    """Carbonell and Goldstein's MMR, one image at a time, with minus the distance for both similarities."""
    left, chosen = list(range(len(vectors))), []

    def distance(a, b):
        return float(np.sqrt(np.square(a.astype(float) - b.astype(float)).sum()))

    def relevance(n):
        others = [-distance(vectors[n], vectors[m]) for m in chosen]
        return weight * -distance(query, vectors[n]) - (1 - weight) * max(others) if others else 0

    while left and len(chosen) < k:
        # The first is the nearest; equal ones go by their place in the pool.
        best = left[0] if not chosen else max(left, key=lambda n: (round(relevance(n), 9), -n))
        left.remove(best)
        chosen.append(best)
    return chosen


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 14), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
def test_the_choice_is_that_of_the_formula(seed, count, k, weight):
    draw = np.random.default_rng(seed)
    query, vectors = draw.normal(size=3).astype(np.float32), draw.normal(size=(count, 3)).astype(np.float32)
    distances = np.sqrt(np.square(vectors.astype(float) - query).sum(axis=1)).astype(np.float32)
    order = np.argsort(distances)
    vectors, distances = vectors[order], distances[order]
    assert diverse(vectors, distances, k, weight=weight, metric="l2").tolist() == plain(query, vectors, k, weight)


def test_copies_come_last():
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [-1, 0]], np.float32)
    for metric in ("l2", "cosine"):
        chosen = diverse(vectors, np.array([0, 0, 0, 1, 2], np.float32), 3, weight=0.4, metric=metric)
        assert chosen.tolist()[0] == 0 and set(chosen.tolist()) == {0, 3, 4}
        assert diverse(vectors, np.zeros(5, np.float32), 5, weight=1, metric=metric).tolist() == [0, 1, 2, 3, 4]


def test_images_are_compared_by_their_structure():
    draw = np.random.default_rng(1)
    first, other = draw.integers(0, 256, (2, 16 * 16)).astype(np.float32)
    vectors = np.stack([first, first, other])
    assert diverse(vectors, np.array([0.1, 0.1, 0.2], np.float32), 2, weight=0.5, metric="ssim").tolist() == [0, 2]


@pytest.mark.parametrize("k", [1, 5])
def test_an_empty_pool(k):
    assert len(diverse(np.empty((0, 2), np.float32), np.empty(0, np.float32), k, weight=0.5, metric="l2")) == 0
