"""Rocchio's refinement: closed forms, and what becomes of ids."""

import numpy as np
import pytest

from cbir_cli.artifacts.embeddings import Embedding, Space
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.stages import feedback
from cbir_cli.stages.query import Queries

WEIGHTS = {"alpha": 1.0, "beta": 0.75, "gamma": 0.15}


def index_of(vectors, similarity="l2", ids=None):
    ids = np.array(ids or [f"i{n}" for n in range(len(vectors))])
    items = Items(ids, {}, "key")
    space = Space(similarity, "space", "cnn")
    return Index(Embedding(vectors, items, space, None, {}, "", [], "idx"), "exact", {"metric": similarity}, {})


def moved(index, queries, liked, unliked, **weights):
    judged = feedback.chosen(liked, unliked, {**WEIGHTS, **weights})
    [rows] = feedback.rows_of([index], judged)
    part = feedback.refined(index, Queries(queries, index.embedding.items), rows, judged)
    return part


def test_the_formula_of_the_euclidean_distance():
    draw = np.random.default_rng(5)
    vectors, queries = draw.normal(size=(6, 4)).astype(np.float32), draw.normal(size=(2, 4)).astype(np.float32)
    part = moved(index_of(vectors), queries, ["i4,i1"], ["i0", "i2", "i3"], alpha=2.0, beta=0.5, gamma=0.25)
    wide = vectors.astype(float)
    expected = [
        (2 * q + 0.5 * (wide[1] + wide[4]) / 2 - 0.25 * (wide[0] + wide[2] + wide[3]) / 3) / 2.25
        for q in queries.astype(float)
    ]
    np.testing.assert_allclose(part.queries.vectors, expected, rtol=1e-6)
    assert part.queries.vectors.dtype == np.float32
    assert sorted(part.judged) == [0, 1, 2, 3, 4]


def test_the_origin_does_not_matter_to_the_euclidean_distance():
    draw = np.random.default_rng(6)
    vectors, query = draw.normal(size=(4, 3)).astype(np.float32), draw.normal(size=(1, 3)).astype(np.float32)
    plain = moved(index_of(vectors), query, ["i0"], ["i1"]).queries.vectors
    away = moved(index_of(vectors + 100), query + 100, ["i0"], ["i1"]).queries.vectors
    np.testing.assert_allclose(away - 100, plain, atol=1e-4)


def test_lengths_do_not_matter_to_the_cosine():
    draw = np.random.default_rng(7)
    vectors, query = draw.normal(size=(4, 3)).astype(np.float32), draw.normal(size=(1, 3)).astype(np.float32)
    lengths = np.array([[10], [0.1], [3], [5]], np.float32)

    def direction(scale, by):
        found = moved(index_of(vectors * by, "cosine"), query * np.float32(scale), ["i0", "i2"], ["i1"])
        return found.queries.vectors / np.linalg.norm(found.queries.vectors)

    np.testing.assert_allclose(direction(50, lengths), direction(1, 1), atol=1e-6)
    unit = vectors.astype(float) / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = query / np.linalg.norm(query) + 0.75 * (unit[0] + unit[2]) / 2 - 0.15 * unit[1]
    np.testing.assert_allclose(direction(1, 1), expected / np.linalg.norm(expected), atol=1e-6)


def test_only_liked_or_only_unliked():
    vectors = np.array([[4, 0], [0, 4]], np.float32)
    query = np.zeros((1, 2), np.float32)
    liked = moved(index_of(vectors), query, ["i0"], []).queries.vectors
    np.testing.assert_allclose(liked, [[0.75 * 4 / 1.75, 0]], rtol=1e-6)
    unliked = moved(index_of(vectors), query, [], ["i1"]).queries.vectors
    np.testing.assert_allclose(unliked, [[0, -0.15 * 4 / 0.85]], rtol=1e-6)


def test_a_zero_vector_has_no_direction():
    vectors = np.array([[0, 0], [0, 4]], np.float32)
    part = moved(index_of(vectors, "cosine"), np.array([[1, 0]], np.float32), ["i0", "i1"], [])
    assert np.isfinite(part.queries.vectors).all()


def test_nothing_judged_changes_nothing():
    index = index_of(np.eye(2, dtype=np.float32))
    queries = Queries(np.ones((1, 2), np.float32), index.embedding.items)
    assert feedback.chosen([], [], {}) is None
    assert feedback.rows_of([index, index], None) == [([], []), ([], [])]
    assert feedback.refined(index, queries, ([], []), None).queries is queries


def test_ids_are_found_in_each_index():
    one, two = index_of(np.eye(2, dtype=np.float32), ids=["a", "b"]), index_of(np.eye(1, dtype=np.float32), ids=["b"])
    judged = feedback.chosen(["a,b"], [], WEIGHTS)
    assert feedback.rows_of([one, two], judged) == [([0, 1], []), ([0], [])]


def test_an_id_with_a_comma():
    index = index_of(np.eye(3, dtype=np.float32), ids=["a", "a,b", "b"])
    assert feedback.rows_of([index], feedback.chosen(["a,b"], ["a"], WEIGHTS)) == [([1], [0])]


@pytest.mark.parametrize(
    ("liked", "unliked", "similarity", "error", "said"),
    [
        (["i11"], [], "l2", SourceError, "--like: 'i11' is not in the index; near: 'i1'"),
        ([], ["i0,zzz"], "l2", SourceError, "--unlike: 'zzz' is not in the index$"),
        (["i0"], ["i1", "i0"], "l2", UsageError, "'i0' is both in --like and in --unlike"),
        (["i0"], [], "ssim", UsageError, "a mean of images is no image"),
    ],
)
def test_what_cannot_be_judged(liked, unliked, similarity, error, said):
    index = index_of(np.eye(3, dtype=np.float32), similarity)
    with pytest.raises(error, match=said):
        feedback.rows_of([index], feedback.chosen(liked, unliked, WEIGHTS))


@pytest.mark.parametrize("weights", [{"alpha": -1.0}, {"gamma": 1.0}, {"beta": float("nan")}, {"beta": float("inf")}])
def test_weights_that_are_none(weights):
    with pytest.raises(UsageError, match="expected numbers of at least 0, and alpha above gamma"):
        feedback.chosen(["a"], [], {**WEIGHTS, **weights})
