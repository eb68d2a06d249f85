"""Every analyzer against the maps that iNNvestigate computed of four small networks, in float64."""

import numpy as np
import pytest
import torch
from networks import load, suite

from cbir_cli import registry

CASES = [(net, key) for net in "abcd" for key in suite(net)[0]]

# What the handling of batch norm in release 1 adds to a denominator changes a map by this; there is none in ours.
RELEASE_1 = 2e-4


def settings(name, variant):
    if name == "deep_taylor":
        return {"dialect": f"innvestigate-{variant or 2}", "start": "relu-logit"}
    if name.startswith("lrp."):
        return {"dialect": "innvestigate-1.0.8" if variant == "1.0.8" else "innvestigate-2"}
    return {"start": "logit"} if name in ("deconvnet", "guided_backprop") else {}


@pytest.mark.parametrize(("net", "key"), CASES, ids=lambda value: str(value))
def test_map_is_that_of_innvestigate(net, key):
    maps, which = suite(net)
    name, _, variant = key.partition("/")
    # Where the padding is a layer of its own, as in Keras, the rules that ignore the inputs lose relevance to it.
    apart = net in "bd" and variant != "padding-inside"
    model, x, logits = load(net, dtype=torch.float64, padding_apart=apart)
    np.testing.assert_allclose(model(x).detach(), logits, atol=2e-6)
    explain = registry.load("saliency", name).explain
    found = explain(model, x[torch.as_tensor(which)], **settings(name, variant)).numpy().transpose(0, 2, 3, 1)
    tolerance = RELEASE_1 if name.startswith("lrp.") and variant == "1.0.8" else 1e-6
    for one, expected in zip(found, maps[key], strict=True):
        assert np.abs(one - expected).max() <= tolerance * np.abs(expected).max()


def test_no_analyzer_is_forgotten():
    analyzers = {key.partition("/")[0] for _, key in CASES}
    assert len(analyzers) == 14
    for name in analyzers:
        assert registry.canonical(name) in registry.names("saliency")
    # Random, or fitted, or not of iNNvestigate: they have tests of their own.
    others = {"smoothgrad", "pattern.net", "pattern.attribution", "grad-cam", "grad-cam++"}
    assert {registry.canonical(name) for name in analyzers} | others == set(registry.names("saliency"))
