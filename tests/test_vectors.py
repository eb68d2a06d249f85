"""Vectors of a network: what can be used of them, and distances against plain formulas."""

import numpy as np
import pytest

from cbir_cli import vectors
from cbir_cli.errors import ShapeError, UsageError


def test_cosine_distances():
    rng = np.random.default_rng(1)
    anchor, others = rng.standard_normal(5).astype(np.float32), rng.standard_normal((4, 5)).astype(np.float32)
    plain = [1 - float(v @ anchor) / float(np.linalg.norm(v) * np.linalg.norm(anchor)) for v in others]
    np.testing.assert_allclose(vectors.cosine_distances(anchor, others), plain, atol=1e-6)
    np.testing.assert_array_equal(vectors.cosine_distances(anchor, np.zeros((2, 5))), [1, 1])
    np.testing.assert_array_equal(vectors.cosine_distances(np.zeros(5), others), [1] * 4)
    near = anchor * np.float64(3) + np.array([1e-7, 0, 0, 0, 0])
    assert 0 < vectors.cosine_distances(anchor, near[None])[0] < 1e-13


def test_distances_by_the_name_of_the_similarity():
    rng = np.random.default_rng(2)
    anchor, others = rng.standard_normal(5).astype(np.float32), rng.standard_normal((4, 5)).astype(np.float32)
    plain = [sum((float(a) - float(b)) ** 2 for a, b in zip(anchor, other, strict=True)) ** 0.5 for other in others]
    assert vectors.distances(anchor, others, "l2") == pytest.approx(plain, rel=1e-14)
    assert vectors.distances(anchor, others, "l2").dtype == np.float64
    found = vectors.distances(anchor, others, "cosine")
    assert found.tolist() == vectors.cosine_distances(anchor, others).tolist()
    with pytest.raises(UsageError, match=r"unknown similarity of vectors 'ssim': .*cosine, l2"):
        vectors.distances(anchor, others, "ssim")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((2, 3)), r"shape \(2, 3\)"),
        (np.full((3, 2), np.nan), "numbers that are not finite"),
        (np.array([[1.0], [-np.inf], [0]]), "numbers that are not finite"),
    ],
)
def test_what_is_no_vector_of_each_image(found, words):
    with pytest.raises(ShapeError, match=f"expected 3 finite vectors from the model, found {words}"):
        vectors.checked(found, 3)


def test_vectors_stay_as_they_came():
    given = np.ones((3, 2), np.float32)
    assert vectors.checked(given, 3) is given
