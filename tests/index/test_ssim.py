"""SSIM search against scikit-image, pair by pair."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from cbir_cli.allowed import Allowed
from cbir_cli.errors import ShapeError
from cbir_cli.index import _ssim, exact


def images(kind, count, side, seed=1):
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (count, side, side), dtype=np.uint8)
    if kind == "bright":  # nearly flat and bright: what is left of the covariance after cancellation is small
        return rng.integers(250, 256, (count, side, side), dtype=np.uint8)
    if kind == "extreme":
        return rng.choice(np.array([0, 255], np.uint8), (count, side, side))
    grid = np.add.outer(np.arange(side), np.arange(side))
    return np.stack([np.clip(grid * (i + 1) + rng.integers(0, 9, grid.shape), 0, 255) for i in range(count)]).astype(
        "u1"
    )


def vectors(pictures):
    return pictures.reshape(len(pictures), -1).astype(np.float32)


def all_pairs(queries, items):
    """Distance of every query to every item, by row, as float64 before rounding to float32."""
    searcher = exact.open(vectors(items), exact.build(vectors(items), metric="ssim"), metric="ssim")
    distances, rows = searcher.search(vectors(queries), len(items))
    table = np.empty(distances.shape)
    np.put_along_axis(table, rows, distances, axis=1)
    return table


@pytest.mark.parametrize("kind", ["noise", "bright", "extreme", "ramp"])
@pytest.mark.parametrize("side", [7, 8, 32, 61])
def test_agrees_with_scikit_image(kind, side, monkeypatch):
    monkeypatch.setattr(_ssim, "_WORK", 3 * side**2)  # blocks of three images
    items, queries = images(kind, 8, side), images(kind, 3, side, seed=2)
    queries[0] = items[5]
    truth = [[1 - structural_similarity(q, i) for i in items] for q in queries]
    found = all_pairs(queries, items)
    np.testing.assert_allclose(found, truth, rtol=1e-7, atol=1e-9)
    assert found[0, 5] == 0


@pytest.mark.parametrize("kind", ["noise", "bright", "extreme"])
def test_the_similarity_itself_agrees_before_rounding(kind):
    items = images(kind, 4, 40)
    payload = exact.build(vectors(items), metric="ssim")
    block = _ssim._Images(vectors(items), payload["window_sums"], payload["window_spreads"])
    sums, spreads = _ssim._windows(vectors(items[:1]))
    found = block.similarity(vectors(items)[0], sums[0], spreads[0], slice(None))
    np.testing.assert_allclose(found, [structural_similarity(items[0], i) for i in items], rtol=1e-10, atol=1e-11)
    assert found[0] == 1


def test_opposite_and_flat_images():
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 16, 8))
    assert all_pairs(stripes, 255 - stripes)[0, 0] > 1.5  # SSIM is below 0 for a negative
    flat = np.stack([np.full((9, 9), v, np.uint8) for v in (0, 0, 255)])
    found = all_pairs(flat[:1], flat)
    truth = 1 - structural_similarity(flat[0], flat[2])
    np.testing.assert_allclose(found, [[0, 0, truth]], rtol=1e-7)


def test_payload_is_means_and_variances_in_whole_numbers():
    picture = images("noise", 1, 10)
    payload = exact.build(vectors(picture), metric="ssim")
    window = picture[0, 1:8, 2:9].astype(np.float64)
    number = 1 * 4 + 2  # 4 x 4 windows
    assert payload["window_sums"].dtype == np.uint16 and payload["window_spreads"].dtype == np.uint32
    assert payload["window_sums"][0, number] / 49 == window.mean()
    assert payload["window_spreads"][0, number] / (49 * 48) == pytest.approx(window.var(ddof=1), rel=1e-14)


def test_ties_filters_and_padding():
    items = images("noise", 6, 12)
    items[4] = items[1]
    searcher = exact.open(vectors(items), exact.build(vectors(items), metric="ssim"), metric="ssim")
    masks = np.array([[0, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
    distances, rows = searcher.search(vectors(items[[1, 1, 4]]), 4, allowed=lambda q: Allowed(np.flatnonzero(masks[q])))
    np.testing.assert_array_equal(rows[0], [1, 4, 5, -1])
    np.testing.assert_array_equal(distances[0, [0, 1, 3]], [0, 0, np.inf])
    assert (rows[1] == -1).all()
    np.testing.assert_array_equal(rows[2, :2], [1, 4])


def test_pairs_that_are_filtered_out_are_not_computed(monkeypatch):
    items = vectors(images("noise", 50, 8))
    searcher = exact.open(items, exact.build(items, metric="ssim"), metric="ssim")
    seen, similarity = [], _ssim._Images.similarity

    def counted(*arguments):
        result = similarity(*arguments)
        seen.append(len(result))
        return result

    monkeypatch.setattr(_ssim._Images, "similarity", counted)
    searcher.search(items[:2], 3, allowed=lambda q: Allowed(np.arange(q, 50, 10)))
    assert sum(seen) == 10


@pytest.mark.parametrize("bad", [-1, 256, 0.5, np.nan, np.inf])
def test_what_is_no_8_bit_image_is_refused(bad):
    items = vectors(images("noise", 3, 8))
    searcher = exact.open(items, exact.build(items, metric="ssim"), metric="ssim")
    wrong = items.copy()
    wrong[2, 5] = bad
    with pytest.raises(ShapeError, match="row 2: ssim needs whole pixel values"):
        exact.build(wrong, metric="ssim")
    with pytest.raises(ShapeError, match="query 2: ssim needs whole pixel values"):
        searcher.search(wrong, 1)


def test_shapes_that_are_no_image():
    for size in (36, 50):  # 6 x 6 is smaller than a window; 50 is no square
        with pytest.raises(ShapeError, match="square images of at least 7 x 7"):
            exact.build(np.zeros((2, size), np.float32), metric="ssim")
    items = vectors(images("noise", 3, 8))
    with pytest.raises(ShapeError, match="do not belong"):
        exact.open(items[:2], exact.build(items, metric="ssim"), metric="ssim")
