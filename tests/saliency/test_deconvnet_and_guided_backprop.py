"""Deconvnet and guided backpropagation against Captum and the formula written out."""

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from modular import backbone, conv_net, images, pairs
from torch import nn

from cbir_cli.errors import CbirError, UsageError
from cbir_cli.saliency import deconvnet, guided_backprop


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[deconvnet, guided_backprop], ids=["deconvnet", "guided"])
def method(request):
    return request.param


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations")
@pytest.mark.parametrize("name", ["conv", "dense"])
def test_maps_are_those_of_captum(method, name):
    model, apart, x, target = pairs()[name]
    theirs = captum.attr.Deconvolution if method is deconvnet else captum.attr.GuidedBackprop
    expected = theirs(apart).attribute(x.clone().requires_grad_(), target)
    largest = expected.abs().max().item()
    assert largest > 1e-6
    torch.testing.assert_close(method.explain(model, x, target), expected, rtol=0, atol=1e-12 * largest)


def dense(seed=0):
    """Three dense layers, and their weights from the first to the last."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(12, 9), nn.Linear(9, 7), nn.Linear(7, 2)]
    net = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(inplace=True), layers[1], nn.ReLU(), layers[2]).double()
    return net, [(n.weight.detach().numpy(), n.bias.detach().numpy()) for n in layers]


def plain(weights, x, target, start, gated):
    (one, b1), (two, b2), (three, b3) = weights
    first = one @ x + b1
    second = two @ np.maximum(first, 0) + b2
    logit = (three @ np.maximum(second, 0) + b3)[target]
    relevance = three[target] * {"one": 1, "logit": logit, "probability": 1 / (1 + np.exp(-logit))}[start]
    for weight, before in ((two, second), (one, first)):
        open_gates = before > 0 if gated else np.ones_like(before)
        relevance = weight.T @ (np.maximum(relevance, 0) * open_gates)
    return relevance, logit


@pytest.mark.parametrize("start", ["one", "logit", "probability"])
def test_maps_are_those_of_the_formula(method, start):
    net, weights = dense()
    x, target = images(8, 2), torch.arange(8) % 2
    logits = []
    for one, image, t in zip(method.explain(net, x, target, start=start), x, target, strict=True):
        expected, logit = plain(weights, image.numpy().ravel(), int(t), start, method is guided_backprop)
        np.testing.assert_allclose(one.numpy().ravel(), expected, rtol=1e-12, atol=1e-14)
        logits.append(logit)
    assert min(logits) < -0.01 and max(logits) > 0.01


def test_a_negative_logit_explains_the_opposite(method):
    net, _ = dense()
    x, last = images(8, 2), net[5]
    last.bias.data -= net(x).median(0).values.detach()
    logits = net(x)[:, 0].detach().reshape(-1, 1, 1, 1)
    assert (logits > 0).any() and (logits < 0).any()
    found, supports = method.explain(net, x, 0, start="logit"), method.explain(net, x, 0)
    last.weight.data.neg_()
    opposes = method.explain(net, x, 0)
    expected = torch.where(logits < 0, opposes, supports) * logits.abs()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_functional_relus_are_seen(method):
    class Functional(nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            for layer in self.layers:
                x = F.relu(x, inplace=True) if isinstance(layer, nn.ReLU) else layer(x)
            return x

    model, x = conv_net().double(), images(2, 16)
    assert torch.equal(method.explain(Functional(model), x), method.explain(model, x))


@pytest.mark.parametrize("net", ["resnet18", "vgg11_bn"])
def test_backbones(method, net):
    x = images(1, 64, torch.float32)
    found = method.explain(backbone(net), x)
    assert found.shape == x.shape and found.dtype == torch.float32
    assert torch.isfinite(found).all() and found.any()


def test_what_is_refused(method):
    model, x = conv_net().double(), images(1, 16)
    with pytest.raises(UsageError, match="known: one, logit, probability"):
        method.explain(model, x, start="relu")
    with pytest.raises(CbirError, match="networks of ReLUs; this one uses silu"):
        method.explain(nn.Sequential(nn.Conv2d(3, 2, 3), nn.SiLU(), nn.Flatten(), nn.Linear(392, 1)).double(), x)
    model[0].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(CbirError, match="not finite"):
        method.explain(model, x)
