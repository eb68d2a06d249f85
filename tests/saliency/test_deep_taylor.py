"""Deep Taylor against iNNvestigate's maps, a plain float64 twin, and zennit's own rule."""

import numpy as np
import pytest
import torch
from networks import FILES, FIXTURES, load, net_a
from plain import Plain
from torch import nn
from torchvision.models import DenseNet, densenet121
from zennit.core import Composite
from zennit.rules import Pass, ZPlus

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.saliency.deep_taylor import explain

OLD, NEW = "innvestigate-1.0.9", "innvestigate-2"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shaken(model, seed=0):
    """The model in evaluation mode with batch-norm weights and statistics as training would leave them."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight.data, -0.2, 1.5),
                (module.bias.data, -0.3, 0.3),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
            ):
                tensor.uniform_(low, high, generator=generator)
    return model.eval()


def small_densenet(n_outputs=1, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return shaken(DenseNet(4, (2, 2), 8, num_classes=n_outputs, **options), seed)


def images(count, size, seed=0, dtype=torch.float32):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- maps that iNNvestigate computed -------------------------------------------------------------------------------


@pytest.mark.parametrize("inplace", [False, True], ids=["relu", "relu-inplace"])
@pytest.mark.parametrize(
    ("net", "dialect", "key"),
    [
        ("a", NEW, "map_deep_taylor"),
        ("a", OLD, "map_deep_taylor"),  # no batch norm: the dialects agree
        ("a", "zbox", "map_deep_taylor_bounded"),
        ("b", NEW, "map_deep_taylor"),
        ("b", OLD, "map_deep_taylor_v109"),
        ("c", NEW, "map_deep_taylor"),
        ("c", OLD, "map_deep_taylor_v109"),
    ],
)
def test_maps_are_those_of_innvestigate(net, dialect, key, inplace):
    with np.load(FIXTURES / f"{FILES[net]}.npz") as file:
        expected = file[key]
        ends = {"low": tuple(file["bounds"][:1]), "high": tuple(file["bounds"][1:])} if dialect == "zbox" else {}
    model, x, logits = load(net, inplace=inplace)
    np.testing.assert_allclose(model(x).detach(), logits, atol=2e-6)
    found = explain(model, x, dialect=dialect, start="relu-logit", **ends).numpy().transpose(0, 2, 3, 1)
    assert expected[:3].any(axis=(1, 2, 3)).all()
    assert np.abs(found - expected).max() <= 3e-6 * np.abs(expected).max()
    assert not found[3].any()  # the last logit is negative


# --- a plain twin, every layer a dense matrix, float64 -------------------------------------------------------------


def matrix(layer, shape):
    """The layer without its bias as a matrix, found by feeding it one unit vector after the other."""
    units = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    zero = layer(torch.zeros(1, *shape, dtype=torch.float64))
    return (layer(units) - zero).detach().flatten(1).numpy().T


def z_plus(weights, x, relevance):
    """Equation of the rule, one output neuron at a time."""
    result = np.zeros_like(x)
    for row, r in zip(weights, relevance, strict=True):
        contributions = x * row
        positive = np.where(contributions > 0, contributions, 0)
        if positive.sum() > 0:
            result += positive / positive.sum() * r
    return result


class Twin(nn.Sequential):
    """Convolution with fused ReLU, max pooling, convolution, batch norm, ReLU, average pooling, linear."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        super().__init__(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 3, padding=1, bias=False),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(20, 3),
        )
        shaken(self.double(), seed)

    def plain(self, image, target, dialect):
        conv1, conv2, norm, fc = self[0], self[3], self[4], self[8]
        x = [image]
        for layer in self:
            x.append(layer(x[-1]).detach())
        values = [v.flatten().numpy() for v in x]
        start = np.zeros(3)
        start[target] = 1 / (1 + np.exp(-values[9][target]))
        r = z_plus(matrix(fc, (20,)), values[8], start)
        r = np.repeat(np.repeat(r.reshape(5, 2, 2), 2, axis=1), 2, axis=2) / 4  # average pooling
        r = r * (x[5][0].numpy() > 0)
        if dialect == NEW:
            slope = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            r = r * slope.detach().numpy()[:, None, None]
        r = z_plus(matrix(conv2, (4, 4, 4)), values[3], r.ravel()).reshape(4, 4, 4)
        largest = np.repeat(np.repeat(x[3][0].numpy(), 2, axis=1), 2, axis=2) == x[2][0].numpy()
        r = np.repeat(np.repeat(r, 2, axis=1), 2, axis=2) * largest  # max pooling; nothing passes where all are 0
        r = z_plus(matrix(conv1, (3, 8, 8)), values[0], r.ravel())
        return r.reshape(3, 8, 8)


