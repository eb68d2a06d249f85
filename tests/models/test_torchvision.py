"""Any classifier of torchvision by its name: names, sizes and last layers, against torchvision itself."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from cbir_cli import engines, registry
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.models import torchvision as family
from cbir_cli.models._weights import fresh, load_initial

CONVOLUTIONAL = {"squeezenet1_0", "squeezenet1_1"}  # their last layer is a convolution


def skeleton(name, outputs=3):
    """The network without memory: torchvision's own shapes."""
    with family._unallocated():
        return family.Classifier(name)._made(outputs).to("meta").eval()


def runs(net, size):
    try:
        with torch.no_grad():
            return tuple(net(torch.zeros(2, 3, size, size, device="meta")).shape) == (2, 3)
    except (RuntimeError, AssertionError, ValueError):
        return False


def test_every_classifier_of_torchvision_is_a_member():
    theirs = set(torchvision.models.list_models(module=torchvision.models))
    assert set(family.MEMBERS) == theirs - CONVOLUTIONAL
    assert {f"torchvision.{name}".replace("_", "-") for name in family.MEMBERS} <= set(registry.names("models"))


@pytest.mark.parametrize("name", family.MEMBERS)
def test_constants_are_those_of_the_network(name):
    member = registry.load("models", f"torchvision.{name}")
    net = skeleton(name)
    head = net.get_submodule(member.HEAD)
    assert isinstance(head, nn.Linear) and (head.in_features, head.out_features) == (member.FEATURES, 3)
    only = member.ONLY_SIZE
    assert runs(net, only or 224)
    if only:
        assert not runs(net, only - 32) and not runs(net, only + 32) and member.MIN_SIZE == only
    else:
        assert runs(net, member.MIN_SIZE) and not runs(net, member.MIN_SIZE - 1)
    assert torchvision.models.get_weight(member.IMAGENET) in torchvision.models.get_model_weights(name)


def test_squeezenet_is_refused_by_name():
    with pytest.raises(UsageError, match=r"torchvision\.squeezenet1_0.*known: .*torchvision\.\*"):
        registry.load("models", "torchvision.squeezenet1_0")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5"])
def test_vectors_are_those_of_torchvisions_network(name):
    architecture = f"torchvision.{name}"
    net = fresh(architecture, 4, seed=3).eval()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        reference = torchvision.models.get_model(name, num_classes=4).eval()
    assert all(torch.equal(net.state_dict()[key], value) for key, value in reference.state_dict().items())
    weights = {key: value.numpy() for key, value in net.state_dict().items()}
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    inputs, outputs = engines.encoder(architecture, weights, device="cpu", threads=1)(images)
    with torch.no_grad():
        np.testing.assert_allclose(outputs, reference(torch.from_numpy(images)).numpy(), atol=1e-5)
        last = reference.get_submodule(registry.load("models", architecture).HEAD)
        np.testing.assert_allclose(last(torch.from_numpy(inputs)).numpy(), outputs, atol=1e-5)


def test_without_a_last_layer_it_returns_the_vector():
    net = fresh("torchvision.mobilenet-v3-small", 0, seed=3).eval()
    weights = {key: value.numpy() for key, value in net.state_dict().items()}
    inputs, outputs = engines.encoder("torchvision.mobilenet-v3-small", weights, device="cpu", threads=1)(
        np.ones((1, 3, 32, 32), np.float32)
    )
    assert inputs.shape == (1, 1024) and inputs.tobytes() == outputs.tobytes()


def test_networks_for_one_size_refuse_others_in_a_line():
    member = registry.load("models", "torchvision.vit-b-16")
    engines.check_size(224, member)
    with pytest.raises(ShapeError, match="images of 256 px: the network takes 224 px alone"):
        engines.check_size(256, member)


def test_googlenet_has_no_auxiliary_outputs_and_rescales():
    net = family.Classifier("googlenet").build(2)
    assert net.transform_input and net.aux1 is None
    assert net.train()(torch.zeros(2, 3, 64, 64)).shape == (2, 2)  # one tensor, not a tuple, in training too


def test_building_without_memory_draws_nothing():
    before = torch.get_rng_state()
    assert family.Classifier("regnet_y_128gf").FEATURES == 7392
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_torchvision_fit(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = torchvision.models.resnet18(num_classes=10).state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pth")
    made = load_initial(str(tmp_path / "w.pth"), "torchvision.resnet18", 2, seed=0).state_dict()
    assert all(torch.equal(made[key], value) for key, value in state.items() if not key.startswith("fc."))
