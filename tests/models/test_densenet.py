"""The DenseNets: their constants, and the ONNX graph against torch eager."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from cbir_cli import registry
from cbir_cli.errors import WeightsError
from cbir_cli.models import _densenet, densenet121, densenet_small, densenet_tiny

SMALL = {"densenet-tiny": densenet_tiny, "densenet-small": densenet_small}
ALL = SMALL | {"densenet121": densenet121}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(module, n_outputs=2):
    """A network in evaluation mode with weights and statistics as training would leave them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = module.build(n_outputs)
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.data.uniform_(-0.2, 1.5)
                layer.bias.data.uniform_(-0.3, 0.3)
                layer.running_mean.uniform_(-0.3, 0.3)
                layer.running_var.uniform_(0.5, 1.5)
        net.classifier.bias.data.normal_()
    return net.eval()


def arrays(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def eager(net, images):
    """Features and logits, spelled out from torchvision's own forward pass."""
    with torch.no_grad():
        x = torch.from_numpy(images)
        features = net.features(x).clamp(min=0).mean(dim=(2, 3))
        return features.numpy(), net(x).numpy()


def test_every_architecture_is_listed():
    assert set(ALL) <= set(registry.names("models"))


@pytest.mark.parametrize("name", ALL)
def test_constants_are_those_of_the_network(name):
    module = registry.load("models", name)
    net = module.build(3)
    assert net.classifier.in_features == module.FEATURES
    assert net.classifier.out_features == 3
    assert net.get_submodule(module.HEAD) is net.classifier


@pytest.mark.parametrize("name", ALL)
def test_smaller_images_leave_nothing_to_pool(name):
    module = registry.load("models", name)
    net = module.build(1).eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, module.MIN_SIZE, module.MIN_SIZE))
        with pytest.raises(RuntimeError, match="too small"):
            net(torch.zeros(1, 3, module.MIN_SIZE - 1, module.MIN_SIZE - 1))


def test_densenet121_is_torchvisions():
    from torchvision.models import densenet121 as reference

    ours = {name: tensor.shape for name, tensor in densenet121.build(1000).state_dict().items()}
    assert ours == {name: tensor.shape for name, tensor in reference().state_dict().items()}


@pytest.mark.parametrize("size", [32, 45, 64])
@pytest.mark.parametrize("name", SMALL)
def test_graph_gives_what_torch_gives(name, size):
    net = trained(SMALL[name])
    session = onnxruntime.InferenceSession(SMALL[name].graph(arrays(net)))
    images = np.random.default_rng(size).normal(size=(3, 3, size, size)).astype(np.float32)
    features, logits = session.run(["features", "outputs"], {"images": images})
    expected = eager(net, images)
    assert np.ptp(expected[0]) > 0.1
    np.testing.assert_allclose(features, expected[0], atol=1e-5)
    np.testing.assert_allclose(logits, expected[1], atol=1e-5)


def test_graph_is_valid_onnx():
    onnx.checker.check_model(
        onnx.load_from_string(densenet_tiny.graph(arrays(trained(densenet_tiny)))), full_check=True
    )


@pytest.mark.parametrize(("growth", "blocks", "stem"), [(4, (1,), 6), (3, (2, 1, 3, 1), 4)])
def test_sizes_follow_from_the_weights(growth, blocks, stem):
    net = _densenet.build(1, growth=growth, blocks=blocks, stem=stem).eval()
    weights = arrays(net)
    assert _densenet.layers(weights) == list(blocks)
    session = onnxruntime.InferenceSession(_densenet.graph(weights))
    images = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(session.run(["features"], {"images": images})[0], eager(net, images)[0], atol=1e-5)


def test_missing_and_foreign_weights_are_named():
    weights = arrays(densenet_tiny.build(1))
    del weights["features.denseblock2.denselayer1.norm2.running_var"]
    with pytest.raises(WeightsError, match=r"denseblock2\.denselayer1\.norm2\.running_var is missing"):
        densenet_tiny.graph(weights)
    with pytest.raises(WeightsError, match="expected the weights of a DenseNet"):
        densenet_tiny.graph({"layer1.0.conv1.weight": np.zeros((1, 1, 1, 1))})


def test_modules_and_graphs_need_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from cbir_cli import registry\n"
        "modules = [registry.load('models', name) for name in registry.names('models')]\n"
        "heavy = {'torch', 'torchvision', 'onnx', 'onnxruntime'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
