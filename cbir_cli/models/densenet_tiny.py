"""A tiny DenseNet: 16 features, for tests and quick trials of a pipeline. Not for results.

Reference
---------
G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger. Densely Connected Convolutional Networks. CVPR 2017.
arXiv:1608.06993. (Section 3; the sizes are ours.)
"""

from typing import TYPE_CHECKING

from cbir_cli.models._densenet import HEAD, graph, rest, steps
from cbir_cli.models._densenet import build as _build

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FEATURES", "HEAD", "MIN_SIZE", "build", "graph", "rest", "steps"]

FEATURES = 16
MIN_SIZE = 5
"""Pixels; below it the last pooling has nothing to pool."""


def build(n_outputs: int) -> "nn.Module":
    """Return the network with fresh weights: (N, 3, S, S) float32 to (N, n_outputs); 0 for no last layer."""
    return _build(n_outputs, growth=4, blocks=(2, 2), stem=8)
