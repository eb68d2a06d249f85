"""Grad-CAM against Captum and closed forms; the feature map that class activation maps take, and how it is named."""

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from modular import backbone, conv_net, dense_net, images, pairs
from torch import nn

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.saliency import grad_cam, grad_cam_plus_plus

explain = grad_cam.explain


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def captum_map(apart, layer, x, target):
    found = captum.attr.LayerGradCam(apart, layer).attribute(x, target, relu_attributions=True)
    return F.interpolate(found.detach(), x.shape[2:], mode="bilinear", align_corners=False)


def equal(found, expected):
    assert expected.max() > 1e-6
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * expected.max().item())


# --- Captum --------------------------------------------------------------------------------------------------------


def test_maps_are_those_of_captum():
    model, _, x, target = pairs()["conv"]
    for index in (8, 6, 1):  # ReLU, average pooling, ReLU
        layer = {"layer": str(index)} if index != 8 else {}  # the last map of all is the default
        equal(explain(model, x, target, **layer), captum_map(model, model[index], x, target))


def test_maps_of_a_densenet_are_those_of_captum():
    model, apart, x, target = pairs()["dense"]
    equal(explain(model, x, target), captum_map(apart, apart[1], x, target))
    for name in ("features.denseblock1", "features.transition1.norm", "features.denseblock2.denselayer1.conv1"):
        layer = apart[0].get_submodule(name.removeprefix("features."))
        equal(explain(model, x, target, layer=name), captum_map(apart, layer, x, target))


# --- closed forms --------------------------------------------------------------------------------------------------


class OneChannel(nn.Module):
    """Feature map max(0, mean of the channels); logits +- its weighted sum."""

    def __init__(self, weights):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False).double()
        self.conv.weight.data.fill_(1 / 3)
        self.weights = weights

    def forward(self, x):
        total = (F.relu(self.conv(x))[:, 0] * self.weights).sum((1, 2))
        return torch.stack([total, -total], 1)


def test_the_map_of_one_channel():
    x, weights = images(2, 4), torch.arange(16, dtype=torch.float64).reshape(4, 4)
    expected = x.mean(1, keepdim=True).clamp(min=0) * 7.5  # the mean weight; already at the size of the input
    torch.testing.assert_close(explain(OneChannel(weights), x, 0), expected, rtol=1e-12, atol=1e-15)
    assert not explain(OneChannel(weights), x, 1).any()  # nothing speaks for that output


def test_the_map_is_enlarged_between_the_centres_of_its_positions():
    class Halves(nn.Module):
        def forward(self, x):
            return F.avg_pool2d(x[:, :1], 2).sum((1, 2, 3))[:, None]

    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    x[..., 2:] = 1
    # Positions of the map have their centres at 1 and 3; beyond them it is flat.
    expected = torch.tensor([0, 0.25, 0.75, 1], dtype=torch.float64).expand(1, 1, 4, 4)
    torch.testing.assert_close(explain(Halves(), x), expected, rtol=1e-12, atol=1e-15)


# --- the feature map -----------------------------------------------------------------------------------------------


def conv_and(head):
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), *head).double().eval()


class NormLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class KerasFlatten(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class Attention(nn.Module):
    def forward(self, x):
        words = x.flatten(2).transpose(1, 2).reshape(len(x), 2, 2, -1).softmax(-1)  # (N, heads, words, width)
        return words.sum((1, 2))


@pytest.mark.parametrize(
    "head",
    [
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)],
        [nn.AvgPool2d(8), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4, 1)],  # maps of one position
        [nn.AdaptiveAvgPool2d(1), NormLast(), nn.Flatten(), nn.Linear(4, 1)],  # 1 x 1 x 4 in between
        [KerasFlatten(), nn.ReLU(inplace=True), nn.Linear(256, 1)],
        [Attention(), nn.Linear(64, 1)],
    ],
    ids=["pool", "position", "norm", "permuted", "heads"],
)
@pytest.mark.parametrize("method", [grad_cam, grad_cam_plus_plus])
def test_the_last_map_is_found_whatever_the_head(method, head):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = conv_and(head)
        for layer in head:  # made before the seed was set
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.reset_parameters()
                layer.weight.data.abs_()  # so that something speaks for the output
    x = images(2, 8)
    named = method.explain(model, x, layer="1")
    assert named.any()
    torch.testing.assert_close(method.explain(model, x), named, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("net", "layer"), [("resnet18", "layer4"), ("vgg11_bn", "avgpool")])
