"""Gradient, input times gradient, integrated gradients and SmoothGrad: Captum's, closed forms, plain loops."""

import captum.attr
import numpy as np
import pytest
import torch
from modular import backbone, conv_net, images, pairs
from torch import nn

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.saliency import gradient, input_t_gradient, integrated_gradients, smoothgrad

METHODS = [gradient, input_t_gradient, integrated_gradients, smoothgrad]
LINE = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(1, 3, 4, 4)  # weights of a linear network


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Function(nn.Module):
    """A network that is one formula: (N, C, H, W) to (N, K)."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return self.formula(x)


def linear(x):
    total = (x * LINE).sum((1, 2, 3)) + 0.5
    return torch.stack([total, -2 * total], 1)


def cubes(x):
    return (x**3).sum((1, 2, 3))[:, None]


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def run(method, *args, **options):
    return method.explain(*args, **({"generator": draws()} if method is smoothgrad else {}), **options)


# --- Captum --------------------------------------------------------------------------------------------------------


def equal(found, expected, tolerance=1e-12):
    largest = expected.abs().max().item()
    assert largest > 1e-6
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=tolerance * largest)


def grad(x):
    return x.clone().requires_grad_()


@pytest.fixture(params=["conv", "dense"])
def pair(request):
    return pairs()[request.param]


def test_gradient_is_that_of_captum(pair):
    model, apart, x, target = pair
    equal(
        gradient.explain(model, x, target),
        captum.attr.Saliency(apart).attribute(grad(x), target, abs=False),
    )
    equal(
        gradient.explain(model, x, target, postprocess="abs"),
        captum.attr.Saliency(apart).attribute(grad(x), target, abs=True),
    )


def test_input_times_gradient_is_that_of_captum(pair):
    model, apart, x, target = pair
    equal(
        input_t_gradient.explain(model, x, target), captum.attr.InputXGradient(apart).attribute(grad(x), target=target)
    )


def test_integrated_gradients_are_those_of_captum(pair):
    model, apart, x, target = pair
    theirs = captum.attr.IntegratedGradients(apart)
    for steps, reference in ((5, 0.0), (16, -0.7)):
        expected = theirs.attribute(x, reference, target, n_steps=steps, method="riemann_left")
        found = integrated_gradients.explain(model, x, target, steps=steps, reference=reference)
        equal(found, expected, 1e-6)  # their steps are float32


# --- closed forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [gradient, smoothgrad])
def test_the_gradient_of_a_linear_network_is_its_weights(method):
    x = images(2, 4)
    for target, factor in ((0, 1), (1, -2)):
        found = run(method, Function(linear), x, target)
        torch.testing.assert_close(found, factor * LINE.expand(2, 3, 4, 4), rtol=1e-12, atol=0)


def test_postprocessing():
    x = images(2, 4)
    for name, expected in (("", LINE), ("abs", LINE.abs()), ("square", LINE**2)):
        found = gradient.explain(Function(linear), x, 0, postprocess=name)
        torch.testing.assert_close(found, expected.expand(2, 3, 4, 4), rtol=1e-12, atol=0)


def test_the_gradient_of_a_piecewise_linear_network():
    def formula(x):  # |a| + 3 relu(-b) of two pixels
        a, b = x[:, 0, 0, 0], x[:, 0, 0, 1]
        return (a.abs() + 3 * torch.relu(-b))[:, None]

    x = torch.zeros(4, 1, 1, 2, dtype=torch.float64)
    x[:, 0, 0] = torch.tensor([[1.0, 2.0], [-1.0, 2.0], [1.0, -2.0], [-1.0, -2.0]])
    expected = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, -3.0], [-1.0, -3.0]], dtype=torch.float64)
    assert torch.equal(gradient.explain(Function(formula), x)[:, 0, 0], expected)
    assert torch.equal(input_t_gradient.explain(Function(formula), x)[:, 0, 0], expected * x[:, 0, 0])
    # Linear on the way from 0, but for 0 itself, where both gradients are 0 by torch's choice.
    found = integrated_gradients.explain(Function(formula), x, steps=10)[:, 0, 0]
    torch.testing.assert_close(found, 0.9 * expected * x[:, 0, 0], rtol=1e-12, atol=1e-15)


def test_without_biases_input_times_gradient_adds_up_to_the_logit():
    model, x = conv_net().double(), images(3, 16)
    for module in model:
        if getattr(module, "bias", None) is not None:
            module.bias.data.zero_()
    model[4].running_mean.zero_()
    with torch.no_grad():
        expected = model(x)[:, 2]
    torch.testing.assert_close(input_t_gradient.explain(model, x, 2).sum((1, 2, 3)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 64])
@pytest.mark.parametrize("reference", [0.0, 1.5])
def test_integrated_gradients_of_cubes(steps, reference):
    x = images(2, 4)
    way, points = (x - reference).numpy(), np.arange(steps) / steps
    expected = sum(3 * (reference + p * way) ** 2 for p in points) / steps * way
    found = integrated_gradients.explain(Function(cubes), x, steps=steps, reference=reference)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
    if reference == 0:  # the sum of the first squares
        torch.testing.assert_close(found, x**3 * (steps - 1) * (2 * steps - 1) / (2 * steps**2), rtol=1e-11, atol=0)


def test_integrated_gradients_add_up_to_the_difference_of_the_logits():
    x, reference = images(2, 4), 0.3
    start = torch.full_like(x, reference)
    difference = cubes(x) - cubes(start)
    # The derivative along the way, at its ends.
    slopes = [(3 * at**2 * (x - reference)).sum((1, 2, 3)) for at in (start, x)]
    for steps in (64, 128, 256):
        found = integrated_gradients.explain(Function(cubes), x, steps=steps, reference=reference)
        missing = difference[:, 0] - found.sum((1, 2, 3))
        predicted = (slopes[1] - slopes[0]) / (2 * steps)
        torch.testing.assert_close(missing, predicted, rtol=2 / steps, atol=0)
    # A linear network misses nothing.
    found = integrated_gradients.explain(Function(linear), x, 0, steps=3, reference=reference)
    torch.testing.assert_close(found.sum((1, 2, 3)), (linear(x) - linear(start))[:, 0])


# --- SmoothGrad ----------------------------------------------------------------------------------------------------


def test_smoothgrad_is_the_mean_over_the_same_draws():
    model, x = conv_net().double(), images(3, 16)
    target = torch.tensor([0, 2, 1])
    generator, expected = draws(7), torch.zeros_like(x)
    for _ in range(5):
        noise = torch.randn(3, 16, 16, generator=generator, dtype=torch.float64)
        expected += captum.attr.Saliency(model).attribute(grad(x + 0.3 * noise), target, abs=False) / 5
    found = smoothgrad.explain(model, x, target, generator=draws(7), augment_by_n=5, noise_scale=0.3)
    equal(found, expected)
    assert not torch.equal(found, smoothgrad.explain(model, x, target, generator=draws(8), augment_by_n=5))
    equal(
        smoothgrad.explain(model, x, target, generator=draws(7), augment_by_n=2, noise_scale=0.0),
        gradient.explain(model, x, target),
    )


def test_smoothgrad_tends_to_the_smoothed_gradient():
    # E[3 (x + s n)²] = 3 x² + 3 s², with a variance of 36 x² s² + 18 s⁴ a draw.
    x, scale, count = images(1, 4), 0.5, 4000
    found = smoothgrad.explain(Function(cubes), x, generator=draws(), augment_by_n=count, noise_scale=scale)
    error = (36 * x**2 * scale**2 + 18 * scale**4).sqrt() / count**0.5
    apart = (found - 3 * x**2 - 3 * scale**2) / error
    assert apart.abs().max() < 4.5 and 0.5 < apart.square().mean() < 1.6


# --- the output explained ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("highest", [0, 1])
def test_the_output_is_chosen_on_the_image_itself(method, highest):
    def formula(x):  # the other output is higher far from the image
        total = x.sum((1, 2, 3))
        return torch.stack([total, 20 - 3 * total][:: 1 - 2 * highest], 1)

    x = torch.full((1, 1, 2, 2), 2.0, dtype=torch.float64)  # outputs 8 and -4; from 0 to 5 the other would win
    found = run(method, Function(formula), x)
    assert torch.equal(found, run(method, Function(formula), x, highest))
    assert (found > 0).all()


# --- all four ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("net", ["resnet18", "vgg11_bn"])
def test_backbones(method, net):
    model, x = backbone(net), images(1, 64, torch.float32)
    short = {integrated_gradients: {"steps": 2}, smoothgrad: {"augment_by_n": 2}}.get(method, {})
    found = run(method, model, x, **short)
    assert found.shape == x.shape and found.dtype == torch.float32
    assert torch.isfinite(found).all() and found.any()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (gradient, {"postprocess": "squared"}, "did you mean square"),
        (integrated_gradients, {"steps": 0}, "at least 1, found 0"),
        (integrated_gradients, {"reference": float("nan")}, "finite number, found nan"),
        (smoothgrad, {"augment_by_n": 0}, "at least 1, found 0"),
        (smoothgrad, {"noise_scale": -0.1}, "at least 0, found -0.1"),
        (smoothgrad, {"noise_scale": float("inf")}, "at least 0, found inf"),
        (smoothgrad, {"noise_scale": float("nan")}, "at least 0, found nan"),
    ],
)
def test_values_out_of_range(method, options, message):
    with pytest.raises(UsageError, match=message):
        run(method, Function(linear), images(1, 4), **options)


@pytest.mark.parametrize("method", METHODS)
def test_input_that_does_not_fit(method):
    with pytest.raises(ShapeError, match="from 0 to 1"):
        run(method, Function(linear), images(2, 4), 2)
    with pytest.raises(ShapeError, match=r"expected logits \(2, K\)"):
        run(method, nn.Conv2d(3, 1, 1).double(), images(2, 4))


@pytest.mark.parametrize("method", METHODS)
def test_a_result_that_is_not_finite_is_an_error(method):
    huge = Function(lambda x: (1e300 * x).pow(2).sum((1, 2, 3))[:, None])
    with pytest.raises(CbirError, match=r"-?gradients?: a value|smoothgrad: a value"):
        run(method, huge, 1e9 + images(1, 4))
    with pytest.raises(CbirError, match="not finite"):  # the gradient is finite, its square is not
        gradient.explain(Function(lambda x: 1e200 * x.sum((1, 2, 3))[:, None]), images(1, 4), postprocess="square")
