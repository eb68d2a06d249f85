"""What holds for every saliency method."""

import inspect

import pytest
import torch
from torch import nn

from cbir_cli import registry
from cbir_cli.errors import ShapeError

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
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
        net = nn.Sequential(*layers, nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        net[1].running_mean.normal_()
        net[1].weight.data.uniform_(0.5, 1.5)
    yield net.eval()
    torch.set_num_threads(before)


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def run(method, model, images):
    """Explain output 1 with default parameters, and a fresh generator where the method draws."""
    target = {"target": torch.ones(len(images), dtype=torch.long)} if method.EXPLAINS == "output" else {}
    draws = "generator" in inspect.signature(method.explain).parameters
    return method.explain(model, images, **target, **({"generator": torch.Generator().manual_seed(2)} if draws else {}))


def test_there_are_methods():
    assert "deep-taylor" in METHODS


def test_signature_and_words(method):
    parameters = inspect.signature(method.explain).parameters
    assert method.EXPLAINS in ("output", "representation")
    first = ["model", "images", "target"] if method.EXPLAINS == "output" else ["model", "images"]
    assert list(parameters)[: len(first)] == first
    rest = list(parameters.values())[len(first) :]
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    assert all(p.default is not p.empty or p.name == "generator" for p in rest)
    assert "Reference\n---------" in method.__doc__
    for name in parameters:
        assert name in method.explain.__doc__, f"{name} is not described"


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
    if "generator" in inspect.signature(method.explain).parameters:
        pytest.skip("draws for a batch are not those for its images one by one")
    together = run(method, model, images)
    alone = torch.cat([run(method, model, image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6 * together.abs().max().item())


def test_a_single_image_without_a_batch_is_refused(method, model, images):
    with pytest.raises(ShapeError):
        method.explain(model, images[0])
