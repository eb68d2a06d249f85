"""What holds for every explainer of a pair of images."""

import inspect
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from cbir_cli import registry
from cbir_cli.artifacts import model as models
from cbir_cli.errors import ShapeError
from cbir_cli.images import InputSpec
from cbir_cli.models import _weights
from cbir_cli.opened import Opened
from cbir_cli.saliency import input_t_gradient
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.networks import Network

METHODS = registry.names("similarity")

SETTINGS = {"box": 6, "stride": 3, "masks": 400}
"""For images of few pixels, and for tests that are done in seconds; a method gets those that it has."""


def settings(method, **other):
    known = registry.parameters(method.explain)
    return {name: value for name, value in {**SETTINGS, **other}.items() if name in known}


class OnePatch(nn.Module):
    """A network with a weight for each place of its input, without which it sees nothing there.

    Convolutions do not overlap and have no bias: what is 0 stays 0, and each place of the 12 x 12 feature map belongs
    to 4 x 4 pixels.
    """

    SIZE = 48
    PATCH = np.zeros((SIZE, SIZE), bool)
    PATCH[12:28, 20:36] = True

    def __init__(self, seed, trained):
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.gate = nn.Parameter(torch.rand(1, 1, self.SIZE, self.SIZE, generator=random))
        self.first, self.second = nn.Conv2d(3, 8, 2, 2, bias=False), nn.Conv2d(8, 12, 2, 2, bias=False)
        for layer in (self.first, self.second):
            layer.weight.data = torch.randn(layer.weight.shape, generator=random) / layer.weight[0].numel() ** 0.5
        if trained:
            self.gate.data = torch.from_numpy(self.PATCH[None, None]).float()

    def forward(self, images):
        features = torch.relu(self.second(torch.relu(self.first(images * self.gate))))
        return features.mean(dim=(2, 3))


class Encoder:
    """Such a network, or another one, as a stage would hand it over."""

    def __init__(self, similarity="l2", module=None, size=16):
        torch.manual_seed(7)
        plain = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
        self.similarity, self.size, self.input = similarity, size, InputSpec(size=size)
        self._opened = Opened(module or plain, self._prepare, name="small", threads=2)

    @staticmethod
    def _prepare(pixels):
        three = pixels if pixels.ndim == 4 else np.repeat(pixels[..., None], 3, axis=3)
        return np.ascontiguousarray(np.moveaxis(three, 3, 1))

    def opened(self):
        return self._opened

    def encode(self, pixels):
        # One at a time: nothing about the batch can reach the vectors.
        with torch.no_grad():
            return np.concatenate([self._opened.module(self._opened.inputs(p[None])).numpy() for p in pixels])

    def maps(self, pixels):
        maps = np.zeros(pixels.shape[:3], np.float32)
        for found, image in zip(maps, pixels, strict=True):
            relevance = input_t_gradient.explain(self._opened.module, self._opened.inputs(image[None]))
            found[:] = relevance[0].sum(0).numpy()
        return maps / np.abs(maps).max(axis=(1, 2), keepdims=True)


@cache
def network(architecture, outputs, objective, colour, guided):
    """A model artifact's network with fresh weights, 32 px; ``guided`` has another one in front of it."""

    def model(architecture, outputs, objective, seed, saliency=None):
        kind = registry.load("models", architecture)
        vector = objective == "triplet"
        return models.Model(
            architecture=architecture,
            weights={n: t.numpy() for n, t in _weights.fresh(architecture, outputs, seed=seed).state_dict().items()},
            outputs=[] if vector else ["label"] * outputs,
            task={},
            objective=objective,
            feature_layer=f"{kind.HEAD}.{'output' if vector else 'input'}",
            feature_width=outputs if vector else kind.FEATURES,
            input=InputSpec(size=32, colour="rgb" if colour else "grey"),
            saliency=saliency,
            name="made.h5",
        )

    stage = models.Saliency(model("densenet-tiny", 1, "binary", 1), "deep-taylor", {}, "sum-repeat") if guided else None
    return Network(model(architecture, outputs, objective, 2, stage), Settings(device="cpu", threads=2))


def images(count, size, colour=False, seed=1):
    shape = (count, size, size, 3) if colour else (count, size, size)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@pytest.fixture
def pairs():
    """Three queries and their results; an image is in two pairs, as query and as result."""
    given = images(4, 16)
    return given[[0, 0, 3]], given[[1, 2, 0]]


@pytest.fixture(params=METHODS)
def method(request):
    return registry.load("similarity", request.param)


def test_there_are_methods():
    assert {"activation", "attention", "ig", "lrp", "occlusion"} <= set(METHODS)


def test_signature_and_words(method):
    parameters = inspect.signature(method.explain).parameters
    assert list(parameters)[:3] == ["encoder", "queries", "results"]
    rest = list(parameters.values())[3:]
    # Not to be had with --set: what a stage draws from the index for each pair.
    assert all(p.kind is p.KEYWORD_ONLY or (p.name == "references" and p.default is None) for p in rest)
    assert all(p.default is not p.empty or p.name == "generator" for p in rest)
    assert method.MAPS in ("both", "result")
    assert "Reference\n---------" in method.__doc__
    for name in parameters:
        assert name in method.explain.__doc__, f"{name} is not described"


