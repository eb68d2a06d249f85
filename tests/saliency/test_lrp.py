"""LRP in closed form on single layers, and what holds for any network; ``test_innvestigate`` has whole networks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18, vgg11_bn

from cbir_cli import registry
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.saliency import lrp

RULES = sorted(name for name in registry.names("saliency") if name.startswith("lrp."))


def explain(name, *args, **options):
    return registry.load("saliency", name).explain(*args, **options)


def images(count, size, seed=0, dtype=torch.float64):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Flat(nn.Module):
    """One linear layer over 1 x 1 pixels."""

    def __init__(self, weight, bias):
        super().__init__()
        self.fc = nn.Linear(len(weight), 1, bias=bool(bias)).double()
        self.fc.weight.data[0] = torch.tensor(weight)
        if bias:
            self.fc.bias.data.fill_(bias)

    def forward(self, x):
        return self.fc(x.flatten(1))


def test_there_are_eight():
    assert len(RULES) == 8


@pytest.mark.parametrize("bias", [0.0, 0.7, -0.4])
def test_single_layer_in_closed_form(bias):
    weight, values = np.array([2.0, -1.0, 0.5, 3.0]), np.array([1.0, 2.0, -3.0, 2.5])
    model, x = Flat(weight, bias), torch.from_numpy(values).reshape(1, 4, 1, 1)
    terms = weight * values
    logit, positive, negative = terms.sum() + bias, terms.clip(min=0), terms.clip(max=0)
    expected = {
        "lrp.z": terms,
        "lrp.epsilon": terms * logit / (logit + np.sign(logit) * 1e-7),
        "lrp.w-square": weight**2 / (weight**2).sum() * logit,
        "lrp.flat": np.full(4, logit / 4),
        "lrp.alpha-1-beta-0": positive / (positive.sum() + bias) * logit,
        "lrp.alpha-2-beta-1": (2 * positive / (positive.sum() + bias) - negative / (negative.sum() + bias)) * logit,
        "lrp.sequential-preset-a": terms * logit / (logit + np.sign(logit) * 0.1),
        "lrp.sequential-preset-b": terms * logit / (logit + np.sign(logit) * 0.1),
    }
    assert set(expected) == set(RULES)
    for name, relevance in expected.items():
        np.testing.assert_allclose(explain(name, model, x).flatten(), relevance, rtol=1e-12, err_msg=name)


class Homogeneous(nn.Module):
    """No biases: convolutions, a residual block, both kinds of pooling, functions instead of modules."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, bias=False), nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.fc = nn.Linear(6, 2, bias=False)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.avg_pool2d((x + self.conv2(x)).relu(), 2)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.fixture
def homogeneous():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Homogeneous().double()


def test_z_is_input_times_gradient_where_there_is_no_bias(homogeneous):
    x = images(3, 14).requires_grad_()
    homogeneous(x).amax(1).sum().backward()
    torch.testing.assert_close(lrp.z(homogeneous, x.detach()), x.detach() * x.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in RULES if "preset" not in n])
@pytest.mark.parametrize("start", ["logit", "one", "probability"])
def test_relevance_is_conserved_without_bias(homogeneous, name, start):
    x = images(4, 14, 1)
    logits = homogeneous(x).detach().amax(1)
    expected = {"logit": logits, "one": torch.ones_like(logits), "probability": logits.sigmoid()}[start]
    # The beta part conserves only where every unit has inputs that speak against it; here each has.
    torch.testing.assert_close(
        explain(name, homogeneous, x, start=start).sum((1, 2, 3)), expected, rtol=1e-5, atol=1e-8
    )


def test_batch_norm_by_the_z_rule():
    norm = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()).double().eval()
    with torch.random.fork_rng():
        torch.manual_seed(2)
        for tensor in (norm[0].weight.data, norm[0].bias.data, norm[0].running_mean):
            tensor.normal_()
        norm[0].running_var.uniform_(0.5, 2)
    x = images(2, 1, 2)
    k = norm[0].weight / torch.sqrt(norm[0].running_var + norm[0].eps)
    y = norm(x).detach()
    chosen = y.argmax(1)
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for i, c in enumerate(chosen):  # the share of k x in the output k x + b, times the output
        expected[i, c] = (k[c] * x[i, c, 0, 0]).detach()
    torch.testing.assert_close(lrp.z(norm, x).flatten(1), expected)


def test_a_sum_is_shared_in_proportion():
    class Sum(nn.Module):
        def forward(self, x):
            return (x[:, :1] * 2 + x[:, 1:2] / -4).flatten(1)[:, :1]

    x = images(1, 1, 3)
    first, second = 2 * x[0, 0, 0, 0], x[0, 1, 0, 0] / -4
    found = lrp.z(Sum(), x, start="one")[0, :, 0, 0]
    torch.testing.assert_close(found, torch.stack([first, second, torch.zeros_like(first)]) / (first + second))


