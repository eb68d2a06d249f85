"""A tiny ResNet: 32 features, for tests and quick trials of a pipeline. Not for results.

Reference
---------
K. He, X. Zhang, S. Ren, J. Sun. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385.
(Section 4.1; the sizes are ours.)
"""

from typing import TYPE_CHECKING

from cbir_cli.models._resnet import HEAD, graph, rest, steps
from cbir_cli.models._resnet import build as _build

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FEATURES", "HEAD", "MIN_SIZE", "build", "graph", "rest", "steps"]

FEATURES = 32
MIN_SIZE = 1
"""Pixels; no pooling runs dry."""


def build(n_outputs: int) -> "nn.Module":
    """Return the network with fresh weights: (N, 3, S, S) float32 to (N, n_outputs); 0 for no last layer."""
    return _build(n_outputs, blocks=(2, 1), width=4)
