"""ResNet of bottleneck blocks, once as a torch network and once as an ONNX graph written down from its weights.

The stride of a stage is that of its 3 x 3 convolution, as in torchvision (there "ResNet V1.5"), and not of the first
1 x 1 convolution as in the paper.

Reference
---------
K. He, X. Zhang, S. Ren, J. Sun. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385.
(Section 4.1, "Deeper Bottleneck Architectures"; Table 1.)
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

HEAD = "fc"


def build(n_outputs: int, *, blocks: Sequence[int], width: int) -> "nn.Module":
    """Return a ResNet with fresh weights from torch's global generator.

    Parameters
    ----------
    n_outputs : int
        Width of the last layer; no activation follows it. 0 for none.
    blocks : sequence of int
        Blocks in each stage. Every stage but the first halves the side.
    width : int
        Channels of the first convolution and inside the blocks of the first stage; each stage doubles them, and a block
        gives four times as many.

    Returns
    -------
    torch.nn.Module
        Maps (N, 3, S, S) float32 to (N, n_outputs), or without last layer to the features; torchvision's key names.
        With blocks of 3, 4, 6, 3 and a width of 64 it is torchvision's ``resnet50``, down to the weights of a seed.
    """
    from torch import nn
    from torchvision.models.resnet import Bottleneck

    net = nn.Sequential()
    net.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(width)
    net.relu = nn.ReLU(inplace=True)
    net.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
    before = width
    for stage, depth in enumerate(blocks):
        inside = width * 2**stage
        layer = nn.Sequential()
        for block in range(depth):
            stride, shortcut = (2 if stage and not block else 1), None
            if not block:
                shortcut = nn.Sequential(
                    nn.Conv2d(before, 4 * inside, 1, stride, bias=False), nn.BatchNorm2d(4 * inside)
                )
            layer.append(Bottleneck(before, inside, stride, shortcut))
            before = 4 * inside
        net.add_module(f"layer{stage + 1}", layer)
    net.avgpool = nn.AdaptiveAvgPool2d(1)
    net.flatten = nn.Flatten()
    net.fc = nn.Linear(before, n_outputs) if n_outputs else nn.Identity()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def layers(weights: Mapping[str, Any]) -> list[int]:
    """Return the number of blocks in each stage, read off the weights' names.

    Raises
    ------
    WeightsError
        If the names are not those of a ResNet of bottleneck blocks.
    """
    found: dict[int, int] = {}
    for name in weights:
        match = re.match(r"layer(\d+)\.(\d+)\.conv3\.", name)
        if match:
            stage, block = map(int, match.groups())
            found[stage] = max(found.get(stage, 0), block + 1)
    if not found or sorted(found) != list(range(1, len(found) + 1)):
        raise WeightsError("expected the weights of a ResNet of bottleneck blocks (layer1.0.conv3...), found others")
    return [found[stage] for stage in sorted(found)]


def steps(weights: Mapping[str, Any]) -> list[Step]:
    """Return the network up to its average as steps: the stem and each block."""
    found = [Step(_stem, stride=4, before=5, after=5)]
    for stage, depth in enumerate(layers(weights), 1):
        for block in range(depth):
            stride = 2 if stage > 1 and not block else 1
            found.append(Step(partial(_block, f"layer{stage}.{block}", stride), stride=stride))
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
    x = net.steps(steps(weights)[after:])
    width = np.shape(weights[f"layer{len(layers(weights))}.0.conv3.weight"])[0]
    return net.finish(x, head=HEAD, width=width, name="resnet")


def graph(weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Return the network as a serialised ONNX model, without torch and without tracing; see ``rest``."""
    return rest(weights, 0, 3)


def _stem(net: Graph, x: str) -> str:
    x = net.relu(net.norm(net.conv(x, "conv1", strides=[2, 2], pads=[3] * 4), "bn1"))
    return net.node("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)


def _block(name: str, stride: int, net: Graph, x: str) -> str:
    y = net.relu(net.norm(net.conv(x, f"{name}.conv1"), f"{name}.bn1"))
    y = net.relu(net.norm(net.conv(y, f"{name}.conv2", strides=[stride] * 2, pads=[1] * 4), f"{name}.bn2"))
    y = net.norm(net.conv(y, f"{name}.conv3"), f"{name}.bn3")
    if net.has(f"{name}.downsample.0.weight"):
        x = net.norm(net.conv(x, f"{name}.downsample.0", strides=[stride] * 2), f"{name}.downsample.1")
    return net.relu(net.node("Add", [y, x], f"{name}.out"))
