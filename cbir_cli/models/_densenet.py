"""DenseNet-BC, once as a torchvision network and once as an ONNX graph that is written down from its weights.

Reference
---------
G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger. Densely Connected Convolutional Networks. CVPR 2017.
arXiv:1608.06993. (Section 3, "DenseNet-BC": bottleneck of four times the growth rate, transitions that halve.)
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import WeightsError
from cbir_cli.models._onnx import Graph, Step

if TYPE_CHECKING:
    from torch import nn

HEAD = "classifier"
"""The last layer; what it is given are the features: norm5, ReLU, average over all positions."""


def build(n_outputs: int, *, growth: int, blocks: Sequence[int], stem: int) -> "nn.Module":
    """Return torchvision's DenseNet with fresh weights from torch's global generator.

    Parameters
    ----------
    n_outputs : int
        Width of the last layer; no activation follows it. 0 for none.
    growth : int
        Channels that every layer adds.
    blocks : sequence of int
        Layers in each dense block.
    stem : int
        Channels of the first convolution.

    Returns
    -------
    torch.nn.Module
        Maps (N, 3, S, S) float32 to (N, n_outputs), or without last layer to the features; torchvision's key names.
    """
    from torch import nn
    from torchvision.models import DenseNet

    # Without memory_efficient: recomputing activations makes the saliency and training slower and changes no number.
    net = DenseNet(
        growth_rate=growth, block_config=tuple(blocks), num_init_features=stem, num_classes=max(n_outputs, 1)
    )
    if not n_outputs:
        net.classifier = nn.Identity()
    return net


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


def steps(weights: Mapping[str, Any]) -> list[Step]:
    """Return the network up to its last block as steps: the stem, each layer of a block, each transition."""
    blocks = layers(weights)
    found = [Step(_stem, stride=4, before=5, after=5)]
    for number, depth in enumerate(blocks, 1):
        block = f"features.denseblock{number}.denselayer"
        found += [Step(partial(_layer, f"{block}{layer}"), joins=True) for layer in range(1, depth + 1)]
        if number < len(blocks):
            add = partial(_transition, f"features.transition{number}")
            found.append(Step(add, stride=2, before=0, after=1))
    return found


def rest(weights: Mapping[str, NDArray[np.float32]], after: int, channels: int) -> bytes:
    """Return what follows the first ``after`` of ``steps``, which give ``channels``, as a serialised ONNX model.

    Parameters
    ----------
    weights : mapping of str to ndarray, float32
        Under torchvision's names; the sizes of the network follow from names and shapes.
    after, channels : int

    Returns
    -------
    bytes
        As ``_onnx.Graph.finish`` returns it; the input is ``images`` (N, channels, H, W).

    Raises
    ------
    WeightsError
        If a weight is missing.
    """
    net = Graph(weights, channels)
    x = _norm_relu(net, net.steps(steps(weights)[after:]), "features.norm5")
    return net.finish(x, head=HEAD, width=len(weights["features.norm5.weight"]), name="densenet")


def graph(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return the network as a serialised ONNX model, without torch and without tracing; see ``rest``."""
    return rest(weights, 0, 3)


def _stem(net: Graph, x: str) -> str:
    x = net.conv(x, "features.conv0", strides=[2, 2], pads=[3] * 4)
    x = _norm_relu(net, x, "features.norm0")
    return net.node("MaxPool", [x], "features.pool0", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)


def _layer(name: str, net: Graph, x: str) -> str:
    y = net.conv(_norm_relu(net, x, f"{name}.norm1"), f"{name}.conv1")
    return net.conv(_norm_relu(net, y, f"{name}.norm2"), f"{name}.conv2", pads=[1] * 4)


def _transition(name: str, net: Graph, x: str) -> str:
    x = net.conv(_norm_relu(net, x, f"{name}.norm"), f"{name}.conv")
    return net.node("AveragePool", [x], f"{name}.pool", kernel_shape=[2, 2], strides=[2, 2])


def _norm_relu(net: Graph, x: str, name: str) -> str:
    return net.relu(net.norm(x, name))
