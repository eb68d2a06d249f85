"""RISE for a pair of images, on encoders whose answer is known."""

import h5py
import numpy as np
import pytest

from cbir_cli import random_masks
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.similarity import rise


class Linear:
    """Vectors are a matrix times the pixels; notes what it is asked."""

    def __init__(self, matrix, similarity="l2", mean=0.0):
        self.matrix, self.similarity = np.asarray(matrix, np.float64), similarity
        self.input, self.asked = InputSpec(12, (mean,) * 3, (1.0,) * 3), []

    def encode(self, pixels):
        self.asked.append(len(pixels))
        return np.stack([self.matrix @ p.ravel().astype(np.float64) for p in pixels]).astype(np.float32)


def images(count=2, size=12, seed=1):
    return np.random.default_rng(seed).random((count, size, size), dtype=np.float32)


def explain(encoder, query, result, **settings):
    return [maps[0] for maps in rise.explain(encoder, query[None], result[None], **settings)]


def plain(encoder, query, result, masks, colour, normalisation):
    """Eq. 6, one mask at a time."""

    def vector(pixels):
        return encoder.encode(pixels[None].astype(np.float32))[0].astype(np.float64)

    other, s = vector(query), []
    for mask in masks:
        v = vector(result * mask + colour * (1 - mask))
        cosine = v @ other / np.linalg.norm(v) / np.linalg.norm(other)
        s.append(cosine if encoder.similarity == "cosine" else -np.linalg.norm(v - other))
    if normalisation == "paper":
        return sum(one * mask for one, mask in zip(s, masks, strict=True)) / (len(s) * 0.4)
    return sum((one - np.mean(s)) * mask for one, mask in zip(s, masks, strict=True)) / sum(masks)


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
@pytest.mark.parametrize("normalisation", rise.NORMALISATIONS)
@pytest.mark.parametrize("mean", [0.0, 0.45])
def test_plain_loop(similarity, normalisation, mean):
    query, result = images()
    encoder = Linear(np.random.default_rng(2).standard_normal((6, 144)), similarity, mean)
    given = {"masks": 90, "cells": 5, "probability": 0.4, "seed": 3, "normalisation": normalisation, "batch": 7}
    zeros, found = explain(encoder, query, result, **given)
    drawn = random_masks.draw("rise", (12, 12), 90, cells=5, probability=0.4, seed=3)
    masks = drawn.block(0, 90).astype(np.float64)
    np.testing.assert_allclose(found, plain(encoder, query, result, masks, mean, normalisation), rtol=1e-4, atol=1e-5)
    assert not zeros.any()
    both = explain(encoder, query, result, on="both", **given)
    np.testing.assert_array_equal(both[1], found)
    np.testing.assert_allclose(both[0], plain(encoder, result, query, masks, mean, normalisation), rtol=1e-4, atol=1e-5)


def test_closed_form_of_a_score_that_is_linear_in_the_mask():
    """One number far below the query's: the score is that less a constant, and the map its covariance with the mask."""
    size, cells, count = 12, 4, 20_000
    weights = np.random.default_rng(5).random((size, size))
    encoder = Linear(weights.reshape(1, -1))
    query, result = np.full((size, size), 50, np.float32), images(1)[0]
    _, found = explain(encoder, query, result, masks=count, cells=cells, probability=0.3, batch=2000)
    step = size // cells
    rows = random_masks._mirrored(cells, size + step)
    pixels = weights * result
    truth, power = np.zeros((2, size, size))
    for y in range(step):
        for x in range(step):
            up, across = rows[y : y + size], rows[x : x + size]
            small = up.T @ pixels @ across  # what each cell holds of the score
            truth += 0.7 * up @ small @ across.T / step**2  # Cov(score, M) / E[M]
            power += 0.21 * (small**2).sum() / step**2
    error = np.sqrt(power / 0.3 / count)  # of a weighted mean of count * .3 scores
    assert error.max() < 0.1 * np.ptp(truth)
    assert (np.abs(found - truth) < 4.5 * error).all()


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_finds_the_one_patch_that_the_encoder_sees(similarity):
    size = 24
    seen = np.zeros((size, size), bool)
    seen[14:19, 4:9] = True
    matrix = np.zeros((25, size**2))
    matrix[np.arange(25), np.flatnonzero(seen)] = 1
    (image,) = images(1, size)
    _, found = explain(Linear(matrix, similarity), image, image, masks=1500)
    assert seen[np.unravel_index(found.argmax(), found.shape)]
    contrast = found[seen].mean() - found[~seen].mean()
    assert contrast > 0
    rng = np.random.default_rng(4)
    elsewhere = [explain(Linear(rng.permuted(matrix, axis=1), similarity), image, image, masks=1500)[1] for _ in "123"]
    assert max(abs(made[seen].mean() - made[~seen].mean()) for made in elsewhere) < contrast / 3