def check(method, found, count, size):
    """Look at what an explainer returns: maps, and after them uncertainty where it has that."""
    assert len(found) in (2, 4)
    for maps in found:
        assert maps.shape == (count, size, size) and maps.dtype == np.float32 and np.isfinite(maps).all()
    assert all(image_map.any() for image_map in found[1])
    assert all(image_map.any() == (method.MAPS == "both") for image_map in found[0])
    assert all((maps >= 0).all() and maps.any() for maps in found[2:])


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_maps(method, pairs, similarity):
    before = [given.copy() for given in pairs]
    found = method.explain(Encoder(similarity), *pairs, **settings(method))
    again = method.explain(Encoder(similarity), *pairs, **settings(method))
    check(method, found, 3, 16)
    for one, other in zip(found, again, strict=True):
        assert one.tobytes() == other.tobytes()
    np.testing.assert_array_equal(pairs, before)


@pytest.mark.parametrize(
    ("architecture", "outputs", "objective", "colour", "guided"),
    [
        ("densenet-tiny", 2, "binary", False, False),
        ("densenet-tiny", 8, "triplet", True, False),  # a linear layer, compared by cosine
        ("resnet-tiny", 2, "multilabel", True, False),
        ("resnet-tiny", 1, "binary", False, True),  # an IG chain
        ("densenet-tiny", 1, "binary", True, True),
    ],
)
def test_networks(method, architecture, outputs, objective, colour, guided):
    encoder = network(architecture, outputs, objective, colour, guided)
    if method is registry.load("similarity", "ig") and objective == "triplet":
        pytest.skip("a network without outputs has no saliency maps")
    given, quick = images(2, 32, colour), settings(method, stride=6, masks=30)
    alone = method.explain(encoder, given[:1], given[1:], **quick)
    check(method, alone, 1, 32)
    together = method.explain(encoder, given[[1, 0, 0]], given[[0, 1, 0]], **quick)
    for one, other in zip(alone, together, strict=True):
        assert one[0].tobytes() == other[1].tobytes()


def test_a_pair_has_the_same_maps_in_any_company(method, pairs):
    together = method.explain(Encoder(), *pairs, **settings(method))
    for number in range(3):
        alone = method.explain(Encoder(), *(given[number : number + 1] for given in pairs), **settings(method))
        for one, other in zip(together, alone, strict=True):
            assert one[number].tobytes() == other[0].tobytes()


def test_pairs_that_are_none(method, pairs):
    queries, results = pairs
    bad = results.copy()
    bad[1, 3, 3] = np.nan
    for wrong in (results[:, :8], results[None], bad, results[:2]):
        with pytest.raises(ShapeError):
            method.explain(Encoder(), queries, wrong)
    with pytest.raises(ShapeError):
        method.explain(Encoder(), queries[0], results[0])


def test_no_pairs(method):
    none = np.empty((0, 16, 16), np.float32)
    assert {maps.shape for maps in method.explain(Encoder(), none, none)} == {(0, 16, 16)}


def finds(image_map):
    """Say whether a map finds the patch: its largest value is inside, and so is most of what exceeds its median.

    Methods that draw masks give every pixel the score of the average mask; the median is that floor.
    """
    above = np.maximum(image_map.astype(np.float64) - np.median(image_map), 0)
    inside = OnePatch.PATCH[np.unravel_index(image_map.argmax(), image_map.shape)]
    return bool(inside and above[OnePatch.PATCH].sum() > above.sum() / 2)


def test_the_network_of_one_patch_sees_no_other_place():
    one, other = images(2, OnePatch.SIZE)
    given = np.stack([one, np.where(OnePatch.PATCH, one, other), other])
    vectors = Encoder(module=OnePatch(0, trained=True), size=OnePatch.SIZE).encode(given)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert (vectors[0] != vectors[2]).any()


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
@pytest.mark.parametrize("name", METHODS)
def test_finds_what_the_network_sees_and_not_where_its_weights_are_random(name, similarity):
    """Chosen before any map was made: ``finds`` for each of 9 maps, and for none of the 9 after drawing weights."""
    way = registry.load("similarity", name)
    queries, results = np.split(images(6, OnePatch.SIZE, seed=3), 2)
    results = np.where(OnePatch.PATCH, queries, results)  # alike in the patch, and nowhere else
    for trained in (True, False):
        for seed in range(3):
            encoder = Encoder(similarity, OnePatch(seed, trained), OnePatch.SIZE)
            found = way.explain(encoder, queries, results, **settings(way))
            for maps in found[:2] if way.MAPS == "both" else found[1:2]:
                assert [finds(image_map) for image_map in maps] == [trained] * 3, (trained, seed)