@pytest.mark.parametrize("dialect", [OLD, NEW])
@pytest.mark.parametrize("seed", [1, 2])
def test_maps_are_those_of_the_plain_formula(dialect, seed):
    with torch.random.fork_rng():
        model = Twin(seed)
    x = images(3, 8, seed, torch.float64)
    target = torch.tensor([0, 2, 1])
    found = explain(model, x, target, dialect=dialect)
    for image, t, one in zip(x, target, found, strict=True):
        expected = model.plain(image[None], t, dialect)
        assert np.abs(expected).max() > 1e-4
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-9, atol=1e-14)


def test_relevance_is_conserved_without_bias_and_batch_norm():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 6, 3, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 2, bias=False),
        ).double()
    x = images(4, 14, 3, torch.float64)
    for start, expected in (("one", torch.ones(4)), ("probability", torch.sigmoid(model(x)).amax(1))):
        total = explain(model, x, start=start).sum((1, 2, 3))
        torch.testing.assert_close(total, expected.detach().double())


@pytest.mark.parametrize("seed", range(5))
def test_maps_are_non_negative(seed):
    found = explain(small_densenet(3, seed), images(2, 32, seed))
    assert found.min() >= 0
    assert (found.amax((1, 2, 3)) > 0).all()


# --- the start -----------------------------------------------------------------------------------------------------


def test_a_negative_logit_has_a_map_from_the_probability_and_none_from_relu():
    model, x = small_densenet(), images(4, 32)
    with torch.no_grad():
        model.classifier.bias -= model(x).median()  # two images on either side
        logits = model(x)[:, 0]
    assert (logits > 0).any() and (logits < 0).any()
    start = {name: explain(model, x, start=name) for name in ("probability", "relu-logit", "one")}
    for i, logit in enumerate(logits):
        torch.testing.assert_close(start["probability"][i], start["one"][i] * torch.sigmoid(logit))
        torch.testing.assert_close(start["relu-logit"][i], start["one"][i] * torch.relu(logit))
        assert start["probability"][i].any()


def test_the_target_is_the_highest_logit_unless_given():
    model, x = small_densenet(4), images(3, 32)
    highest = model(x).argmax(1)
    torch.testing.assert_close(explain(model, x), explain(model, x, highest), rtol=0, atol=0)
    torch.testing.assert_close(explain(model, x, 2), explain(model, x, torch.full((3,), 2)), rtol=0, atol=0)
    assert not torch.equal(explain(model, x, 1), explain(model, x, 2))


# --- against zennit's own rule -------------------------------------------------------------------------------------


def zennit_map(model, x):
    def rule(_context, _name, module):
        if isinstance(module, nn.Conv2d | nn.Linear):
            return ZPlus(stabilizer=lambda z: torch.where(z == 0, 1e-7, z), zero_params="bias")
        return Pass() if isinstance(module, nn.BatchNorm2d) else None

    with Composite(module_map=rule).context(model):
        pixels = x.clone().requires_grad_()
        logits = model(pixels)
        return torch.autograd.grad(logits, pixels, torch.sigmoid(logits.detach()))[0]


def test_one_half_of_the_rule_gives_the_map_of_both():
    model, x = small_densenet(), images(2, 32)
    expected = zennit_map(model, x)
    torch.testing.assert_close(explain(model, x), expected, rtol=1e-6, atol=1e-7 * expected.max().item())


def test_images_of_a_batch_do_not_decide_each_others_rule():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1)).double()
    x = images(2, 8, 5, torch.float64)
    x[0].abs_()  # alone, this image needs one half only
    together = explain(model, x)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], explain(model, x[i : i + 1]), rtol=1e-12, atol=0)


@pytest.mark.densenet121
def test_densenet121_is_that_of_zennit():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = shaken(densenet121(num_classes=1))
    x = images(1, 64)
    expected = zennit_map(model, x)
    found = explain(model, x)
    assert expected.max() > 0
    assert (found - expected).abs().max() <= 3e-6 * expected.max()


