"""RELAX on encoders whose answer is known."""

import numpy as np
import pytest

from cbir_cli import random_masks
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.similarity import relax

PLAIN = InputSpec(12, mean=(0.0,) * 3, std=(1.0,) * 3)


class Linear:
    """Vectors are a matrix times the pixels, with a constant beside them; notes what it is asked."""

    similarity = "l2"

    def __init__(self, matrix, spec=PLAIN, constant=0.0):
        self.matrix, self.input, self.constant = np.asarray(matrix, np.float64), spec, constant
        self.asked = []

    def encode(self, pixels):
        self.asked.append(pixels.shape)
        # One image at a time: nothing about the batch can reach the vectors.
        vectors = [np.append(self.matrix @ p.ravel().astype(np.float64), self.constant) for p in pixels]
        return np.stack(vectors).astype(np.float32)


def images(count=2, size=12, seed=1):
    return np.random.default_rng(seed).random((count, size, size), dtype=np.float32)


def explain(encoder, image, **settings):
    """Importance and uncertainty of one image."""
    found = relax.explain(encoder, image[None], image[None], **settings)
    return found[0][0], found[2][0]


def plain(encoder, image, masks, colour):
    """Eq. 4 and its uncertainty: one mask, one vector, one cosine at a time."""

    def vector(pixels):
        return encoder.encode(pixels[None].astype(np.float32))[0].astype(np.float64)

    whole, s = vector(image), []
    for mask in masks:
        v = vector(image * mask + colour * (1 - mask))
        s.append(v @ whole / np.linalg.norm(v) / np.linalg.norm(whole))
    importance = sum(one * mask for one, mask in zip(s, masks, strict=True)) / len(masks)
    uncertainty = sum((one - importance) ** 2 * mask for one, mask in zip(s, masks, strict=True)) / len(masks)
    return importance, uncertainty


