"""Grad-CAM++ against the authors' formula written out, with exp(S) and its derivatives."""

import numpy as np
import pytest
import torch
from modular import conv_net, images
from torch import nn

from cbir_cli.saliency.grad_cam_plus_plus import explain


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Network(nn.Module):
    """A feature map as large as the image, so that nothing is enlarged, and a hidden layer of ReLUs."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.body = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(180, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x):
        return self.head(self.body(x))


def plain(model, image, target):
    """Equations 10 to 19, channel by channel, with Y = exp(S); as the authors divide, by the map's maximum."""
    with torch.no_grad():
        feature = model.body(image)
        hidden = model.head[1](feature.flatten(1))
        score = float(model.head(feature)[0, target])
    first, last = model.head[1].weight.detach().numpy(), model.head[3].weight.detach().numpy()
    gradient = ((last[target] * (hidden[0].numpy() > 0)) @ first).reshape(5, 6, 6)  # of S
    total = np.zeros((6, 6))
    for a, g in zip(feature[0].numpy(), gradient, strict=True):
        y1, y2, y3 = (np.exp(score) * g**n for n in (1, 2, 3))  # derivatives of Y
        alpha = y2 / (2 * y2 + a.sum() * y3)
        total += (alpha * np.maximum(y1, 0)).sum() * a
    cam = np.maximum(total, 0)
    return cam / cam.max()


@pytest.mark.parametrize("layer", ["", "body.1", "body"])
def test_maps_are_those_of_the_formula(layer):
    model, x = Network().double(), images(4, 6)
    found = explain(model, x, torch.tensor([0, 1, 1, 0]), layer=layer)
    assert found.shape == (4, 1, 6, 6)
    for one, image, target in zip(found, x, [0, 1, 1, 0], strict=True):
        np.testing.assert_allclose((one / one.max())[0].numpy(), plain(model, image[None], target), rtol=1e-10)


def test_a_map_of_ones_and_one_gradient():
    class Sum(nn.Module):
        def forward(self, x):
            return 3 * torch.relu(x).sum((1, 2, 3))[:, None]

    # 2 channels of 4 positions of 1: alpha is 1 / (2 + 3 * 4), and each of 4 positions adds alpha * 3.
    found = explain(Sum(), torch.ones(1, 2, 2, 2, dtype=torch.float64))
    torch.testing.assert_close(found, torch.full((1, 1, 2, 2), 2 * 4 * 3 / 14, dtype=torch.float64))


def test_an_alpha_without_a_finite_value():
    class Sum(nn.Module):
        def forward(self, x):
            return nn.functional.avg_pool2d(x, 1).sum((1, 2, 3))[:, None]

    # Without a ReLU the feature map's sum may be -2, and the denominator 0; it is taken for 1.
    x = torch.tensor([[1.0, -1.0], [-1.0, -1.0]]).reshape(1, 1, 2, 2)
    assert explain(Sum(), x).flatten().tolist() == [4, 0, 0, 0]


def test_gradients_too_small_for_their_third_power_in_float32():
    model, x = conv_net(), images(2, 16).float()
    expected = explain(model, x, 1)
    assert expected.any()
    model[-1].weight.data *= 1e-14  # alpha tends to 1/2
    small = explain(model.double(), x.double(), 1)
    found = explain(model.float(), x, 1)
    assert small.max() > 1e-18
    torch.testing.assert_close(found.double(), small, rtol=1e-4, atol=1e-5 * small.max().item())
