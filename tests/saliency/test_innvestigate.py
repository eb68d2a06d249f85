"""Every analyzer against the maps that iNNvestigate computed of four small networks, in float64."""

import numpy as np
import pytest
import torch
from networks import load, suite

from cbir_cli import registry


def parts(key):
    """Return analyzer, release (empty for 2.1.2), and whether padding is a part of its layer, from the key of a map."""
    name, *rest = key.split("/")
    return name, next((r for r in rest if r != "padding-inside"), ""), "padding-inside" in rest


CASES = [(net, key) for net in "abcd" for key in suite(net)[0]]


def settings(name, release):
    if name == "deep_taylor":
        return {"dialect": f"innvestigate-{release or 2}", "start": "relu-logit"}
    if name.startswith("lrp."):
        return {"dialect": f"innvestigate-{release or 2}"}
    return {"start": "logit"} if name in ("deconvnet", "guided_backprop") else {}


@pytest.mark.parametrize(("net", "key"), CASES, ids=lambda value: str(value))
def test_map_is_that_of_innvestigate(net, key):
    maps, which = suite(net)
    name, release, inside = parts(key)
    # Where the padding is a layer of its own, as in Keras, the rules that ignore the inputs lose relevance to it.
    model, x, logits = load(net, dtype=torch.float64, padding_apart=net == "b" and not inside)
    np.testing.assert_allclose(model(x).detach(), logits, atol=2e-6)
    explain = registry.load("saliency", name).explain
    found = explain(model, x[torch.as_tensor(which)], **settings(name, release)).numpy().transpose(0, 2, 3, 1)
    for one, expected in zip(found, maps[key], strict=True):
        assert np.abs(one - expected).max() <= 1e-6 * np.abs(expected).max()


def test_no_analyzer_is_forgotten():
    analyzers = {parts(key)[0] for _, key in CASES}
    assert len(analyzers) == 14
    for name in analyzers:
        assert registry.canonical(name) in registry.names("saliency")
    # Random, or fitted, or not of iNNvestigate: they have tests of their own.
    others = {"smoothgrad", "pattern.net", "pattern.attribution", "grad-cam", "grad-cam++", "relax"}
    assert {registry.canonical(name) for name in analyzers} | others == set(registry.names("saliency"))
