"""Hubness against a plain count, a closed form, and scipy's skewness."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cbir_cli.errors import ShapeError
from cbir_cli.hubness import measure, occurrences


def neighbours(vectors, k):
    """The k nearest of each vector among the others, by a plain loop."""
    found = []
    for i, one in enumerate(vectors):
        others = sorted((float(np.square(one - other).sum()), j) for j, other in enumerate(vectors) if j != i)
        found.append([j for _, j in others[:k]])
    return np.array(found, np.int64)


def twin(rows):
    """The published moments as sums over vectors, in plain Python."""
    counts = [sum(x in row for row in rows.tolist()) for x in range(len(rows))]
    mean = sum(counts) / len(counts)
    variance = sum((c - mean) ** 2 for c in counts) / len(counts)
    skewness = sum((c - mean) ** 3 for c in counts) / len(counts) / variance**1.5 if variance else 0.0
    return counts, skewness, sum(c == 0 for c in counts) / len(counts), max(counts)


@given(st.integers(3, 30), st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
def test_a_plain_count(n, k, width, seed):
    k = min(k, n - 1)
    rows = neighbours(np.random.default_rng(seed).standard_normal((n, width)), k)
    counts, skewness, antihubs, largest = twin(rows)
    found = measure(rows)
    assert occurrences(rows, n).tolist() == counts
    assert (found.antihubs, found.largest, found.k, found.vectors) == (antihubs, largest, k, n)
    assert found.skewness == pytest.approx(skewness, abs=1e-12)
    if len(set(counts)) > 1:
        assert found.skewness == pytest.approx(stats.skew(counts), abs=1e-12)


def test_a_star_has_one_hub():
    """Everyone's nearest is the centre, whose own is one of them: N_1 = (n - 1, 1, 0, ..., 0)."""
    n = 50
    found = measure(np.array([[1]] + [[0]] * (n - 1)))
    assert (found.antihubs, found.largest) == ((n - 2) / n, n - 1)
    assert found.skewness == pytest.approx(stats.skew([n - 1, 1] + [0] * (n - 2)))


def test_a_ring_has_none():
    n = 20
    found = measure(np.array([[(i - 1) % n, (i + 1) % n] for i in range(n)]))
    assert (found.skewness, found.antihubs, found.largest) == (0.0, 0.0, 2)


def test_hubs_come_with_the_dimension():
    """The finding of the paper, on its own kind of data: independent normal coordinates, Euclidean distance."""
    few, many = (measure(neighbours(np.random.default_rng(3).standard_normal((300, d)), 10)) for d in (3, 100))
    assert few.skewness < 0.5 < 2 < many.skewness and few.antihubs < many.antihubs


def test_places_that_are_empty_do_not_count():
    assert occurrences(np.array([[1, -1], [-1, -1]]), 3).tolist() == [0, 1, 0]


@pytest.mark.parametrize("rows", [np.empty((0, 3), int), np.array([[2], [0]]), np.array([[-2]]), np.array([0, 1])])
def test_malformed(rows):
    with pytest.raises(ShapeError):
        measure(rows)
