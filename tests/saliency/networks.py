"""Torch twins of the networks in ``tests/fixtures/innvestigate``, with the weights stored there."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models import DenseNet

FIXTURES = Path(__file__).parent.parent / "fixtures" / "innvestigate"
FILES = {"a": "net_a_conv_relu_pool_dense", "b": "net_b_conv_bn_relu", "c": "net_c_mini_densenet", "d": "suite_d"}


class FlattenAsKeras(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class Conv(nn.Conv2d):
    """A convolution that pads by itself, as in torch, or after a layer that pads, as in Keras."""

    apart = False

    def _conv_forward(self, x, weight, bias):
        if not self.apart:
            return super()._conv_forward(x, weight, bias)
        padded = nn.functional.pad(x, [self.padding[0]] * 4)
        return nn.functional.conv2d(padded, weight, bias, self.stride)


def net_a(inplace):
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 3, padding=1),
            relu1=nn.ReLU(inplace),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(8, 12, 3, padding=1),
            relu2=nn.ReLU(inplace),
            pool2=nn.AvgPool2d(2),
            conv3=nn.Conv2d(12, 8, 3),
            relu3=nn.ReLU(inplace),
            flatten=FlattenAsKeras(),
            fc1=nn.Linear(32, 16),
            relu4=nn.ReLU(inplace),
            fc2=nn.Linear(16, 1),
        )
    )


def net_b(inplace):
    layers = OrderedDict()
    for i, (before, after, stride) in enumerate([(3, 8, 1), (8, 12, 2), (12, 16, 2)], 1):
        layers[f"conv{i}"] = Conv(before, after, 3, stride=stride, padding=1, bias=i == 2)
        layers[f"bn{i}"] = nn.BatchNorm2d(after)
        layers[f"relu{i}"] = nn.ReLU(inplace)
    return nn.Sequential(layers | OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(16, 1)))


def net_c(inplace):
    return DenseNet(growth_rate=4, block_config=(3, 3), num_init_features=8, num_classes=1)


class DenseLayer(nn.Module):
    def __init__(self, channels, inplace):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), Conv(channels, 8, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(8), Conv(8, 4, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace)

    def forward(self, x):
        new = self.conv1(self.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu(self.norm2(new)))], 1)


class Residual(nn.Module):
    def __init__(self, inplace):
        super().__init__()
        self.conv1, self.norm1 = Conv(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = Conv(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace)

    def forward(self, x):
        new = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        new += x
        return self.relu(new)


class NetD(nn.Module):
    """A dense block, a transition with average pooling, a residual block; two outputs."""

    def __init__(self, inplace):
        super().__init__()
        self.conv0, self.norm0 = Conv(3, 8, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(8)
        self.dense1, self.dense2 = DenseLayer(8, inplace), DenseLayer(12, inplace)
        self.transition = nn.Sequential(
            OrderedDict(
                norm=nn.BatchNorm2d(16),
                relu=nn.ReLU(inplace),
                conv=Conv(16, 8, 1, bias=False),
                pool=nn.AvgPool2d(2),
            )
        )
        self.residual = Residual(inplace)
        self.norm, self.relu, self.fc = nn.BatchNorm2d(8), nn.ReLU(inplace), nn.Linear(8, 2)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.relu(self.norm0(self.conv0(x))), 3, stride=2, padding=1)
        x = self.residual(self.transition(self.dense2(self.dense1(x))))
        return self.fc(self.relu(self.norm(x)).mean((2, 3)))


def load(name, *, inplace=False, padding_apart=False, dtype=torch.float32):
    """Return a network with its stored weights, the images, and the logits that Keras gave."""
    with np.load(FIXTURES / f"{FILES[name]}.npz") as file:
        stored = dict(file)
    model = {"a": net_a, "b": net_b, "c": net_c, "d": NetD}[name](inplace)
    weights = {k[2:]: torch.from_numpy(v) for k, v in stored.items() if k.startswith("w:")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(k.endswith("num_batches_tracked") for k in missing)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1.001e-5  # Keras' default
        if isinstance(module, Conv):
            module.apart = padding_apart
    x = torch.from_numpy(stored["x_nhwc"].transpose(0, 3, 1, 2).copy()).to(dtype)
    return model.to(dtype).eval(), x, stored["logits_keras"]


def suite(name):
    """Return the maps of iNNvestigate's analyzers, (N, H, W, C), and which images they are of."""
    with np.load(FIXTURES / f"suite_{name}.npz") as file:
        maps = {k: v for k, v in file.items() if not k.startswith("w:") and v.ndim == 4 and k != "x_nhwc"}
        return maps, file["images"] if "images" in file else np.arange(len(file["x_nhwc"]))