# --- DenseNet-121, the whole of it, against the rules written down in numpy ------------------------------------------


@pytest.mark.densenet121
def test_densenet121_at_full_size_is_that_of_the_plain_rules():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = shaken(densenet121(num_classes=1), 1)
    x = torch.nn.functional.interpolate(images(1, 56, 1), size=224, mode="bilinear")
    logit, expected = Plain(model.state_dict(), (6, 12, 24, 16)).explain(x[0].double().numpy())
    assert model(x).item() == pytest.approx(logit, rel=1e-4, abs=1e-5)
    assert expected.min() >= 0 and expected.max() > 0
    found = explain(model, x)[0].numpy()
    assert np.abs(found - expected).max() <= 1e-5 * expected.max()


# --- the model is handed back as it came ---------------------------------------------------------------------------


class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("out of memory, say")


def state(model):
    parameters = [(n, p.requires_grad, p.grad, p._version) for n, p in model.named_parameters()]
    modules = [
        (m.training, getattr(m, "inplace", None), len(m._forward_hooks), len(m._forward_pre_hooks), len(m._parameters))
        for m in model.modules()
    ]
    return modules, parameters, {k: v.clone() for k, v in model.state_dict().items()}


def same(before, after):
    assert before[:1] == after[:1]
    assert [p[:2] + p[3:] for p in before[1]] == [p[:2] + p[3:] for p in after[1]]
    assert all(a[2] is b[2] for a, b in zip(before[1], after[1], strict=True))
    assert all(torch.equal(before[2][k], after[2][k]) for k in before[2])


@pytest.mark.parametrize("failure", [None, "forward", "result"])
@pytest.mark.parametrize("net", [small_densenet, lambda: net_a(True)], ids=["densenet", "plain"])
def test_the_model_is_left_as_it_was(net, failure):
    model = net().train()
    frozen, graded, *_ = model.parameters()
    frozen.requires_grad_(False)
    graded.grad = torch.ones_like(graded)
    next(m for m in model.modules() if isinstance(m, nn.ReLU)).eval()
    x = images(2, 32 if isinstance(model, DenseNet) else 16)
    if failure == "forward":
        (model.features if isinstance(model, DenseNet) else model).add_module("last", Failing())
    if failure == "result":
        x[0, 0, 0, 0] = torch.nan
    before, pixels = state(model), x.clone()
    if failure:
        with pytest.raises(RuntimeError if failure == "forward" else CbirError):
            explain(model, x)
    else:
        explain(model, x)
    same(before, state(model))
    assert torch.equal(x.nan_to_num(), pixels.nan_to_num()) and not x.requires_grad


def test_the_map_is_that_of_evaluation_mode():
    model, x = small_densenet(), images(2, 32)
    expected = explain(model, x)
    assert torch.equal(explain(model.train(), x), expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(mode):
    model, x = small_densenet(), images(2, 32)
    expected = explain(model, x)
    with mode():
        assert torch.equal(explain(model, x.clone()), expected)


def test_recomputed_activations_give_the_same_map():
    x = images(1, 32)
    torch.testing.assert_close(explain(small_densenet(memory_efficient=True), x), explain(small_densenet(), x))


# --- input that does not fit ---------------------------------------------------------------------------------------


def test_no_images_have_no_maps():
    assert explain(small_densenet(), torch.zeros(0, 3, 32, 32)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dialect": "innvestigate-1"}, UsageError, "did you mean innvestigate"),
        ({"start": "logit"}, UsageError, "known: probability"),
        ({"target": 3}, ShapeError, "from 0 to 2"),
        ({"target": torch.tensor([0])}, ShapeError, r"target \(2,\)"),
        ({"target": torch.tensor([0.0, 1.0])}, ShapeError, "of integers"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        explain(small_densenet(3), images(2, 32), **arguments)


def test_wrong_shapes():
    with pytest.raises(ShapeError, match=r"expected images \(N, C, H, W\)"):
        explain(small_densenet(), images(2, 32)[0])
    with pytest.raises(ShapeError, match=r"expected logits \(2, K\)"):
        explain(nn.Conv2d(3, 1, 3), images(2, 8))
