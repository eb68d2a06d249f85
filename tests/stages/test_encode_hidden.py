"""Vectors of hidden images, from the pixels on: what ``encode`` gives of the images with their boxes drawn."""

from dataclasses import replace

import numpy as np
import pytest

from cbir_cli import occluded, registry, sliding_boxes
from cbir_cli.artifacts import model as models
from cbir_cli.images import InputSpec
from cbir_cli.models import _weights
from cbir_cli.similarity import occlusion
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.networks import Network

HERE = Settings(device="cpu", threads=1)
BOXES = [(0, 0, 0, 0), *sliding_boxes.sliding(32, 32, box=9, stride=7)]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Windows in every step, whether they are worth it or not."""
    monkeypatch.setattr(occluded, "_WORTH", 2.0)
    monkeypatch.setattr(occluded, "_CALL", 0.0)
    monkeypatch.setattr(occluded, "_COPY", 0.0)


def made(architecture="densenet-tiny", outputs=2, *, layer="input", **more):
    """A model artifact with fresh weights."""
    kind = registry.load("models", architecture)
    module = _weights.fresh(architecture, outputs, seed=1)
    vector = layer == "output"
    return models.Model(
        architecture=architecture,
        weights={name: value.numpy() for name, value in module.state_dict().items()},
        outputs=[] if vector else [f"label {i}" for i in range(outputs)],
        task={"name": "effusion", "labels": ["Effusion"]},
        objective="binary",
        feature_layer=f"{kind.HEAD}.{layer}",
        feature_width=outputs if vector else kind.FEATURES,
        input=InputSpec(size=32, **more),
        name="made.h5",
    )


def picture(seed=0, colour=False):
    return np.random.default_rng(seed).random((32, 32, 3) if colour else (32, 32), np.float32)


def drawn(image, fill):
    hidden = np.repeat(image[None], len(BOXES), axis=0)
    for one, (y0, y1, x0, x1) in zip(hidden, BOXES, strict=True):
        one[y0:y1, x0:x1] = fill
    return hidden


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("architecture", "layer"), [("densenet-tiny", "input"), ("resnet-tiny", "output")])
def test_vectors_are_those_of_the_drawn_images(engine, colour, architecture, layer):
    model = made(architecture, outputs=24, layer=layer, colour="rgb" if colour else "grey")
    network = Network(model, replace(HERE, engine=engine))
    image = picture(colour=colour)
    expected = network.encode(drawn(image, 0.3))
    found = np.full_like(expected, np.nan)
    for rows, vectors in network.encode_hidden(image, BOXES, 0.3):
        found[rows] = vectors
    assert found.shape[1] == network.width
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(expected, axis=0).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_maps_are_those_of_a_plain_loop(similarity):
    class Plain:
        """The same network, asked for whole images alone."""

        def __init__(self, network):
            self.encode, self.similarity = network.encode, similarity

    class Fast(Plain):
        def __init__(self, network):
            super().__init__(network)
            self.encode_hidden = network.encode_hidden

    network = Network(made(), HERE)
    query, result = picture(0)[None], picture(1)[None]
    settings = {"box": 9, "stride": 4}
    slow, fast = (occlusion.explain(kind(network), query, result, **settings)[1] for kind in (Plain, Fast))
    assert slow.max() > 0
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-4 * slow.max())


def test_networks_that_see_maps_of_the_hidden_image_are_asked_for_whole_images():
    plain = made()
    stage = models.Saliency(model=plain, method="gradient", parameters={}, input="sum-repeat")
    guided = replace(plain, saliency=stage)
    assert Network(guided, HERE).encode_hidden is None
    assert Network(guided, HERE, saliency=stage.space()).encode_hidden is not None  # fed with maps, it has one network
    silva = replace(HERE, compat="silva2020")
    assert Network(guided, silva, saliency=stage.space()).encode_hidden is None
    found = occlusion.explain(Network(guided, HERE), picture(0)[None], picture(1)[None], box=16, stride=16)[1]
    assert found.any()