@pytest.mark.parametrize("change", [lambda x: 2 / x, lambda x: torch.div(2, x)], ids=["operator", "function"])
def test_a_constant_over_the_images_is_no_product(change):
    class Over(nn.Module):
        def forward(self, x):
            return change(x).flatten(1)

    with pytest.raises(CbirError, match="networks of ReLUs"):
        lrp.z(Over(), images(1, 1, 3))


@pytest.mark.parametrize("build", [resnet18, vgg11_bn], ids=["resnet18", "vgg11_bn"])
@pytest.mark.parametrize("name", ["deep-taylor", *RULES])
def test_networks_of_torchvision(build, name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(num_classes=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = explain(name, model, images(1, 40, dtype=torch.float32))
    assert found.shape == (1, 3, 40, 40) and found.any()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training


class Does(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


ACTIVATIONS = [
    nn.CELU(), nn.ELU(), nn.GELU(), nn.GLU(1), nn.Hardshrink(), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardtanh(),
    nn.LeakyReLU(), nn.LogSigmoid(), nn.Mish(), nn.PReLU(), nn.ReLU6(), nn.RReLU(), nn.SELU(), nn.SiLU(), nn.Sigmoid(),
    nn.Softmax(1), nn.Softplus(), nn.Softshrink(), nn.Softsign(), nn.Tanh(), nn.Tanhshrink(), nn.Threshold(0.1, 0),
]  # fmt: skip
OTHERS = [
    nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.LocalResponseNorm(2),
    Does(F.relu6), Does(lambda x: torch.softmax(x, 1)), Does(lambda x: x.softmax(1)), Does(lambda x: x.clamp(min=0)),
    Does(lambda x: x @ x), Does(lambda x: x * x.mean((2, 3), keepdim=True)), Does(lambda x: x.tanh()),
    Does(lambda x: x.exp()), Does(lambda x: x**2), Does(lambda x: torch.maximum(x, -x)), Does(lambda x: x.abs()),
]  # fmt: skip


@pytest.mark.parametrize("layer", [*ACTIVATIONS, *OTHERS], ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("name", ["lrp.z", "deep-taylor", "deconvnet", "guided-backprop"])
def test_what_the_rules_are_not_defined_for_is_refused(name, layer):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), layer, nn.Flatten())
    with pytest.raises(CbirError, match="for networks of ReLUs; this one uses "):
        explain(name, model, images(2, 4, dtype=torch.float32))


class Forgetful(nn.Module):
    """Changes a tensor in place and goes on with it, not with what is returned."""

    def __init__(self, change):
        super().__init__()
        self.conv, self.change = nn.Conv2d(3, 3, 1), change

    def forward(self, x):
        y = self.conv(x)
        z = self.conv(y)
        self.change(z, y)
        return z.flatten(1)


@pytest.mark.parametrize(
    "change",
    [
        lambda z, y: F.relu(z, inplace=True),
        lambda z, y: F.relu(z, True),
        lambda z, y: z.relu_(),
        lambda z, y: z.add_(y),
    ],
    ids=["inplace", "positional", "relu_", "add_"],
)
def test_a_tensor_that_was_to_change_in_place_is_not_used_as_it_was(change):
    with pytest.raises(CbirError, match="changed in place"):
        explain("lrp.z", Forgetful(change), images(1, 4, dtype=torch.float32))


@pytest.mark.parametrize("name", RULES)
def test_a_sum_over_positions_is_shared_as_their_mean(homogeneous, name):
    class Sum(nn.Module):
        def __init__(self, mean):
            super().__init__()
            self.net, self.mean = homogeneous, mean

        def forward(self, x):
            x = torch.relu(self.net.conv1(x))
            return self.net.fc(x.mean((2, 3)) * 144 if self.mean else x.sum((2, 3)))

    x = images(2, 14, 4)
    torch.testing.assert_close(explain(name, Sum(False), x), explain(name, Sum(True), x))


def test_a_batch_norm_without_statistics_has_no_rule():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten())
    with pytest.raises(CbirError, match="running statistics"):
        explain("lrp.z", model, images(2, 4, dtype=torch.float32))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lrp.z", {"start": "logits"}, "did you mean logit"),
        ("lrp.flat", {"dialect": "innvestigate-1"}, "dialect of lrp.flat"),
        ("lrp.epsilon", {"epsilon": 0.0}, "above 0"),
        ("lrp.sequential-preset-b", {"epsilon": float("nan")}, "above 0"),
    ],
)
def test_wrong_arguments(homogeneous, name, options, message):
    with pytest.raises(UsageError, match=message):
        explain(name, homogeneous, images(1, 14), **options)
