"""The retrieval network as torch tensors: vectors of ``encode``, feature maps, and the parts of a vector."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from cbir_cli import registry
from cbir_cli.artifacts import model as models
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec
from cbir_cli.maps import as_pixels
from cbir_cli.models import _weights
from cbir_cli.opened import Opened
from cbir_cli.stages.encoding import Settings
from cbir_cli.stages.networks import Network
from cbir_cli.stages.ssim import Ssim

HERE = Settings(device="cpu", threads=1)


def model(architecture, outputs, *, vector=False, size=32, seed=1, saliency=None):
    """A model artifact with fresh weights, batch norms off their start."""
    kind = registry.load("models", architecture)
    draws = np.random.default_rng(seed)
    weights = {n: t.numpy() for n, t in _weights.fresh(architecture, outputs, seed=seed).state_dict().items()}
    for name, value in weights.items():
        if name.endswith(("running_mean", "bias")):
            weights[name] = value + draws.normal(0, 0.1, value.shape).astype(np.float32)
    return models.Model(
        architecture=architecture,
        weights=weights,
        outputs=[] if vector else [f"label {i}" for i in range(outputs)],
        task={},
        objective="triplet" if vector else "binary",
        feature_layer=f"{kind.HEAD}.{'output' if vector else 'input'}",
        feature_width=(outputs or kind.FEATURES) if vector else kind.FEATURES,
        input=InputSpec(size=size),
        saliency=saliency,
        name="made.h5",
    )


def pixels(count=3, size=32, colour=False):
    shape = (count, size, size, 3) if colour else (count, size, size)
    return np.random.default_rng(5).random(shape, np.float32)


CASES = [
    ("densenet-tiny", 2, False),
    ("densenet-tiny", 24, True),
    ("resnet-tiny", 2, False),
    ("resnet-tiny", 0, True),
    ("mldam-tiny", 2, False),
    ("mldam-tiny", 5, True),
    ("torchvision.mobilenet-v3-small", 3, False),  # pools in every block, for squeeze and excitation
    ("torchvision.shufflenet-v2-x0-5", 4, True),  # pools by a mean
]


@pytest.mark.parametrize(("architecture", "outputs", "vector"), CASES)
def test_vectors_are_those_of_encode_and_hang_on_the_maps(architecture, outputs, vector):
    size = 64
    network = Network(model(architecture, outputs, vector=vector, size=size), HERE)
    given = pixels(2, size)
    opened = network.opened()
    inputs = opened.inputs(given)
    np.testing.assert_array_equal(inputs.numpy(), network.input.prepare(given))
    maps, vectors = opened.features(inputs)
    np.testing.assert_allclose(vectors.detach().numpy(), network.encode(given), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(opened.module(inputs).detach().numpy(), vectors.detach().numpy(), rtol=1e-6)
    assert maps.ndim == 4 and maps.shape[0] == 2 and maps.shape[2] == maps.shape[3] > 1
    (gradient,) = torch.autograd.grad(vectors.sum(), maps)
    assert gradient.abs().amax(dim=(1, 2, 3)).min() > 0
    assert opened is network.opened()  # made once


def test_a_graph_down_to_the_inputs_where_they_want_a_gradient():
    opened = Network(model("torchvision.mobilenet-v3-small", 2, size=64), HERE).opened()
    inputs = opened.inputs(pixels(1, 64))
    assert opened.features(inputs)[0].is_leaf  # cheap: no graph below the last feature map
    maps, vectors = opened.features(inputs.requires_grad_())
    (truth,) = torch.autograd.grad(opened.module(inputs).sum(), inputs)
    (gradient,) = torch.autograd.grad(vectors.sum(), inputs)
    torch.testing.assert_close(gradient, truth)
    assert not maps.is_leaf and all(not p.requires_grad for p in opened.module.parameters())


@pytest.mark.parametrize(("architecture", "outputs", "vector"), CASES[:4])
def test_the_maps_are_what_is_averaged(architecture, outputs, vector):
    """Averaged, and multiplied by the last layer where the vector comes after it, they are the vector."""
    made = model(architecture, outputs, vector=vector, size=48)
    opened = Network(made, HERE).opened()
    inputs = opened.inputs(pixels(2, 48))
    maps, vectors = (t.detach().numpy().astype(np.float64) for t in opened.features(inputs))
    head = registry.load("models", architecture).HEAD
    weight, bias = (made.weights.get(f"{head}.{name}") for name in ("weight", "bias"))
    linear = vector and outputs
    places = np.einsum("dc,nchw->ndhw", weight, maps) + bias[:, None, None] if linear else maps
    np.testing.assert_allclose(places.mean(axis=(2, 3)), vectors, rtol=1e-5, atol=1e-5)
    parts, same = (t.numpy() for t in opened.parts(inputs))
    np.testing.assert_allclose(parts, places / places[0, 0].size, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts.sum(axis=(2, 3)), same, rtol=1e-5, atol=1e-5)


def test_parts_through_two_linear_layers():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4), nn.Dropout(), nn.Linear(4, 6)
    )
    opened = Opened(net, lambda p: np.repeat(p[:, None], 3, 1), name="two")
    parts, vectors = opened.parts(opened.inputs(pixels(2, 8)))
    assert parts.shape == (2, 6, 6, 6)
    torch.testing.assert_close(parts.sum(dim=(2, 3)), vectors)


@pytest.mark.parametrize(
    ("name", "size", "what", "words"),
    [
        ("mldam-tiny", 64, "parts", "an average over a grid of 2 x 2"),
        ("torchvision.mobilenet-v3-small", 64, "parts", "hardswish"),
        ("densenet-tiny", 12, "features", "at 12 px the last feature map of densenet-tiny has a single position"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused_in_a_line(name, size, what, words):
    opened = Network(model(name, 2, size=size), HERE).opened()
    with pytest.raises(UsageError, match=words) as refused:
        getattr(opened, what)(opened.inputs(pixels(1, size)), method="mine")
    assert str(refused.value).startswith("mine: ") and name in str(refused.value)


def test_maximum_pooling_is_no_sum_and_no_pooling_is_no_map():
    for net, words in (
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten()), "adaptive_max_pool2d"),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()), "no feature map that its vector is pooled from"),
    ):
        opened = Opened(net, lambda p: np.repeat(p[:, None], 3, 1), name="net")
        with pytest.raises(UsageError, match=words):
            opened.parts(opened.inputs(pixels(1, 8)))


def test_a_vision_transformer_is_refused_and_a_shifted_window_one_is_not():
    from torchvision.models import SwinTransformer, VisionTransformer

    torch.manual_seed(0)
    transformer = VisionTransformer(16, 8, 1, 2, 8, 8, num_classes=2)
    windows = SwinTransformer([4, 4], 8, [1, 1], [2, 2], [2, 2], num_classes=2)
    for net, refused in ((transformer, True), (windows, False)):
        opened = Opened(net, lambda p: np.repeat(p[:, None], 3, 1), name="net")
        if refused:
            with pytest.raises(UsageError, match="no feature map"):
                opened.features(opened.inputs(pixels(1, 16)))
        else:
            assert opened.features(opened.inputs(pixels(1, 16)))[0].shape == (1, 16, 2, 2)


def test_an_ig_model_is_fed_its_maps():
    first = model("densenet-tiny", 1)
    stage = models.Saliency(first, "deep-taylor", {}, "sum-repeat")
    network = Network(model("resnet-tiny", 1, seed=2, saliency=stage), HERE)
    given = pixels(2)
    maps = Network(first, HERE)._mapper(given)[0]
    opened = network.opened()
    np.testing.assert_array_equal(opened.inputs(given).numpy(), network.input.prepare(as_pixels(maps)))
    vectors = opened.features(opened.inputs(given))[1]
    np.testing.assert_allclose(vectors.detach().numpy(), network.encode(given), rtol=1e-4, atol=1e-5)


def test_work_is_spread_over_threads_in_order_on_one_thread_of_torch_each():
    before = torch.get_num_threads()
    opened = Opened(nn.Identity(), lambda p: p, name="none", threads=3)
    torch.set_num_threads(2)
    try:
        found = opened.spread(lambda i: (i, torch.get_num_threads()), 7)
        assert found == [(i, 1) for i in range(7)] and torch.get_num_threads() == 2
        assert opened.spread(lambda i: i, 0) == []
        with pytest.raises(ZeroDivisionError):
            opened.spread(lambda i: 1 // i, 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    meeting = threading.Barrier(3, timeout=20)  # passed only where three work at the same time
    opened.spread(lambda i: meeting.wait(), 3)


def test_ssim_has_nothing_to_open():
    with pytest.raises(UsageError, match="ssim has no network"):
        Ssim(InputSpec(size=16)).opened()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_is_the_same_network():
    made, given = model("densenet-tiny", 2), pixels()
    there = Network(made, Settings(device="cuda")).opened()
    here = Network(made, HERE).opened()
    assert there.inputs(given).is_cuda
    found = [opened.parts(opened.inputs(given))[0].cpu().numpy() for opened in (there, here)]
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-5)
