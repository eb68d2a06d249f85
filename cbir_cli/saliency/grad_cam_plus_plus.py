"""Grad-CAM++: as Grad-CAM, with positive gradients alone, each position weighted on its own.

With a feature map A of channels k and g the gradient of the logit S by it, the weight of a channel is
``w_k = sum_ij alpha_kij max(0, g_kij)`` with ``alpha_kij = g_kij² / (2 g_kij² + g_kij³ sum_ab A_kab)``, and the map is
``max(0, sum_k w_k A_k)``, enlarged to the input. The powers stand for the second and third derivative of exp(S), where
nothing but ReLUs between feature map and logit is not linear.

Reference
---------
A. Chattopadhyay, A. Sarkar, P. Howlader, V. N. Balasubramanian. Grad-CAM++: Improved Visual Explanations for Deep
Convolutional Networks. WACV 2018. arXiv:1710.11063. (Equations 10 to 19.)

Differs from the authors' code
------------------------------
The gradient of exp(S) is exp(S) g; the factor, one for the whole map, is left out: it exceeds float32 for logits above
88, and a map is divided by its largest magnitude anyway. Their code also divides the alphas of a channel by their sum
over positions of positive gradient; the paper does not, nor does this.
"""

import torch
from torch import Tensor, nn

from cbir_cli.saliency import _cam

EXPLAINS = "output"


def explain(model: nn.Module, images: Tensor, target: Tensor | int | None = None, *, layer: str = "") -> Tensor:
    """Support of every place for one output, by the positive gradients of a feature map.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits by way of feature maps (N, K, h, w). It runs in evaluation mode and is
        handed back as it came, after an exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    target : Tensor (N,) of int64, int or None
        Output explained for each image. None takes the highest logit, which is the only one of a binary model.
    layer : str
        Path of the module whose output is the feature map, as ``features.denseblock3``; it should follow a ReLU, since
        negative values may turn a weight's sign. Default (an empty string) is the last map of more than one position:
        in a DenseNet the ReLU after the last norm, in a ResNet ``layer4``, in a VGG what the classifier is fed with.

    Returns
    -------
    Tensor (N, 1, H, W), of the images' dtype
        At least 0; no unit. All zero where no gradient is positive.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, ``target`` does not fit them, or the output of
        ``layer`` is not a map (N, C, H, W) of more than one position.
    UsageError
        If the model has no such ``layer``, or its answer does not depend on it.
    CbirError
        If the model has no feature map, or the result is not finite.
    """
    return _cam.activation_map(model, images, target, layer, _positive, "grad-cam++")


def _positive(feature: Tensor, gradient: Tensor) -> Tensor:
    # alpha with g² cancelled: in float32 the third power of a small gradient would be 0.
    below = 2 + gradient * feature.sum((2, 3), keepdim=True)
    alpha = 1 / torch.where(below == 0, 1, below)
    return (alpha * gradient.clamp(min=0)).sum((2, 3), keepdim=True)
