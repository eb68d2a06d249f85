"""A small DenseNet: 114 features, trains from scratch on 64-pixel images in about a minute on two cores.

Three blocks instead of four, because a 64-pixel image is 4 pixels wide after them. For demonstrations, quick studies
and small data sets.

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

FEATURES = 114
MIN_SIZE = 13
"""Pixels; below it the last pooling has nothing to pool."""


def build(n_outputs: int) -> "nn.Module":
    """Return the network with fresh weights: (N, 3, S, S) float32 to (N, n_outputs); 0 for no last layer."""
    return _build(n_outputs, growth=16, blocks=(3, 4, 4), stem=24)
