"""Multi-level dual attention on DenseNet-121: 512 features, the method ATT of the 2022 interpretability-guided paper.

Three levels of the backbone, at 224 px ::

    I_A  [512, 28, 28]   output of dense block 2
    I_B  [1024, 14, 14]  output of dense block 3
    I_C  [1024, 7, 7]    output of dense block 4, normalised, ReLU

are brought to [512, 7, 7] as Q, K and V. Position attention softmax(Q K^T) V + V asks at each place of the coarse level
with the finer ones; channel attention (V V^T) V + V, without softmax, lets the channels of the coarse level answer each
other. Each is followed by a ReLU and a learnt layer norm, and the two are averaged. Then come two dense layers of 512,
each with ReLU and dropout of .25, and the logits. The feature vector is the second dense layer's.

The backbone has DenseNet's names, so ImageNet weights, checkpoints like CheXNet's and ``cbir`` models of
``densenet121`` fill it. Attention and dense layers then start fresh. There is no ONNX graph: it runs on torch.

Reference
---------
W. Silva et al. Computer-aided diagnosis through medical image retrieval in radiology. Scientific Reports 12, 2022
(section "Attention network (ATT)"). S. S. Mishra, B. Mandal, N. B. Puhan. Multi-level Dual-attention Based CNN for
Macular Optical Coherence Tomography Classification. IEEE Signal Processing Letters 26 (12), 2019.

Differs from the authors' code
------------------------------
Mishra et al. work on VGG-16 at 112 px, where all levels have 512 channels; the 2022 paper gives the shapes of its
levels and no more. So these are ours: 1 x 1 convolutions, linear, to the 512 channels of VGG; average pooling by 4 and
2, which is how DenseNet itself comes from the finer grids to the coarse one, at any size; the levels in the order
query, key, value from fine to coarse, as theirs; the layer norm over the channels of each place. The dense layers see
7 x 7 places as theirs do: at 224 px the feature maps as they are, flattened; at other sizes averaged over (or repeated
on) a grid of 7 x 7, so that one set of weights serves every size.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

HEAD = "classifier"
FEATURES = 512
MIN_SIZE = 29
"""Pixels; below it the last pooling has nothing to pool."""
IMAGENET = "DenseNet121_Weights.IMAGENET1K_V1"
"""torchvision's name of the weights that ``--init imagenet`` fills the backbone with."""
FRESH = ("attention", "dense1", "dense2")
"""Parts that weights of a plain DenseNet do not have; they start fresh."""


def build(n_outputs: int) -> "nn.Module":
    """Return the network with fresh weights: (N, 3, S, S) float32 to (N, n_outputs); 0 for no last layer."""
    from cbir_cli.models._attention import DualAttention

    return DualAttention(n_outputs, growth=32, blocks=(6, 12, 24, 16), stem=64, channels=512, grid=7, width=512)
