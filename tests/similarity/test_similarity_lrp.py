"""Relevance of a similarity: what it adds up to, and BiLRP summed over the other image, output by output."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cbir_cli import propagation_rules
from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.opened import Opened
from cbir_cli.propagation_rules import Layer
from cbir_cli.saliency import lrp as of_outputs
from cbir_cli.similarity import lrp

SIZE = 12


class Small:
    """A network as an encoder, fed three copies of a grey image, shifted to both signs."""

    def __init__(self, net, similarity="l2"):
        self.net, self.similarity, self.size = net.eval().double(), similarity, SIZE

    def prepare(self, pixels):
        return np.repeat(pixels[:, None].astype(np.float64), 3, axis=1) - 0.4

    def opened(self):
        return Opened(self.net, self.prepare, name="small", threads=2)

    def encode(self, images):
        with torch.no_grad():
            return self.net(torch.from_numpy(self.prepare(images))).numpy()


class Block(nn.Module):
    """A residual block, and a concatenation after it."""

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(channels)  # multiplies, and adds nothing
        self.norm.weight.data.uniform_(0.5, 2)
        self.norm.running_var.uniform_(0.2, 3)

    def forward(self, x):
        y = self.norm(self.conv2(F.relu(self.conv1(x))))
        return torch.cat([F.relu(x + y), x], 1)


def plain(seed=0, *, norm=True):
    """Convolutions, a residual block, poolings, an average and a linear layer; no bias anywhere."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2)]
    if norm:
        layers += [Block(6), nn.Conv2d(12, 6, 1, bias=False), nn.AvgPool2d(2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4, bias=False))


def images(count=3, seed=1):
    return np.random.default_rng(seed).random((count, SIZE, SIZE), dtype=np.float32)


@pytest.mark.parametrize("rule", lrp.RULES)
@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_relevance_is_conserved_without_biases(rule, similarity):
    encoder, given = Small(plain(), similarity), images()
    found = lrp.explain(encoder, given[[0, 0, 2]], given[[1, 2, 2]], rule=rule)
    vectors = encoder.encode(given)
    for number, (q, r) in enumerate([(0, 1), (0, 2), (2, 2)]):
        one, other = vectors[q], vectors[r]
        if similarity == "cosine":
            truth = [one @ other / np.linalg.norm(one) / np.linalg.norm(other)] * 2
        else:  # how much nearer than nothing
            truth = [v @ v - np.square(one - other).sum() for v in (other, one)]
        sums = [maps[number].sum(dtype=np.float64) for maps in found]
        np.testing.assert_allclose(sums, truth, rtol=1e-4)


def test_what_biases_take_is_all_that_is_lost():
    """By the epsilon rule a bias has its part of a sum; with one on the last layer, the rest is counted by hand."""
    net = plain(norm=False)
    net[-1] = nn.Linear(6, 4)
    encoder, (query, result) = Small(net, "cosine"), images(2)
    maps = lrp.explain(encoder, query[None], result[None], rule="epsilon")[1]
    one, other = encoder.encode(np.stack([query, result]))
    kept = 1 - net[-1].bias.detach().numpy() / other
    truth = (one * other * kept).sum() / np.linalg.norm(one) / np.linalg.norm(other)
    np.testing.assert_allclose(maps.sum(dtype=np.float64), truth, rtol=1e-5)


@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_linear_network_has_its_closed_form(similarity):
    """Input times the weights that lead to the other's vector."""
    torch.manual_seed(2)
    linear = nn.Linear(3 * SIZE**2, 5, bias=False)
    encoder, given = Small(nn.Sequential(nn.Flatten(), linear), similarity), images(2)
    found = lrp.explain(encoder, given[:1], given[1:], rule="epsilon")
    weight = linear.weight.detach().numpy()
    vectors = encoder.encode(given)
    lengths = np.prod(np.linalg.norm(vectors, axis=1))
    for maps, image, own, other in zip(found, given, vectors, vectors[::-1], strict=True):
        towards = 2 * other - own if similarity == "l2" else other / lengths
        truth = encoder.prepare(image[None])[0] * (towards @ weight).reshape(3, SIZE, SIZE)
        np.testing.assert_allclose(maps[0], truth.sum(0), rtol=1e-4, atol=1e-6)


def test_it_is_bilrp_summed_over_the_other_image():
    """``sum_k LRP_k(x) LRP_k(x')``, k by k, as LRP of each output gives it."""
    encoder, given = Small(plain(norm=False), "cosine"), images(2)
    tensors = torch.from_numpy(encoder.prepare(given))
    pairs = np.zeros((SIZE**2, SIZE**2))
    for k in range(4):
        one, other = of_outputs.epsilon(encoder.net, tensors, k).sum(1).flatten(1).numpy()
        pairs += np.outer(one, other)
    pairs /= np.prod(np.linalg.norm(encoder.encode(given), axis=1))
    found = lrp.explain(encoder, given[:1], given[1:], rule="epsilon")
    np.testing.assert_allclose(found[0][0].ravel(), pairs.sum(1), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found[1][0].ravel(), pairs.sum(0), rtol=1e-4, atol=1e-7)


