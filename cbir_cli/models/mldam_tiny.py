"""Multi-level dual attention on a tiny DenseNet: 16 features, for tests and quick trials. Not for results.

Three dense blocks, one for each level; ``mldam`` says what is done with them.

Reference
---------
W. Silva et al. Computer-aided diagnosis through medical image retrieval in radiology. Scientific Reports 12, 2022
(section "Attention network (ATT)"; the sizes are ours).
"""

from typing import TYPE_CHECKING

from cbir_cli.models.mldam import FRESH, HEAD

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FEATURES", "FRESH", "HEAD", "MIN_SIZE", "build"]

FEATURES = 16
MIN_SIZE = 13
"""Pixels; below it the last pooling has nothing to pool."""


def build(n_outputs: int) -> "nn.Module":
    """Return the network with fresh weights: (N, 3, S, S) float32 to (N, n_outputs); 0 for no last layer."""
    from cbir_cli.models._attention import DualAttention

    return DualAttention(n_outputs, growth=4, blocks=(2, 2, 2), stem=8, channels=8, grid=2, width=16)
