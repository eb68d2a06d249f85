"""What holds for every explainer of a pair of images."""

import inspect

import numpy as np
import pytest

from cbir_cli import registry
from cbir_cli.errors import ShapeError
from cbir_cli.images import InputSpec

METHODS = registry.names("similarity")


class Encoder:
    """A small network without weights to load: two fixed filters, a rectifier, and pooling in quarters."""

    size = 16
    input = InputSpec(16, mean=(0.4,) * 3, std=(0.2,) * 3)

    def __init__(self, similarity="l2"):
        self.similarity = similarity

    def encode(self, pixels):
        steps = np.stack([np.diff(pixels, axis=1)[:, :, 1:], np.diff(pixels, axis=2)[:, 1:]], axis=1)
        parts = np.maximum(steps, 0).reshape(len(pixels), 2, 3, 5, 3, 5).mean(axis=(3, 5))
        return parts.reshape(len(pixels), -1).astype(np.float32)

    def maps(self, pixels):
        return (pixels / np.abs(pixels).max(axis=(1, 2), keepdims=True)).astype(np.float32)


@pytest.fixture
def pairs():
    """Three queries and their results; an image is in two pairs, as query and as result."""
    images = np.random.default_rng(1).random((4, 16, 16), dtype=np.float32)
    return images[[0, 0, 3]], images[[1, 2, 0]]


@pytest.fixture(params=METHODS)
def method(request):
    return registry.load("similarity", request.param)


def test_there_are_methods():
    assert {"ig", "occlusion"} <= set(METHODS)


def test_signature_and_words(method):
    parameters = inspect.signature(method.explain).parameters
    assert list(parameters)[:3] == ["encoder", "queries", "results"]
    rest = list(parameters.values())[3:]
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    assert all(p.default is not p.empty or p.name == "generator" for p in rest)
    assert method.MAPS in ("both", "result")
    assert "Reference\n---------" in method.__doc__
    for name in parameters:
        assert name in method.explain.__doc__, f"{name} is not described"


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_maps(method, pairs, similarity):
    before = [images.copy() for images in pairs]
    found = method.explain(Encoder(similarity), *pairs)
    again = method.explain(Encoder(similarity), *pairs)
    assert len(found) in (2, 4)  # maps, and uncertainty where the method knows it
    for one, other in zip(found, again, strict=True):
        assert one.shape == (3, 16, 16) and one.dtype == np.float32 and np.isfinite(one).all()
        assert one.tobytes() == other.tobytes()
    np.testing.assert_array_equal(pairs, before)
    assert all(image_map.any() for image_map in found[1])
    assert all(image_map.any() == (method.MAPS == "both") for image_map in found[0])
    assert all((stack >= 0).all() and stack.any() for stack in found[2:])


def test_a_pair_has_the_same_maps_in_any_company(method, pairs):
    together = method.explain(Encoder(), *pairs)
    for number in range(3):
        alone = method.explain(Encoder(), *(images[number : number + 1] for images in pairs))
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