def test_z_plus_written_out():
    """Two convolutions without overlap, as matrices: what is positive shares, and the last layer by sign."""
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 4, 4, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False)
    )
    encoder, given = Small(net, "l2"), images(2)
    kernels, last = (net[i].weight.detach().numpy() for i in (0, 4))
    vectors = encoder.encode(given)
    found = lrp.explain(encoder, given[:1], given[1:])
    for maps, image, own, other in zip(found, given, vectors, vectors[::-1], strict=True):
        prepared = encoder.prepare(image[None])[0]
        relevance, truth = own * (2 * other - own), np.zeros_like(prepared)
        cells = {(y, x): prepared[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] for y in range(3) for x in range(3)}
        hidden = {at: np.maximum([(kernel * cell).sum() for kernel in kernels], 0) for at, cell in cells.items()}
        mean = sum(hidden.values()) / 9
        for c, kernel in enumerate(kernels):
            of_mean = sum(mean[c] * last[d, c] / own[d] * relevance[d] for d in range(3))
            for (y, x), cell in cells.items():
                if not hidden[y, x][c]:
                    continue
                of_cell = of_mean * hidden[y, x][c] / 9 / mean[c]
                shares = np.maximum(kernel, 0) * np.maximum(cell, 0) + np.minimum(kernel, 0) * np.minimum(cell, 0)
                truth[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] += of_cell * shares / shares.sum()
        np.testing.assert_allclose(maps[0], truth.sum(0), rtol=1e-4, atol=1e-7)


def test_sums_and_averages_share_by_what_is_positive():
    one, other = torch.tensor([3.0, 3.0, -1.0, -2.0, 0.0]), torch.tensor([1.0, -2.0, 4.0, -1.0, 0.0])
    relevance = torch.tensor([8.0, 5.0, -6.0, 2.0, 1.0])
    first, second = propagation_rules.positive_add(one, other, relevance)
    torch.testing.assert_close(first, torch.tensor([6.0, 5.0, 0.0, 1.0, 0.5]))
    torch.testing.assert_close(second, torch.tensor([2.0, 0.0, -6.0, 1.0, 0.5]))

    layer = Layer(lambda x, weight, bias: F.avg_pool1d(x, 2), None, None, "average")
    relevance = torch.tensor([[[4.0, -6.0]]])
    for inputs, truth in (
        ([3.0, 1.0, 0.0, 2.0], [3.0, 1.0, 0.0, -6.0]),  # in proportion
        ([3.0, 1.0, -2.0, 2.0], [2.0, 2.0, -3.0, -3.0]),  # alike: a sum may be near zero
    ):
        found = propagation_rules.positive_average(layer, torch.tensor([[inputs]]), relevance)
        torch.testing.assert_close(found, torch.tensor([[truth]]))


def test_positive_makes_alike_and_negative_sets_apart():
    """Vectors are means of the left and of the right half: too much on the right, and the distance grows by it."""

    class Halves(nn.Module):
        def forward(self, x):
            return F.adaptive_avg_pool2d(x[:, :1], (1, 2)).flatten(1)

    encoder = Small(Halves())
    encoder.prepare = lambda pixels: np.repeat(pixels[:, None], 3, axis=1)
    query = np.full((SIZE, SIZE), 0.3, np.float32)
    result = query.copy()
    result[:, SIZE // 2 :] = 0.9
    of_query, of_result = (maps[0] for maps in lrp.explain(encoder, query[None], result[None]))
    assert (of_result[:, : SIZE // 2] > 0).all() and (of_result[:, SIZE // 2 :] < 0).all()
    assert (of_query > 0).all()
    # Taking the half away brings the result nearer, and by just as much.
    without = result.copy()
    without[:, SIZE // 2 :] = 0
    before, after = (np.square(np.subtract(*encoder.encode(np.stack([query, r])))).sum() for r in (result, without))
    np.testing.assert_allclose(of_result[:, SIZE // 2 :].sum(), after - before, rtol=1e-5)


def test_one_forward_pass_an_image_for_all_its_pairs():
    net, given = plain(), images()
    passes = []
    net.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    lrp.explain(Small(net), given[[0, 0, 0, 2]], given[[1, 2, 0, 1]])
    assert sorted(passes) == [False] * 3 + [True] * 3


def test_the_network_is_left_as_it_was():
    encoder, given = Small(plain()), images(2)
    before = {name: value.clone() for name, value in encoder.net.state_dict().items()}
    lrp.explain(encoder, given[:1], given[1:])
    assert all(torch.equal(value, before[name]) for name, value in encoder.net.state_dict().items())


def test_refusals():
    given = images(2)
    with pytest.raises(UsageError, match="rule of lrp"):
        lrp.explain(Small(plain()), given[:1], given[1:], rule="gamma")
    with pytest.raises(UsageError, match="ssim"):
        lrp.explain(Small(plain(), "ssim"), given[:1], given[1:])
    with pytest.raises(ShapeError):
        lrp.explain(Small(plain()), given[:1], given)
    smooth = nn.Sequential(nn.Conv2d(3, 2, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(CbirError, match="lrp of small: is defined for networks of ReLUs; this one uses silu"):
        lrp.explain(Small(smooth), given[:1], given[1:])
    broken = plain()
    broken[0].weight.data[0] = np.nan
    with pytest.raises(CbirError, match="not finite"):
        lrp.explain(Small(broken), given[:1], given[1:])
