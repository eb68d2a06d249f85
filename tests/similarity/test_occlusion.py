"""Occlusion on encoders whose answer is known."""

import numpy as np
import pytest

from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.similarity import occlusion


class Linear:
    """Vectors are a matrix times the pixels; counts what it is asked."""

    def __init__(self, matrix, similarity="l2"):
        self.matrix, self.similarity, self.size = matrix.astype(np.float64), similarity, int(matrix.shape[1] ** 0.5)
        self.batches = []

    def encode(self, pixels):
        self.batches.append(len(pixels))
        # One image at a time: nothing about the batch can reach the vectors.
        return np.stack([self.matrix @ p.ravel().astype(np.float64) for p in pixels]).astype(np.float32)


def explain(encoder, query, result, **settings):
    """Explain one pair."""
    return [maps[0] for maps in occlusion.explain(encoder, query[None], result[None], **settings)]


def pair(size=12, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((2, size, size), dtype=np.float32)


def plain_map(encoder, query, result, box, stride, fill):
    """The definition, one box and one pixel at a time."""

    def distance(one, other):
        one, other = (encoder.encode(image[None])[0].astype(np.float64) for image in (one, other))
        if encoder.similarity == "l2":
            return np.linalg.norm(one - other)
        return 1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other)

    size, original = len(query), distance(query, result)
    sums, counts = np.zeros((size, size)), np.zeros((size, size))
    for top in range(stride - box, size, stride):
        for left in range(stride - box, size, stride):
            inside = np.zeros((size, size), bool)
            for y in range(top, top + box):
                for x in range(left, left + box):
                    if 0 <= y < size and 0 <= x < size:
                        inside[y, x] = True
            hidden = np.where(inside, np.float32(fill), result)
            sums[inside] += max(0.0, distance(query, hidden) - original)
            counts[inside] += 1
    return sums / counts


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
@pytest.mark.parametrize(("box", "stride", "fill"), [(4, 3, 0.449), (5, 5, 0.0), (1, 1, 1.0), (30, 7, 0.2)])
def test_plain_loop(similarity, box, stride, fill):
    query, result = pair()
    encoder = Linear(np.random.default_rng(2).standard_normal((6, 144)), similarity)
    zeros, found = explain(encoder, query, result, box=box, stride=stride, fill=fill, batch=7)
    np.testing.assert_allclose(found, plain_map(encoder, query, result, box, stride, fill), rtol=1e-5, atol=1e-6)
    assert not zeros.any()


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_finds_the_one_patch_that_the_encoder_sees(similarity):
    size, box, stride = 32, 6, 2
    seen = np.zeros((size, size), bool)
    seen[20:24, 8:12] = True
    pixels = np.flatnonzero(seen)
    matrix = np.zeros((len(pixels) + 1, size**2))
    matrix[np.arange(len(pixels)), pixels] = 1
    image = np.full((size, size), 0.449, np.float32)
    image[seen] = np.random.default_rng(3).random(len(pixels))
    _, found = explain(Linear(matrix, similarity), image, image, box=box, stride=stride)
    assert seen[np.unravel_index(found.argmax(), found.shape)]
    ys, xs = np.nonzero(found)
    # Nothing farther than a box from the patch can have touched it.
    assert ys.min() > 20 - box and ys.max() < 24 + box - 1 and xs.min() > 8 - box and xs.max() < 12 + box - 1
    assert found[seen].min() > found[~seen].mean()


def test_closed_form_for_boxes_that_do_not_overlap():
    """Identity encoder, image compared with itself: a box's score is the length of what it changes."""
    _, image = pair(size=12)
    _, found = explain(Linear(np.eye(144)), image, image, box=4, stride=4, fill=0.25)
    tiles = (image - 0.25).reshape(3, 4, 3, 4).astype(np.float64)
    truth = np.sqrt(np.square(tiles).sum(axis=(1, 3))).repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_allclose(found, truth, rtol=1e-6)


