"""An ONNX graph in the making, written down node by node from a network's weights: no torch, nothing is traced.

Weights are looked up under torchvision's names. Every method adds nodes and returns the name of what they give.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import WeightsError

_EPSILON = 1e-5  # of torch's batch norm; it is not part of the weights
_OPSET, _IR = 17, 9  # old enough for every ONNX Runtime that the package allows
_NORM = ("weight", "bias", "running_mean", "running_var")


class Graph:
    """Nodes and tensors of a graph whose input is ``images`` (N, 3, S, S), float32.

    Parameters
    ----------
    weights : mapping of str to ndarray, float32
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add one operation."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x: str, name: str, **attributes: Any) -> str:
        """Add a convolution without bias."""
        return self.node("Conv", [x, self._weight(f"{name}.weight")], f"{name}.out", **attributes)

    def norm(self, x: str, name: str) -> str:
        """Add a batch norm with its running statistics."""
        inputs = [x, *(self._weight(f"{name}.{part}") for part in _NORM)]
        return self.node("BatchNormalization", inputs, f"{name}.out", epsilon=_EPSILON)

    def relu(self, x: str) -> str:
        """Add a ReLU."""
        return self.node("Relu", [x], f"{x}.relu")

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
        from onnx import TensorProto, helper

        def value(name: str, shape: list[str | int]) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        features = self.node("Flatten", [self.node("GlobalAveragePool", [x], "average")], "features")
        results = [value("features", ["N", width])]
        if f"{head}.weight" in self._weights:
            layer = [self._weight(f"{head}.weight"), self._weight(f"{head}.bias")]
            self.node("Gemm", [features, *layer], "outputs", transB=1)
            results.append(value("outputs", ["N", len(self._weights[f"{head}.weight"])]))
        made = helper.make_graph(self._nodes, name, [value("images", ["N", 3, "S", "S"])], results, self._tensors)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        return bytes(model.SerializeToString())

    def _weight(self, name: str) -> str:
        from onnx import numpy_helper

        if name not in self._weights:
            raise WeightsError(f"the network's weight {name} is missing")
        values = np.ascontiguousarray(self._weights[name], dtype=np.float32)
        self._tensors.append(numpy_helper.from_array(values, name))
        return name
