"""The ResNets: torchvision's own weights for a seed, and the ONNX graph against torch eager."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from cbir_cli import engines, registry
from cbir_cli.errors import WeightsError
from cbir_cli.models import _resnet, resnet50, resnet_tiny


def shaken(net, seed=0):
    """Weights and statistics as training would leave them."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.2, 1.2, generator=generator)
            layer.bias.data.uniform_(-0.3, 0.3, generator=generator)
            layer.running_mean.uniform_(-0.3, 0.3, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


def arrays(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def noise(count, size):
    return np.random.default_rng(size).normal(size=(count, 3, size, size)).astype(np.float32)


def eager(net, images):
    """Features and outputs, spelled out layer by layer."""
    with torch.no_grad():
        x = net.maxpool(net.relu(net.bn1(net.conv1(torch.from_numpy(images)))))
        for name, stage in net.named_children():
            x = stage(x) if name.startswith("layer") else x
        return x.mean(dim=(2, 3)).numpy(), net(torch.from_numpy(images)).numpy()


def test_resnet50_is_torchvisions_down_to_the_weights_of_a_seed():
    from torchvision.models import resnet50 as reference

    with torch.random.fork_rng():
        torch.manual_seed(5)
        ours = resnet50.build(3).eval()
        torch.manual_seed(5)
        theirs = reference(num_classes=3).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())
    images = torch.from_numpy(noise(1, 64))
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("module", [resnet50, resnet_tiny])
def test_constants_are_those_of_the_network(module):
    with torch.device("meta"):
        assert module.build(3).get_submodule(module.HEAD).in_features == module.FEATURES
        assert module.build(0)(torch.zeros(2, 3, 32, 32)).shape == (2, module.FEATURES)
        assert module.build(3)(torch.zeros(2, 3, module.MIN_SIZE, module.MIN_SIZE)).shape == (2, 3)


@pytest.mark.parametrize(
    ("blocks", "width", "size"), [((2, 1), 4, 32), ((1, 2, 1), 3, 45), ((1,), 5, 7), ((2, 1), 4, 1)]
)
def test_graph_gives_what_torch_gives(blocks, width, size):
    net = shaken(_resnet.build(2, blocks=blocks, width=width))
    assert _resnet.layers(arrays(net)) == list(blocks)
    session = onnxruntime.InferenceSession(_resnet.graph(arrays(net)))
    images = noise(3, size)
    expected = eager(net, images)
    assert np.ptp(expected[0]) > 0.1
    for found, wanted in zip(session.run(["features", "outputs"], {"images": images}), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_resnet50s_graph_gives_what_torch_gives_and_the_same_bytes_in_any_batch():
    net = shaken(resnet50.build(256))
    with torch.no_grad():  # as large as trained ones: 1e-5 is a rounding error of numbers of about 1
        net.layer4[-1].bn3.weight *= 0.1
    images = noise(9, 64)
    run = engines.encoder("resnet50", arrays(net), device="cpu", threads=1)
    assert run.engine == "onnxruntime"
    features, outputs = run(images)
    expected = eager(net, images)
    np.testing.assert_allclose(features, expected[0], atol=1e-5 * np.abs(expected[0]).max())
    np.testing.assert_allclose(outputs, expected[1], atol=1e-5 * np.abs(expected[1]).max())
    alone = [run(images[i : i + 1]) for i in range(9)]
    assert b"".join(part[0].tobytes() for part in alone) == features.tobytes()
    assert b"".join(part[1].tobytes() for part in alone) == outputs.tobytes()


def test_graph_is_valid_onnx_with_and_without_last_layer():
    for outputs, names in ((0, ["features"]), (2, ["features", "outputs"])):
        model = onnx.load_from_string(resnet_tiny.graph(arrays(resnet_tiny.build(outputs))))
        onnx.checker.check_model(model, full_check=True)
        assert [output.name for output in model.graph.output] == names


def test_missing_and_foreign_weights_are_named():
    weights = arrays(resnet_tiny.build(1))
    del weights["layer2.0.downsample.1.running_var"]
    with pytest.raises(WeightsError, match=r"layer2\.0\.downsample\.1\.running_var is missing"):
        resnet_tiny.graph(weights)
    with pytest.raises(WeightsError, match="ResNet of bottleneck blocks"):
        resnet_tiny.graph({"features.conv0.weight": np.zeros((1, 1, 1, 1))})


def test_both_are_listed():
    assert {"resnet50", "resnet-tiny"} <= set(registry.names("models"))