@pytest.mark.parametrize("method", [grad_cam, grad_cam_plus_plus])
def test_backbones(method, net, layer):
    model, x = backbone(net), images(2, 64, torch.float32)
    found = method.explain(model, x)
    assert found.shape == (2, 1, 64, 64) and found.dtype == torch.float32
    assert torch.isfinite(found).all() and found.min() >= 0 and found.any()
    torch.testing.assert_close(found, method.explain(model, x, layer=layer), rtol=1e-5, atol=1e-6 * found.max().item())


def test_a_convolution_gives_a_map_whatever_it_is_fed_with():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = conv_and([NormLast(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(144, 1)])
    x = images(2, 8)
    named = explain(model, x, layer="3")
    assert named.any() and torch.equal(explain(model, x), named)


def test_of_a_layer_that_runs_twice_the_last_output_counts():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = conv_and([nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1)])
    x = images(2, 8)
    expected = explain(model, x, layer="3")
    model[3] = model[1]
    assert expected.any() and torch.equal(explain(model, x, layer="1"), expected)


def test_a_layer_is_what_it_gives_though_the_network_goes_on_in_place():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        inplace = conv_and([nn.Flatten(), nn.Linear(256, 1)])
    apart = nn.Sequential(inplace[0], nn.ReLU(), *inplace[2:])
    x = images(2, 8)
    expected = captum_map(apart, apart[0], x, 0)
    torch.testing.assert_close(explain(inplace, x, layer="0"), expected, rtol=1e-12, atol=1e-15)
    assert not torch.equal(expected, explain(inplace, x, layer="1"))


def test_recomputed_activations_give_the_same_map():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        saving = dense_net()[0]
    plain, x = dense_net()[0], images(2, 64).float()
    for module in saving.modules():
        if hasattr(module, "memory_efficient"):
            module.memory_efficient = True
    for layer in ("", "features.denseblock1", "features.denseblock2.denselayer1.conv1"):
        torch.testing.assert_close(explain(saving, x, 0, layer=layer), explain(plain, x, 0, layer=layer))


# --- what is refused -----------------------------------------------------------------------------------------------


class Aside(nn.Module):
    """Has a layer that the answer does not depend on, one that does not run, and one that knows no image."""

    def __init__(self):
        super().__init__()
        self.body, self.aside, self.idle = conv_net(), nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)
        self.place = nn.Identity()

    def forward(self, x):
        self.aside(x)
        return self.body(x + self.place(torch.ones(1, 3, 16, 16)))


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("body.88", UsageError, r"unknown layer of grad-cam 'body.88': did you mean body.8\?"),
        ("head", UsageError, "unknown layer of grad-cam 'head': known: body, aside, idle, place$"),
        ("aside", UsageError, "does not depend on its layer aside"),
        ("place", UsageError, "does not depend on its layer place"),
        ("idle", UsageError, "does not depend on its layer idle"),
        ("body.9", ShapeError, r"expected layer body.9 to give a map .*, found \(2, 80\)"),
    ],
)
def test_layers_that_are_no_feature_map(layer, error, message):
    model, x = Aside(), images(2, 16).float()
    with pytest.raises(error, match=message) as caught:
        explain(model, x, layer=layer)
    assert "\n" not in str(caught.value)
    assert all(not module._forward_hooks for module in model.modules())


def test_a_name_is_checked_without_images():
    with pytest.raises(UsageError, match="unknown layer"):
        explain(conv_net(), torch.zeros(0, 3, 16, 16), layer="x")


def test_a_layer_of_one_position_is_refused():
    model, x = dense_net()[0], images(2, 8).float()
    with pytest.raises(ShapeError, match=r"features.denseblock2 to give a map .* found \(2, \d+, 1, 1\)"):
        explain(model, x, layer="features.denseblock2")


def test_a_network_without_feature_maps_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).double()
    with pytest.raises(CbirError, match="has no feature map of more than one position"):
        explain(model, images(2, 4))


def test_a_map_that_is_not_finite_is_an_error():
    model, x = conv_net(), images(2, 16).float()
    x[0, 0, 3, 3] = torch.nan
    with pytest.raises(CbirError, match="grad-cam: a value is not finite"):
        explain(model, x)
    model[-1].bias.data[1] = torch.nan
    with pytest.raises(CbirError, match="grad-cam: a value is not finite"):
        explain(model, x[1:], 1)
