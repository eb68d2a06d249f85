"""An ONNX graph in the making, written down node by node from a network's weights: no torch, nothing is traced.

Weights are looked up under torchvision's names. Every method adds nodes and returns the name of what they give.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import WeightsError

_EPSILON = 1e-5  # of torch's batch norm; it is not part of the weights
_OPSET, _IR = 17, 9  # old enough for every ONNX Runtime that the package allows
_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Step:
    """A part of a network between two of its maps, and which of its input each place of its output depends on.

    Row (and column) j of the output depends on rows ``stride * j - before`` to ``stride * j + after`` of the input and
    on no others.

    Attributes
    ----------
    add : callable
        Takes a graph and the name of the input, adds the nodes, and returns the name of the output.
    stride, before, after : int
    joins : bool
        The output's channels are appended to those of the input, on the same grid; else the output takes its place.
    """

    add: "Callable[[Graph, str], str]"
    stride: int = 1
    before: int = 1
    after: int = 1
    joins: bool = False


class Graph:
    """Nodes and tensors of a graph whose input is ``images`` (N, C, H, W), float32.

    Parameters
    ----------
    weights : mapping of str to ndarray, float32
    channels : int
        C: 3, or for the later part of a network how many it is given.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], channels: int = 3) -> None:
        self._weights = weights
        self._channels = channels
        self.products = 0
        """Of the convolutions, for each place of what they give."""
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add one operation."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x: str, name: str, **attributes: Any) -> str:
        """Add a convolution without bias."""
        weight = self._weight(f"{name}.weight")
        self.products += self._weights[weight].size
        return self.node("Conv", [x, weight], f"{name}.out", **attributes)

    def norm(self, x: str, name: str) -> str:
        """Add a batch norm with its running statistics."""
        inputs = [x, *(self._weight(f"{name}.{part}") for part in _NORM)]
        return self.node("BatchNormalization", inputs, f"{name}.out", epsilon=_EPSILON)

    def relu(self, x: str) -> str:
        """Add a ReLU."""
        return self.node("Relu", [x], f"{x}.relu")

    def steps(self, steps: "Sequence[Step]") -> str:
        """Add steps one after the other, from the graph's input on."""
        x = "images"
        for step in steps:
            y = step.add(self, x)
            # Joining the running concatenation with the new channels copies less than joining all of them anew.
            x = self.node("Concat", [x, y], f"{y}.concat", axis=1) if step.joins else y
        return x

    def finish(self, x: str, *, head: str, width: int, name: str) -> bytes:
        """Average over all positions, add the last layer where there is one, and return the serialised model.

        Parameters
        ----------
        x : str
            Feature maps (N, width, H, W).
        head : str
            Name of the last layer.
        width : int
        name : str
            Of the graph.

        Returns
        -------
        bytes
            Outputs ``features`` (N, width) and, if there is a last layer, ``outputs`` (N, K), float32; N and S are
            free.

        Raises
        ------
        WeightsError
            If a weight is missing.
        """
        features = self.node("Flatten", [self.node("GlobalAveragePool", [x], "average")], "features")
        results: dict[str, list[str | int]] = {"features": ["N", width]}
        if f"{head}.weight" in self._weights:
            layer = [self._weight(f"{head}.weight"), self._weight(f"{head}.bias")]
            self.node("Gemm", [features, *layer], "outputs", transB=1)
            results["outputs"] = ["N", len(self._weights[f"{head}.weight"])]
        return self._serialise(results, name)

    def maps(self, x: str) -> bytes:
        """Return the serialised model whose only output are the maps ``x`` (N, K, H', W')."""
        return self._serialise({x: ["N", "K", "rows", "columns"]}, "part")

    def _serialise(self, results: Mapping[str, list[str | int]], name: str) -> bytes:
        from onnx import TensorProto, helper

        def value(name: str, shape: list[str | int]) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        given = value("images", ["N", self._channels, "H", "W"])
        found = [value(result, shape) for result, shape in results.items()]
        made = helper.make_graph(self._nodes, name, [given], found, self._tensors)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        return bytes(model.SerializeToString())

    def has(self, name: str) -> bool:
        """Say whether the network has a weight."""
        return name in self._weights

    def _weight(self, name: str) -> str:
        from onnx import numpy_helper

        if name not in self._weights:
            raise WeightsError(f"the network's weight {name} is missing")
        values = np.ascontiguousarray(self._weights[name], dtype=np.float32)
        self._tensors.append(numpy_helper.from_array(values, name))
        return name