def test_same_bytes_in_any_batch():
    query, result = images()
    encoder = Linear(np.random.default_rng(2).standard_normal((6, 144)))
    maps = [explain(encoder, query, result, masks=130, batch=batch)[1].tobytes() for batch in (1, 7, 64)]
    assert maps[0] == maps[1] == maps[2]
    assert explain(encoder, query, result, masks=130, seed=1)[1].tobytes() != maps[0]


def test_a_result_of_several_queries_is_masked_once():
    stack, encoder = images(4), Linear(np.eye(144))
    queries, results = rise.explain(encoder, stack[[0, 1, 0]], stack[[2, 2, 3]], masks=50, batch=16)
    assert sum(encoder.asked) == 4 + 2 * 50 and max(encoder.asked) == 16
    assert not queries.any()
    for pair, (query, result) in enumerate([(0, 2), (1, 2), (0, 3)]):
        alone = explain(Linear(np.eye(144)), stack[query], stack[result], masks=50)[1]
        assert alone.tobytes() == results[pair].tobytes()


@pytest.mark.parametrize("setting", [{"fill": np.inf}, {"batch": 0}, {"on": "query"}, {"normalisation": "code"}])
def test_settings_out_of_range(setting):
    with pytest.raises(UsageError, match=next(iter(setting))):
        explain(Linear(np.eye(144)), *images(), **setting)


def test_encoders_that_cannot_be_explained():
    with pytest.raises(UsageError, match="ssim"):
        explain(Linear(np.eye(144), "ssim"), *images())
    with pytest.raises(ShapeError, match="finite vectors"):
        explain(Linear(np.full((2, 144), np.nan)), *images(), masks=10)


@pytest.mark.parametrize("method", ["rise", "occlusion"])
def test_ssim_has_no_network_to_explain(cbir, chain, tmp_path, method):
    line = ["explain", "ssim.idx.h5", "ssim.emb.h5", "-k", "1", "--method", method, "-q", "-o", tmp_path / "ex.h5"]
    ran = cbir(*line, cwd=chain)
    assert ran.status == 2 and "ssim" in ran.error


def test_explained_from_image_to_page(good, chain, tmp_path):
    line = ["explain", "ig.idx.h5", "ig.emb.h5", "-k", "2", "--split", "split.tsv", "--method", "rise"]
    good(*line, "--set", "masks=20", "-o", tmp_path / "ex.h5", cwd=chain)
    with h5py.File(tmp_path / "ex.h5") as file:
        assert file.attrs["method"] == "rise" and set(file["map_on"][()]) == {1} and len(file["maps"]) > 2
    good(*line, "--set", "masks=20", "--set", "batch=7", "-o", tmp_path / "other.h5", cwd=chain)
    with h5py.File(tmp_path / "ex.h5") as one, h5py.File(tmp_path / "other.h5") as other:
        assert one["maps"][()].tobytes() == other["maps"][()].tobytes()
