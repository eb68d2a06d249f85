"""Activation maps: parts of a similarity by place, against plain loops and the vectors themselves."""

import numpy as np
import pytest
import torch
from torch import nn

from cbir_cli.artifacts import model as models
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.models import _weights
from cbir_cli.opened import Opened
from cbir_cli.similarity import activation
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.networks import Network

SIZE, CELL = 12, 4


class Small:
    """A convolution whose kernels do not overlap, a rectifier, the average, and perhaps a linear layer."""

    def __init__(self, similarity, width=4, seed=0):
        draws = np.random.default_rng(seed)
        self.kernels = draws.standard_normal((5, CELL, CELL))
        self.weight, self.bias = (draws.standard_normal((width, 5)), draws.standard_normal(width)) if width else (1, 0)
        self.similarity, self.size = similarity, SIZE
        net = nn.Sequential(nn.Conv2d(1, 5, CELL, CELL, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        net[0].weight.data = torch.from_numpy(self.kernels[:, None])
        if width:
            net.append(nn.Linear(5, width))
            net[-1].weight.data, net[-1].bias.data = torch.from_numpy(self.weight), torch.from_numpy(self.bias)
        self.net = net

    def opened(self):
        return Opened(self.net, lambda pixels: pixels[:, None].astype(np.float64), name="small")

    def places(self, image):
        """What each place adds to the vector, (3, 3, D), in plain numpy."""
        cells = image.reshape(3, CELL, 3, CELL).transpose(0, 2, 1, 3).astype(np.float64)
        features = np.maximum(np.einsum("yxij,cij->yxc", cells, self.kernels), 0)
        if np.ndim(self.weight):
            return (features @ self.weight.T + self.bias) / 9
        return features / 9


def pair(seed=1):
    return np.random.default_rng(seed).random((2, SIZE, SIZE), dtype=np.float32)


def explain(encoder, query, result, **settings):
    """Explain one pair."""
    return [maps[0] for maps in activation.explain(encoder, query[None], result[None], **settings)]


def enlarge(small, density=True):
    """Bilinear, one pixel at a time: the middle of a pixel lies between the middles of two cells each way."""
    size = len(small)
    large = np.zeros((SIZE, SIZE))
    for y in range(SIZE):
        for x in range(SIZE):
            places = [np.clip((at + 0.5) / CELL - 0.5, 0, size - 1) for at in (y, x)]
            (y0, x0), (dy, dx) = ([int(p) for p in places], [p - int(p) for p in places])
            y1, x1 = min(y0 + 1, size - 1), min(x0 + 1, size - 1)
            upper = small[y0, x0] * (1 - dx) + small[y0, x1] * dx
            large[y, x] = upper * (1 - dy) + (small[y1, x0] * (1 - dx) + small[y1, x1] * dx) * dy
    return large / CELL**2 if density else large


def lengths(one, other, similarity):
    return np.linalg.norm(one) * np.linalg.norm(other) if similarity == "cosine" else 1.0


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
@pytest.mark.parametrize("width", [0, 4])
def test_every_place_has_its_part(similarity, width):
    encoder, (query, result) = Small(similarity, width), pair()
    found = explain(encoder, query, result)
    parts = encoder.places(query), encoder.places(result)
    vectors = [part.sum(axis=(0, 1)) for part in parts]
    for image_map, part, own, other in zip(found, parts, vectors, vectors[::-1], strict=True):
        truth = np.zeros((3, 3))
        for y in range(3):
            for x in range(3):
                towards = 2 * other - own if similarity == "l2" else other / lengths(own, other, similarity)
                truth[y, x] = sum(part[y, x, d] * towards[d] for d in range(len(own)))
        np.testing.assert_allclose(image_map, enlarge(truth), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_pixels_add_up_to_the_similarity_of_a_networks_vectors(similarity):
    """By what ONNX Runtime says the vectors are; on a DenseNet with a linear layer after the average."""
    weights = {n: t.numpy() for n, t in _weights.fresh("densenet-tiny", 24, seed=1).state_dict().items()}
    draws = np.random.default_rng(3)
    weights["classifier.bias"] = draws.normal(0, 0.2, 24).astype(np.float32)
    objective = {"cosine": "triplet", "l2": "simsiam"}[similarity]
    spec = InputSpec(size=64)
    made = models.Model("densenet-tiny", weights, [], {}, objective, "classifier.output", 24, spec, name="made.h5")
    network = Network(made, Settings(device="cpu", threads=1))
    images = draws.random((3, 64, 64), dtype=np.float32)
    found = activation.explain(network, images[[0, 1]], images[[1, 2]])
    vectors = network.encode(images).astype(np.float64)
    for number, (q, r) in enumerate([(0, 1), (1, 2)]):
        one, other = vectors[q], vectors[r]
        apart = np.square(one - other).sum()
        cosine = one @ other / lengths(one, other, "cosine")
        truth = (cosine, cosine) if similarity == "cosine" else (other @ other - apart, one @ one - apart)
        sums = [maps[number].sum(dtype=np.float64) for maps in found]
        np.testing.assert_allclose(sums, truth, rtol=1e-4)


@pytest.mark.parametrize("width", [0, 4])
def test_products_of_all_pairs_of_places_add_up_to_the_product_of_the_vectors(width):
    encoder, (query, result) = Small("l2", width), pair()
    total = 0.0
    for y in range(3):
        for x in range(3):
            of_query, of_result = explain(encoder, query, result, point=f"{4 * y + 1},{4 * x + 2}")
            np.testing.assert_allclose(of_query.sum(), of_result.sum(), rtol=1e-4, atol=1e-6)
            total += of_result.sum(dtype=np.float64)
    vectors = [encoder.places(image).sum(axis=(0, 1)) for image in (query, result)]
    np.testing.assert_allclose(total, vectors[0] @ vectors[1], rtol=1e-5)


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_one_point_of_the_query(similarity):
    encoder, (query, result) = Small(similarity), pair()
    found = explain(encoder, query, result, point="5,11")
    one, other = encoder.places(query), encoder.places(result)
    scale = lengths(one.sum(axis=(0, 1)), other.sum(axis=(0, 1)), similarity)
    products = np.einsum("d,yxd->yx", one[1, 2], other) / scale
    np.testing.assert_allclose(found[1], enlarge(products), rtol=1e-5, atol=1e-7)
    only = np.zeros((3, 3))
    only[1, 2] = products.sum()
    np.testing.assert_allclose(found[0], enlarge(only), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("one", "other"), [("0,0", "0.0,0.0"), ("11,11", "1.0,1.0"), ("4,8", "0.34,0.67"), ("5, 2", ".5,.2")]
)
def test_a_point_in_pixels_or_as_fractions(one, other):
    given = Small("l2"), *pair()
    for a, b in zip(explain(*given, point=one), explain(*given, point=other), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("point", ["", "5,6"])
def test_the_authors_variant_keeps_positive_products_alone(point):
    encoder, (query, result) = Small("cosine"), pair() - 0.5
    found = explain(encoder, query, result, variant="x-mir", point=point)
    one, other = (encoder.places(image).reshape(9, -1) for image in (query, result))
    products = np.array([[sum(a * b) for b in other] for a in one])
    assert (products < 0).any()  # else this shows nothing
    products = np.maximum(products / products.max(), 0)
    if point:
        products[np.arange(9) != 4] = 0
    np.testing.assert_allclose(found[0], enlarge(products.sum(1).reshape(3, 3), density=False), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], enlarge(products.sum(0).reshape(3, 3), density=False), rtol=1e-5, atol=1e-6)


def test_too_much_of_a_thing_sets_apart():
    """Under l2, a place that gives the vector more than twice what the other has takes it away from the other."""
    encoder = Small("l2", width=0)
    query = pair()[0]
    result = query.copy()
    result[:4, :4] *= 20
    _, of_result = explain(encoder, query, result)
    assert of_result[:4, :4].max() < 0
    assert explain(Small("cosine", width=0), query, result)[1].min() >= 0


def test_images_without_any_activation():
    encoder = Small("cosine", width=0)
    black = np.zeros((SIZE, SIZE), np.float32)
    for settings in ({}, {"variant": "x-mir"}, {"point": "1,1"}):
        assert not any(maps.any() for maps in explain(encoder, black, pair()[0], **settings))


@pytest.mark.parametrize(
    "point", ["1", "1,2,3", "a,b", "12,0", "0,-1", "1.5,0.2", "-0.1,0.2", "1,0.5", "nan,0.1", "0.2,nan", "inf,0.5", ","]
)
def test_points_that_are_none(point):
    with pytest.raises(UsageError, match="point: expected y,x"):
        explain(Small("l2"), *pair(), point=point)


def test_refusals():
    with pytest.raises(UsageError, match="variant of activation"):
        explain(Small("l2"), *pair(), variant="x")
    for settings in ({}, {"variant": "x-mir"}, {"point": "1,1"}):
        with pytest.raises(UsageError, match="ssim"):
            explain(Small("ssim"), *pair(), **settings)
    with pytest.raises(ShapeError):
        explain(Small("l2"), pair()[0], pair()[0][:, :8])
    encoder = Small("l2")
    encoder.net.append(nn.Tanh())
    with pytest.raises(UsageError, match=r"activation: the vector of small is no sum .* tanh"):
        explain(encoder, *pair())
