"""What holds for every explainer of a pair of images."""

import inspect

import numpy as np
import pytest

from cbir_cli import registry
from cbir_cli.errors import ShapeError

METHODS = registry.names("similarity")


class Encoder:
    """A small network without weights to load: two fixed filters, a rectifier, and pooling in quarters."""

    size = 16

    def __init__(self, similarity="l2"):
        self.similarity = similarity

    def encode(self, pixels):
        steps = np.stack([np.diff(pixels, axis=1)[:, :, 1:], np.diff(pixels, axis=2)[:, 1:]], axis=1)
        parts = np.maximum(steps, 0).reshape(len(pixels), 2, 3, 5, 3, 5).mean(axis=(3, 5))
        return parts.reshape(len(pixels), -1).astype(np.float32)

    def maps(self, pixels):
        return (pixels / np.abs(pixels).max(axis=(1, 2), keepdims=True)).astype(np.float32)


@pytest.fixture
def pair():
    return np.random.default_rng(1).random((2, 16, 16), dtype=np.float32)


@pytest.fixture(params=METHODS)
def method(request):
    return registry.load("similarity", request.param)


def test_there_are_methods():
    assert {"ig", "occlusion"} <= set(METHODS)


def test_signature_and_words(method):
    parameters = inspect.signature(method.explain).parameters
    assert list(parameters)[:3] == ["encoder", "query", "result"]
    rest = list(parameters.values())[3:]
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    assert all(p.default is not p.empty or p.name == "generator" for p in rest)
    assert method.MAPS in ("both", "result")
    assert "Reference\n---------" in method.__doc__
    for name in parameters:
        assert name in method.explain.__doc__, f"{name} is not described"


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_maps(method, pair, similarity):
    before = pair.copy()
    found = method.explain(Encoder(similarity), *pair)
    again = method.explain(Encoder(similarity), *pair)
    assert len(found) == 2
    for one, other in zip(found, again, strict=True):
        assert one.shape == (16, 16) and one.dtype == np.float32 and np.isfinite(one).all()
        assert one.tobytes() == other.tobytes()
    np.testing.assert_array_equal(pair, before)
    assert found[1].any()
    assert found[0].any() == (method.MAPS == "both")


def test_pairs_that_are_none(method, pair):
    query, result = pair
    bad = result.copy()
    bad[3, 3] = np.nan
    for wrong in (result[:8], result[None], bad):
        with pytest.raises(ShapeError):
            method.explain(Encoder(), query, wrong)
    with pytest.raises(ShapeError):
        method.explain(Encoder(), query[None], result[None])
