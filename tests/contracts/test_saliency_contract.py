"""What holds for every saliency method."""

import inspect
import re

import pytest
import torch
from torch import nn

from cbir_cli import registry
from cbir_cli.errors import CbirError, ShapeError

METHODS = registry.names("saliency")


@pytest.fixture(params=METHODS)
def method(request):
    return registry.load("saliency", request.param)


@pytest.fixture
def model():
    """A small network of the layers that backbones have, with statistics that batch norm does not start with."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = [nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
        net = nn.Sequential(*layers, nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        net[1].running_mean.normal_()
        net[1].weight.data.uniform_(0.5, 1.5)
    yield net.eval()
    torch.set_num_threads(before)


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def needs(method, model, images):
    """Return what a method is given beside model and images: output 1, a fresh generator, what it is fitted to."""
    wanted = inspect.signature(method.explain).parameters
    given = {"target": torch.ones(len(images), dtype=torch.long)} if method.EXPLAINS == "output" else {}
    if "generator" in wanted:
        given["generator"] = torch.Generator().manual_seed(2)
    if "masks" in wanted:
        given["masks"] = 300  # thousands by default
    if "fitted" in wanted:
        catalogue = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(3)).to(images)
        given["fitted"] = method.fit(model, [catalogue])
    return given


def run(method, model, images):
    return method.explain(model, images, **needs(method, model, images))


def test_there_are_methods():
    assert "deep-taylor" in METHODS


def test_signature_and_words(method):
    parameters = inspect.signature(method.explain).parameters
    assert method.EXPLAINS in ("output", "representation")
    first = ["model", "images", "target"] if method.EXPLAINS == "output" else ["model", "images"]
    assert list(parameters)[: len(first)] == first
    rest = list(parameters.values())[len(first) :]
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    assert all(p.default is not p.empty or p.name in ("generator", "fitted") for p in rest)
    assert "Reference\n---------" in method.__doc__
    for name in parameters:
        entry = rf"^ *(\w+, )*{name}(, \w+)* : "
        assert re.search(entry, f"{method.__doc__}\n{method.explain.__doc__}", re.M), f"{name} is not described"


def test_maps(method, model, images):
    maps = run(method, model, images)
    assert maps.ndim == 4 and len(maps) == 3 and maps.shape[1] in (1, 3) and maps.shape[2:] == (16, 16)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert torch.isfinite(maps).all()
    assert (maps.abs().amax((1, 2, 3)) > 0).all()


def test_the_same_again(method, model, images):
    assert torch.equal(run(method, model, images), run(method, model, images))


def test_input_and_model_are_left_alone(method, model, images):
    pixels, weights = images.clone(), {k: v.clone() for k, v in model.state_dict().items()}
    flags = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()
    ]
    run(method, model, images)
    assert torch.equal(images, pixels)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in weights.items())
    after = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()
    ]
    assert after == flags
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_batch_equals_its_images_alone(method, model, images):
    together = run(method, model, images)
    alone = torch.cat([run(method, model, image[None]) for image in images])
    # Where shares of either sign cancel, float32 keeps five digits of the largest value.
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5 * together.abs().max().item())


def test_a_single_image_without_a_batch_is_refused(method, model, images):
    with pytest.raises(ShapeError):
        run(method, model, images[0])


def test_float64(method, model, images):
    maps, exact = run(method, model, images), run(method, model.double(), images.double())
    assert exact.dtype == torch.float64
    if "generator" not in inspect.signature(method.explain).parameters:  # draws differ
        torch.testing.assert_close(maps.double(), exact, rtol=1e-3, atol=1e-4 * exact.abs().max().item())


def test_no_images_have_no_maps(method, model, images):
    assert run(method, model, images[:0]).shape == (0, *run(method, model, images).shape[1:])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(method, model, images, mode):
    expected = run(method, model, images)
    with mode():
        assert torch.equal(run(method, model, images.clone()), expected)


def test_the_model_is_left_alone_by_a_failure(method, model, images):
    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("out of memory, say")

    given = needs(method, model, images)
    model.train()[1].eval()
    next(model.parameters()).requires_grad_(False)
    model.append(Failing())
    with pytest.raises(RuntimeError, match="out of memory"):
        method.explain(model, images, **given)
    assert [m.training for m in model] == [i != 1 for i in range(len(model))]
    assert [p.requires_grad for p in model.parameters()] == [i > 0 for i, _ in enumerate(model.parameters())]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert torch.is_grad_enabled() and not torch.overrides._get_current_function_mode_stack()


def test_a_network_whose_answer_is_not_finite_is_refused(method, model, images):
    given = needs(method, model, images)
    model[-1].bias.data.fill_(torch.nan)
    with pytest.raises(CbirError, match="not finite"):
        method.explain(model, images, **given)
