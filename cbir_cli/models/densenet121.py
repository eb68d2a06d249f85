"""DenseNet-121 for 224-pixel images: 1024 features, the backbone of the interpretability-guided retrieval papers.

Reference
---------
G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger. Densely Connected Convolutional Networks. CVPR 2017.
arXiv:1608.06993. (Table 1, first column.)
"""

from typing import TYPE_CHECKING

from cbir_cli.models._densenet import HEAD, graph, rest, steps
from cbir_cli.models._densenet import build as _build

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FEATURES", "HEAD", "IMAGENET", "MIN_SIZE", "build", "graph", "rest", "steps"]

FEATURES = 1024
MIN_SIZE = 29
"""Pixels; below it the last pooling has nothing to pool."""
IMAGENET = "DenseNet121_Weights.IMAGENET1K_V1"
"""torchvision's name of the weights that ``--init imagenet`` starts from."""


def build(n_outputs: int) -> "nn.Module":
    """Return the network with fresh weights: (N, 3, S, S) float32 to (N, n_outputs); 0 for no last layer."""
    return _build(n_outputs, growth=32, blocks=(6, 12, 24, 16), stem=64)
