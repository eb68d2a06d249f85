"""DenseNet-BC, once as a torchvision network and once as an ONNX graph that is written down from its weights.

Reference
---------
G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger. Densely Connected Convolutional Networks. CVPR 2017.
arXiv:1608.06993. (Section 3, "DenseNet-BC": bottleneck of four times the growth rate, transitions that halve.)
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

FEATURE_LAYER = "classifier.input"
"""The feature vector is what the classifier is given: norm5, ReLU, average over all positions."""

_EPSILON = 1e-5  # of torch's batch norm; it is not part of the weights
_OPSET, _IR = 17, 9  # old enough for every ONNX Runtime that the package allows
_NORM = ("weight", "bias", "running_mean", "running_var")


def build(n_outputs: int, *, growth: int, blocks: Sequence[int], stem: int) -> "nn.Module":
    """Return torchvision's DenseNet with fresh weights from torch's global generator.

    Parameters
    ----------
    n_outputs : int
        Logits; no activation follows them.
    growth : int
        Channels that every layer adds.
    blocks : sequence of int
        Layers in each dense block.
    stem : int
        Channels of the first convolution.

    Returns
    -------
    torch.nn.Module
        Maps (N, 3, S, S) float32 to (N, n_outputs) logits; torchvision's key names.
    """
    from torchvision.models import DenseNet

    # Without memory_efficient: recomputing activations makes the saliency and training slower and changes no number.
    return DenseNet(growth_rate=growth, block_config=tuple(blocks), num_init_features=stem, num_classes=n_outputs)


def layers(weights: Mapping[str, Any]) -> list[int]:
    """Return the number of layers in each dense block, read off the weights' names.

    Raises
    ------
    WeightsError
        If the names are not those of a DenseNet.
    """
    found: dict[int, int] = {}
    for name in weights:
        match = re.match(r"features\.denseblock(\d+)\.denselayer(\d+)\.", name)
        if match:
            block, layer = map(int, match.groups())
            found[block] = max(found.get(block, 0), layer)
    if not found or sorted(found) != list(range(1, len(found) + 1)):
        raise WeightsError("expected the weights of a DenseNet (features.denseblock1.denselayer1...), found others")
    return [found[block] for block in sorted(found)]


def graph(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return the network as a serialised ONNX model, without torch and without tracing.

    Parameters
    ----------
    weights : mapping of str to ndarray, float32
        Under torchvision's names; the sizes of the network follow from names and shapes.

    Returns
    -------
    bytes
        Input ``images`` (N, 3, S, S); outputs ``features`` (N, D) and ``logits`` (N, C), all float32. N and S are free.

    Raises
    ------
    WeightsError
        If a weight is missing.
    """
    from onnx import TensorProto, helper

    blocks = layers(weights)
    net = _Graph(weights)
    x = net.conv("images", "features.conv0", strides=[2, 2], pads=[3] * 4)
    x = net.norm_relu(x, "features.norm0")
    x = net.node("MaxPool", [x], "features.pool0", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for number, depth in enumerate(blocks, 1):
        for layer in range(1, depth + 1):
            name = f"features.denseblock{number}.denselayer{layer}"
            y = net.conv(net.norm_relu(x, f"{name}.norm1"), f"{name}.conv1")
            y = net.conv(net.norm_relu(y, f"{name}.norm2"), f"{name}.conv2", pads=[1] * 4)
            # Joining the running concatenation with the new channels copies less than joining all of them anew.
            x = net.node("Concat", [x, y], f"{name}.concat", axis=1)
        if number < len(blocks):
            name = f"features.transition{number}"
            x = net.conv(net.norm_relu(x, f"{name}.norm"), f"{name}.conv")
            x = net.node("AveragePool", [x], f"{name}.pool", kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("GlobalAveragePool", [net.norm_relu(x, "features.norm5")], "features.average")
    x = net.node("Flatten", [x], "features")
    net.node("Gemm", [x, net.weight("classifier.weight"), net.weight("classifier.bias")], "logits", transB=1)

    def value(name: str, shape: list[str | int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    outputs, width = np.shape(weights["classifier.weight"])
    made = helper.make_graph(
        net.nodes,
        "densenet",
        [value("images", ["N", 3, "S", "S"])],
        [value("features", ["N", width]), value("logits", ["N", outputs])],
        net.tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes and tensors of an ONNX graph in the making; every method returns the name of what it adds."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def weight(self, name: str) -> str:
        from onnx import numpy_helper

        if name not in self.weights:
            raise WeightsError(f"the network's weight {name} is missing")
        values = np.ascontiguousarray(self.weights[name], dtype=np.float32)
        self.tensors.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x: str, name: str, **attributes: Any) -> str:
        return self.node("Conv", [x, self.weight(f"{name}.weight")], f"{name}.out", **attributes)

    def norm_relu(self, x: str, name: str) -> str:
        inputs = [x, *(self.weight(f"{name}.{part}") for part in _NORM)]
        normed = self.node("BatchNormalization", inputs, f"{name}.out", epsilon=_EPSILON)
        return self.node("Relu", [normed], f"{name}.relu")
