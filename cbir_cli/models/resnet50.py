"""ResNet-50 for 224-pixel images: 2048 features, the backbone of the CT-liver paper.

Reference
---------
K. He, X. Zhang, S. Ren, J. Sun. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385. (Table 1,
50 layers.)
"""

from typing import TYPE_CHECKING

from cbir_cli.models._resnet import HEAD, graph, rest, steps
from cbir_cli.models._resnet import build as _build

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FEATURES", "HEAD", "IMAGENET", "MIN_SIZE", "build", "graph", "rest", "steps"]

FEATURES = 2048
MIN_SIZE = 1
"""Pixels; no pooling runs dry, but below 32 the features come from the padding as much as from the image."""
IMAGENET = "ResNet50_Weights.IMAGENET1K_V1"
"""torchvision's name of the weights that ``--init imagenet`` starts from.

The first ones and not ``V2``: they are what ``pretrained=True`` gave when the paper was written. The long recipe of the
second ones (label smoothing, mixup, averaged weights) is one for classifying ImageNet.
"""


def build(n_outputs: int) -> "nn.Module":
    """Return the network with fresh weights: (N, 3, S, S) float32 to (N, n_outputs); 0 for no last layer."""
    return _build(n_outputs, blocks=(3, 4, 6, 3), width=64)