@pytest.mark.parametrize("kind", random_masks.KINDS)
@pytest.mark.parametrize(("fill", "mean"), [(0.0, 0.0), (0.0, 0.4), (-1.0, 0.5)])
def test_plain_loop(kind, fill, mean):
    """What is hidden has the value ``fill`` in the network's input, of mean and standard deviation."""
    (image,) = images(1)
    encoder = Linear(np.random.default_rng(2).standard_normal((6, 144)), InputSpec(12, (mean,) * 3, (0.2,) * 3))
    given = {"masks": 90, "cells": 5, "probability": 0.4, "mask_kind": kind, "seed": 3}
    made = explain(encoder, image, fill=fill, normalisation="paper", shifted=False, batch=7, **given)
    drawn = random_masks.draw(kind, (12, 12), 90, cells=5, probability=0.4, seed=3)
    slow = plain(encoder, image, drawn.block(0, 90).astype(np.float64), mean + 0.2 * fill)
    for one, other in zip(made, slow, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_colour_for_every_channel():
    """ImageNet's zero is no grey: a grey image is masked in colour, and a coloured one is as well."""
    seen = []

    class Looking(Linear):
        def encode(self, pixels):
            seen.append(self.input.prepare(pixels))
            return seen[-1].reshape(len(pixels), -1)

    grey = images(1)[0]
    for image in (grey, np.stack([grey] * 3, axis=-1)):
        seen.clear()
        encoder = Looking([], InputSpec(12))
        explain(encoder, image, masks=40, batch=40)
        drawn = random_masks.draw("relax", (12, 12), 40, cells=7, probability=0.5, seed=0)
        whole = encoder.input.prepare(grey[None])
        np.testing.assert_array_equal(seen[0], whole)
        np.testing.assert_allclose(seen[1], whole * drawn.block(0, 40)[:, None], atol=1e-5)


def test_closed_form_of_an_encoder_that_sees_one_pixel():
    """With as many cells as pixels a mask is 0 or 1 everywhere, and independent from pixel to pixel."""
    image = np.full((12, 12), 0.5, np.float32)
    matrix = np.zeros((1, 144))
    matrix[0, 5 * 12 + 7] = 4  # vector (2, 1), or (0, 1) when its pixel is hidden
    hidden, count = 1 / np.sqrt(5), 4000
    given = {"masks": count, "cells": 12, "shifted": False, "batch": 500}
    importance, uncertainty = explain(Linear(matrix, constant=1.0), image, **given)
    paper, _ = explain(Linear(matrix, constant=1.0), image, normalisation="paper", **given)
    share = paper[5, 7]  # of the masks that keep the pixel
    assert abs(share - 0.5) < 4 * 0.5 / count**0.5
    # What keeps the pixel leaves the vector as it is; no other pixel tells whether that one is kept.
    assert abs(importance[5, 7] - 1) < 1e-6 and uncertainty[5, 7] < 1e-10
    others = np.ones((12, 12), bool)
    others[5, 7] = False
    assert abs(np.median(importance[others]) - (share + (1 - share) * hidden)) < 0.003
    assert abs(np.median(uncertainty[others]) - share * (1 - share) * (1 - hidden) ** 2) < 0.001
    assert abs(np.median(paper[others]) - 0.5 * (share + (1 - share) * hidden)) < 0.01


def patch(size=24):
    """An encoder that sees one patch of an image, and where that is."""
    seen = np.zeros((size, size), bool)
    seen[14:19, 4:9] = True
    matrix = np.zeros((26, size**2))
    matrix[np.arange(25), np.flatnonzero(seen)] = 1
    matrix[25, np.flatnonzero(seen)] = 0.1
    return matrix, seen


def test_finds_the_one_patch_that_the_encoder_sees():
    matrix, seen = patch()
    (image,) = images(1, 24)
    importance, _ = explain(Linear(matrix), image, masks=1500)
    assert seen[np.unravel_index(importance.argmax(), importance.shape)]
    assert importance[seen].mean() > 5 * importance[~seen].mean()
    rng = np.random.default_rng(4)
    elsewhere = [explain(Linear(rng.permuted(matrix, axis=1)), image, masks=1500)[0] for _ in range(4)]
    assert max(made[seen].mean() / made[~seen].mean() for made in elsewhere) < 2


def test_u_relax_keeps_what_is_certain():
    matrix, _ = patch()
    (image,) = images(1, 24)
    importance, uncertainty = explain(Linear(matrix), image, masks=500)
    gated, same = explain(Linear(matrix), image, masks=500, gamma=0.9, average="median")
    sure = uncertainty < 0.9 * np.median(uncertainty)
    assert 0 < sure.sum() < sure.size
    np.testing.assert_array_equal(gated, np.where(sure, importance, 0))
    np.testing.assert_array_equal(same, uncertainty)


def test_same_bytes_in_any_batch_and_company():
    stack = images(3)
    matrix = np.random.default_rng(2).standard_normal((6, 144))
    settings = {"masks": 600, "tolerance": 0.15, "cells": 4}
    found = [
        relax.explain(Linear(matrix), stack[[0, 0]], stack[[1, 2]], batch=batch, **settings) for batch in (1, 7, 64)
    ]
    for other in found[1:]:
        assert [a.tobytes() for a in found[0]] == [b.tobytes() for b in other]
    importance, uncertainty = explain(Linear(matrix), stack[2], **settings)
    assert importance.tobytes() == found[0][1][1].tobytes() and uncertainty.tobytes() == found[0][3][1].tobytes()
    of_query = explain(Linear(matrix), stack[0], **settings)
    assert [a.tobytes() for a in of_query] == [found[0][0][1].tobytes(), found[0][2][1].tobytes()]
    assert found[0][0][0].tobytes() == found[0][0][1].tobytes() != found[0][1][0].tobytes()
    other = explain(Linear(matrix), stack[2], **{**settings, "seed": 1})[0]
    assert other.tobytes() != importance.tobytes()


def test_each_image_is_encoded_once_and_no_more_at_a_time_than_the_batch():
    stack, encoder = images(3), Linear(np.eye(144))
    relax.explain(encoder, stack[[0, 0, 2]], stack[[1, 2, 0]], masks=50, batch=16)
    assert sum(shape[0] for shape in encoder.asked) == 3 * (1 + 50)
    assert max(shape[0] for shape in encoder.asked) == 16
    patient = Linear(np.eye(144))
    explain(patient, stack[0], masks=3000, tolerance=0.3)
    assert 1 + 250 <= sum(shape[0] for shape in patient.asked) < 1 + 1000


@pytest.mark.parametrize(
    "setting", [{"fill": np.nan}, {"batch": 0}, {"gamma": -1.0}, {"tolerance": 2.0}, {"cells": 40}, {"masks": 0}]
)
def test_settings_out_of_range(setting):
    with pytest.raises(UsageError, match=next(iter(setting))):
        explain(Linear(np.eye(144)), images(1)[0], **setting)


def test_vectors_that_are_none():
    for bad in (np.nan, np.inf):
        with pytest.raises(ShapeError, match="finite vectors"):
            explain(Linear(np.full((2, 144), bad)), images(1)[0], masks=10)