def test_hiding_what_differs_scores_nothing():
    query = np.full((8, 8), 0.5, np.float32)
    result = query.copy()
    result[:4] = 1.0
    _, found = explain(Linear(np.eye(64)), query, result, box=4, stride=4, fill=0.5)
    assert not found.any()


def test_batches_bound_what_is_encoded_and_do_not_change_the_map():
    query, result = pair()
    maps = []
    for batch in (1, 5, 1000):
        encoder = Linear(np.random.default_rng(2).standard_normal((6, 144)))
        maps.append(explain(encoder, query, result, box=4, stride=3, batch=batch)[1])
        assert max(encoder.batches) <= batch and sum(encoder.batches) == 2 + 25
    assert maps[0].tobytes() == maps[1].tobytes() == maps[2].tobytes()


def test_a_result_of_many_queries_is_hidden_once():
    queries, results = np.concatenate([pair(seed=s) for s in (1, 2)]), np.concatenate([pair(seed=3), pair(seed=3)])
    queries[3] = queries[0]
    encoder = Linear(np.random.default_rng(2).standard_normal((6, 144)))
    found = occlusion.explain(encoder, queries, results, box=4, stride=3)[1]
    assert sum(encoder.batches) == 3 + 2 * (1 + 25)
    for one, query, result in zip(found, queries, results, strict=True):
        np.testing.assert_allclose(one, plain_map(encoder, query, result, 4, 3, 0.449), rtol=1e-5, atol=1e-6)


class Hiding(Linear):
    """Hides boxes itself, gives them backwards in small parts, and is a little off: as another way to compute is."""

    def encode_hidden(self, image, boxes, fill):
        left = np.arange(len(boxes))[::-1]
        while len(left):
            rows, left = left[:3], left[3:]
            hidden = np.repeat(image[None], len(rows), axis=0)
            for one, row in zip(hidden, rows, strict=True):
                y0, y1, x0, x1 = boxes[row]
                one[y0:y1, x0:x1] = fill
            yield rows, super().encode(hidden) + np.float32(1e-3)


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_an_encoder_that_hides_boxes_itself_is_asked_to(similarity):
    query, result = pair()
    result[6:, 6:] = 0.25
    matrix = np.random.default_rng(2).standard_normal((6, 144))
    encoder = Hiding(matrix, similarity)
    found = explain(encoder, query, result, box=3, stride=3, fill=0.25)[1]
    assert encoder.batches[0] == 1 and sum(encoder.batches) == 2 + 16
    expected = plain_map(Linear(matrix, similarity), query, result, 3, 3, 0.25)
    np.testing.assert_allclose(found, expected, atol=0.02)
    # Distances are compared along one way: where hiding changes no pixel, nothing grows, not even by a rounding error.
    assert not found[6:, 6:].any() and found[:6, :6].any()


def test_encoders_without_a_faster_way_may_say_so():
    encoder = Linear(np.eye(144))
    encoder.encode_hidden = None
    assert explain(encoder, pair()[0], pair()[0], box=4, stride=4)[1].all()


def test_zero_vectors_under_cosine_are_at_distance_one():
    image = np.full((8, 8), 0.7, np.float32)
    _, found = explain(Linear(np.eye(64), "cosine"), image, image, box=8, stride=8, fill=0.0)
    np.testing.assert_array_equal(found, np.ones((8, 8), np.float32))


@pytest.mark.parametrize("setting", [{"fill": 1.5}, {"fill": np.nan}, {"batch": 0}, {"stride": 0}, {"stride": 25}])
def test_settings_out_of_range(setting):
    with pytest.raises(UsageError, match=next(iter(setting))):
        explain(Linear(np.eye(64)), *pair(8), **setting)


def test_encoders_that_cannot_be_explained():
    with pytest.raises(UsageError, match="ssim"):
        explain(Linear(np.eye(64), "ssim"), *pair(8))
    for bad in (np.nan, np.inf):
        with pytest.raises(ShapeError, match="finite vectors"):
            explain(Linear(np.full((2, 64), bad)), *pair(8))
