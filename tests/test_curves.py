"""Insertion and deletion curves against the authors' loop, against a network that is known, and at their edges."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import conv2d

from cbir_cli import curves
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.images import InputSpec

SPEC = InputSpec(16)
MEAN, STD = (np.array(values, np.float64) for values in (SPEC.mean, SPEC.std))


def theirs(encode, image, importance, anchor, what, step):
    """The authors' loop, one image and one step at a time, on normalised images, in double precision."""
    size = len(image)
    kernel = np.zeros((51, 51))
    kernel[25, 25] = 1
    kernel = torch.tensor(gaussian_filter(kernel, math.sqrt(50)))
    whole = torch.tensor((np.repeat(image[..., None], 3, axis=2) - MEAN) / STD).permute(2, 0, 1)
    blurred = torch.stack([conv2d(channel[None, None], kernel[None, None], padding=25)[0, 0] for channel in whole])
    start, finish = (blurred, whole) if what == "insertion" else (whole, torch.zeros_like(whole))
    salient_order = sorted(range(size**2), key=lambda pixel: (-importance.ravel()[pixel], pixel))
    start, finish = start.clone().reshape(3, -1), finish.reshape(3, -1)
    scores = []
    for i in range((size**2 + step - 1) // step + 1):
        vector = encode(start.reshape(3, size, size).numpy())
        cosine = vector @ anchor / np.linalg.norm(vector) / np.linalg.norm(anchor)
        scores.append(max(0, cosine))
        coordinates = salient_order[step * i : step * (i + 1)]
        start[:, coordinates] = finish[:, coordinates]
    return scores


@pytest.fixture(scope="module")
def linear():
    """A linear encoder of normalised images (3, 16, 16), and the same of pixels (B, 16, 16, 3)."""
    weights = np.random.default_rng(0).standard_normal((3 * 256, 7))

    def normalised(image):
        return image.reshape(-1) @ weights + 3  # so that an image which is all grey has a direction

    def pixels(images):
        return np.stack([normalised(((image.astype(np.float64) - MEAN) / STD).transpose(2, 0, 1)) for image in images])

    return normalised, pixels


@pytest.mark.parametrize("what", curves.WHATS)
@pytest.mark.parametrize("step", [16, 7, 256, 300])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_is_the_authors_loop(linear, what, step, batch):
    draw = np.random.default_rng(1)
    image = draw.random((16, 16), np.float32)
    anchor = linear[1](np.repeat(image[None, ..., None], 3, axis=3))[0] + 5 * draw.standard_normal(7)
    importance = draw.integers(-3, 4, (16, 16)) / 3  # with ties
    counts = []
    found = curves.curve(
        linear[1], image, importance, anchor[None], what, SPEC, step=step, batch=batch, advance=counts.append
    )[0]
    expected = theirs(linear[0], image.astype(np.float64), importance, anchor, what, step)
    assert found.dtype == np.float32 and found == pytest.approx(np.array(expected), abs=2e-6)
    assert expected[0] > 0  # else there is nothing to compare
    assert sum(counts) == len(found) == len(curves.fractions(16, step))


def test_a_step_is_a_row_by_default(linear):
    draw = np.random.default_rng(2)
    image, importance, anchor = draw.random((16, 16), np.float32), draw.random((16, 16)), draw.random(7)
    default, row = (
        curves.curve(linear[1], image, importance, anchor[None], "deletion", SPEC, step=s)[0] for s in (None, 16)
    )
    assert default.tolist() == row.tolist() and len(row) == 17
    assert curves.fractions(16).tolist() == [i / 16 for i in range(17)]
    assert len(curves.fractions(224)) == 225  # as in the authors' code
    assert curves.fractions(4, 6) == pytest.approx([0, 6 / 16, 12 / 16, 1])


def test_a_map_that_knows_beats_random_order_and_its_own_reverse():
    """A linear encoder that looks at a disc alone: its map is known, and is the contribution of each pixel."""
    rows, columns = np.indices((16, 16))
    disc = (rows - 6) ** 2 + (columns - 9) ** 2 < 14
    pattern = np.random.default_rng(3).standard_normal((16, 16))
    weights = pattern * disc
    image = (0.45 + 0.5 * np.sign(pattern)).clip(0, 1).astype(np.float32)  # what the network likes best
    grey = np.mean(SPEC.mean)

    def encode(pixels):
        return np.stack([((pixels.mean(axis=3) - grey) * weights).sum((1, 2)), np.full(len(pixels), 5.0)], axis=1)

    def area(importance, what):
        return curves.curve(encode, image, importance, np.array([[1.0, 0.0]]), what, SPEC, step=4).mean()

    known, noise = (image - grey) * weights, np.random.default_rng(4).random((16, 16))
    assert area(known, "deletion") < area(noise, "deletion") - 0.1 < area(-known, "deletion") - 0.2
    assert area(known, "insertion") > area(noise, "insertion") + 0.1 > area(-known, "insertion") + 0.2
    # The same method on networks that have learnt nothing: as bad as chance.
    draw = np.random.default_rng(9)
    for what in curves.WHATS:
        strangers = [area((image - grey) * draw.standard_normal((16, 16)), what) for _ in range(20)]
        orders = [area(draw.random((16, 16)), what) for _ in range(20)]
        assert abs(np.mean(strangers) - np.mean(orders)) < 0.02 < abs(area(known, what) - np.mean(orders)) - 0.08


def test_ties_change_row_by_row():
    importance = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert curves.order(importance).tolist() == [[2, 0], [1, 3]]
    assert curves.order(np.zeros((2, 2), np.float16)).tolist() == [[0, 1], [2, 3]]


def test_what_an_image_becomes():
    image = np.random.default_rng(5).random((40, 40, 3)).astype(np.float32)
    blurred, gone = curves.endings(image, SPEC, "code")
    assert (gone == np.array(SPEC.mean, np.float32)).all()  # 0 after normalisation
    assert blurred[20, 20] == pytest.approx(image.mean(axis=(0, 1)), abs=0.06)
    blurred, gone = curves.endings(image, SPEC, "paper")
    assert np.ptp(gone) == 0 and gone[0, 0, 0] == pytest.approx(0.449, abs=1e-3)
    expected = np.stack([gaussian_filter(image[..., c].astype(float), math.sqrt(50), radius=25) for c in range(3)], 2)
    assert blurred == pytest.approx(expected, abs=2e-3)  # what the cut leaves out is folded in
    flat = np.full((40, 40, 3), 0.3, np.float32)
    assert curves.endings(flat, SPEC, "paper")[0] == pytest.approx(flat, abs=1e-6)
    sharper = curves.endings(image, SPEC, "paper", 1.0)[0]
    assert sharper.std() > blurred.std() * 2


def test_colours_are_kept():
    image = np.random.default_rng(6).random((8, 8, 3)).astype(np.float32)
    seen = []

    def encode(pixels):
        seen.append(pixels)
        return np.ones((len(pixels), 2))

    curves.curve(encode, image, np.arange(64.0).reshape(8, 8), np.ones((1, 2)), "deletion", SPEC)
    steps = np.concatenate(seen)
    assert (steps[0] == image).all() and (steps[-1] == np.array(SPEC.mean, np.float32)).all()
    assert (steps[4][:4] == image[:4]).all() and (steps[4][4:] == np.array(SPEC.mean, np.float32)).all()


def test_similarity_is_cut_and_a_zero_has_none():
    made = np.array([[1.0, 0], [-1, 0], [0, 0], [3, 4], [0, 1]])
    anchors = np.array([[2.0, 0], [0, 0], [3, 4]])
    steps = iter(made)

    def encode(pixels):
        return np.stack([next(steps) for _ in pixels])

    found = curves.curve(encode, np.zeros((4, 4), np.float32), np.arange(16.0).reshape(4, 4), anchors, "deletion", SPEC)
    expected = [[1, 0, 0, 0.6, 0], [0, 0, 0, 0, 0], [0.6, 0, 0, 1, 0.8]]
    assert found == pytest.approx(np.array(expected), abs=1e-7)


@pytest.mark.parametrize("what", curves.WHATS)
def test_many_anchors_cost_the_steps_once_and_have_the_bytes_of_each_alone(linear, what):
    draw = np.random.default_rng(7)
    image, importance, anchors = draw.random((16, 16), np.float32), draw.random((16, 16)), draw.random((5, 7))
    count = []

    def encode(pixels):
        count.append(len(pixels))
        return linear[1](pixels)

    together = curves.curve(encode, image, importance, anchors, what, SPEC)
    assert together.shape == (5, 17) and sum(count) == 17
    for anchor, row in zip(anchors, together, strict=True):
        alone = curves.curve(linear[1], image, importance, anchor[None], what, SPEC)
        assert alone[0].tobytes() == row.tobytes()
    assert len({row.tobytes() for row in together}) == 5


def test_a_step_of_more_pixels_than_there_are_is_the_last(linear):
    image, importance, anchors = np.zeros((16, 16), np.float32), np.zeros((16, 16)), np.ones((1, 7))
    for step in (256, 10**6, 10**30):
        assert curves.fractions(16, step).tolist() == [0, 1]
        assert curves.curve(linear[1], image, importance, anchors, "insertion", SPEC, step=step).shape == (1, 2)


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (UsageError, r"unknown curve 'add': .*known: insertion, deletion", {"what": "add"}),
        (UsageError, r"unknown variant 'x': .*known: code, paper", {"variant": "x"}),
        (UsageError, "a step of at least 1 pixel, found 0", {"step": 0}),
        (UsageError, "a sigma above 0 and at most 1000 pixels, found -1", {"sigma": -1}),
        (UsageError, "a sigma above 0 and at most 1000 pixels, found nan", {"sigma": math.nan}),
        (UsageError, r"a sigma above 0 and at most 1000 pixels, found 1000000000\.0", {"sigma": 1e9}),
        (UsageError, "a batch of at least 1, found 0", {"batch": 0}),
        (ShapeError, "a finite map of an image", {"importance": np.zeros((8, 8))}),
        (ShapeError, "a finite map of an image", {"importance": np.full((16, 16), np.nan)}),
        (ShapeError, "vectors of 6 numbers from the model, found 7", {"anchors": np.ones((1, 6))}),
        (ShapeError, "finite vectors from the model", {"anchors": np.full((1, 7), np.inf)}),
        (ShapeError, "finite vectors from the model", {"anchors": np.ones(7)}),
    ],
)
def test_what_does_not_fit_is_refused(linear, error, words, change):
    given = {"importance": np.zeros((16, 16)), "anchors": np.ones((1, 7)), "what": "insertion", "spec": SPEC, **change}
    with pytest.raises(error, match=words):
        curves.curve(linear[1], np.zeros((16, 16), np.float32), **given)
