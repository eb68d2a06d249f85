"""Similarity attention against its equations, written out plainly."""

import numpy as np
import pytest
import torch
from torch import nn

from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.opened import Opened
from cbir_cli.similarity import attention

SIZE, CELL = 12, 4


class Small:
    """A convolution whose kernels do not overlap, a rectifier, the average, and what is put after it."""

    similarity, size = "l2", SIZE

    def __init__(self, after=tuple, seed=0):
        torch.manual_seed(seed)
        self.net = nn.Sequential(
            nn.Conv2d(1, 5, CELL, CELL), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *after()
        ).double()

    def opened(self):
        return Opened(self.net, lambda pixels: pixels[:, None].astype(np.float64), name="small")

    def features(self, image):
        with torch.no_grad():
            return self.net[:2](torch.from_numpy(image[None, None].astype(np.float64)))[0].numpy()

    def after(self, features):
        with torch.no_grad():
            return self.net[2:](torch.from_numpy(features[None]))[0].numpy()


def images(count=4, seed=1):
    return np.random.default_rng(seed).random((count, SIZE, SIZE), dtype=np.float32)


def explain(encoder, query, result, *negatives, **settings):
    """Explain one pair."""
    more = {"references": np.stack(negatives)[None]} if negatives else {}
    return [maps[0] for maps in attention.explain(encoder, query[None], result[None], **more, **settings)]


def enlarge(small):
    """Bilinear by two matrices, from the middles of pixels."""
    at = np.clip((np.arange(SIZE) + 0.5) / CELL - 0.5, 0, len(small) - 1)
    matrix = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(len(small))))
    return matrix @ small @ matrix.T


def plain(encoder, query, result, *negatives):
    """The equations of the module's docstring, with gradients by differences."""

    def score(features):
        return np.sum(weights * np.abs(encoder.after(features)))

    directions = []
    for image in (query, result, *negatives):
        vector = encoder.after(encoder.features(image))
        directions.append(vector / np.linalg.norm(vector))
    weights = 1 - np.abs(directions[0] - directions[1])
    for negative in directions[2:]:
        weights = weights * np.abs(directions[0] - negative)
    maps = []
    for image in (query, result):
        features, step = encoder.features(image), 1e-5
        gradient = np.zeros_like(features)
        for place in np.ndindex(features.shape):
            more, less = features.copy(), features.copy()
            more[place] += step
            less[place] -= step
            gradient[place] = (score(more) - score(less)) / (2 * step)
        channels = gradient.mean(axis=(1, 2))
        maps.append(enlarge(np.maximum(np.einsum("c,cyx->yx", channels, features), 0)))
    return maps


NETWORKS = {
    "average": tuple,
    "linear": lambda: (nn.Linear(5, 4, bias=False),),
    "dense": lambda: (nn.Linear(5, 6, bias=False), nn.Tanh(), nn.Linear(6, 4)),
}


@pytest.mark.parametrize("after", NETWORKS)
@pytest.mark.parametrize("variant", attention.NEGATIVES)
def test_plain_equations(variant, after):
    encoder, given = Small(NETWORKS[after]), images()[: 2 + attention.NEGATIVES[variant]]
    found = explain(encoder, *given, variant=variant)
    for one, other in zip(found, plain(encoder, *given), strict=True):
        assert other.any()
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


def bright(*corners):
    """An image with one bright cell for each channel of ``Cells`` that is named."""
    image = np.zeros((SIZE, SIZE), np.float32)
    for y, x in corners:
        image[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = 1
    return image


class Cells:
    """Each of the nine cells has a number of the vector of its own."""

    similarity, size = "l2", SIZE

    def opened(self):
        class Net(nn.Module):
            def forward(self, images):
                means = nn.functional.avg_pool2d(images, CELL)  # (N, 1, 3, 3)
                places = torch.eye(9).reshape(1, 9, 3, 3)
                return nn.functional.adaptive_avg_pool2d(means * places, 1).flatten(1)

        return Opened(Net(), lambda pixels: pixels[:, None], name="cells")


def cells(image_map):
    return image_map[CELL // 2 :: CELL, CELL // 2 :: CELL] > image_map.max() / 2


def test_a_pair_alone_shows_what_either_has_and_a_negative_takes_away_what_it_shares():
    query, result = bright((0, 0), (1, 1), (2, 0)), bright((0, 0), (1, 1), (2, 2))
    alone = explain(Cells(), query, result)[1]
    assert cells(alone).tolist() == [[True, False, False], [False, True, False], [False, False, False]]
    against = explain(Cells(), query, result, bright((1, 1), (2, 0)), variant="triplet")[1]
    assert cells(against).tolist() == [[True, False, False], [False] * 3, [False] * 3]


def test_lengths_of_vectors_do_not_matter_to_the_weights():
    query, result = images(2)
    encoder = Small()
    encoder.net[0].bias.data.zero_()
    one, three = (explain(encoder, query, scale * result) for scale in (1, 3))
    np.testing.assert_allclose(three[0], one[0], rtol=1e-5)
    np.testing.assert_allclose(three[1], 3 * one[1], rtol=1e-5)


def test_negatives_of_other_pairs_do_not_reach_a_pair():
    given, encoder = images(6), Small()
    references = given[[2, 3, 4]][:, None]
    together = attention.explain(encoder, given[[0, 0, 1]], given[[1, 5, 5]], references, variant="triplet")
    alone = attention.explain(encoder, given[:1], given[5:], references[1:2], variant="triplet")
    assert all(one[1].tobytes() == other[0].tobytes() for one, other in zip(together, alone, strict=True))


def test_a_vector_of_zeros():
    encoder = Small()
    encoder.net[0].bias.data.zero_()
    found = explain(encoder, np.zeros((SIZE, SIZE), np.float32), images(1)[0])
    assert not found[0].any() and found[1].any()


def test_refusals():
    query, result, negative, other = images()
    with pytest.raises(UsageError, match="variant of attention"):
        explain(Small(), query, result, variant="pair")
    for variant, negatives in (
        ("triplet", ()),
        ("triplet", (negative, other)),
        ("quadruplet", (negative,)),
        ("siamese", (negative,)),
    ):
        with pytest.raises(UsageError, match=f"variant={variant} of attention takes"):
            explain(Small(), query, result, *negatives, variant=variant)
    for wrong in (negative[None], negative[None, None, :8], np.stack([negative, other])[:, None]):
        with pytest.raises(ShapeError):
            attention.explain(Small(), query[None], result[None], wrong, variant="triplet")
    with pytest.raises(ShapeError):
        explain(Small(), query, result, negative * np.nan, variant="triplet")
