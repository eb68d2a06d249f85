"""Grad-CAM: where the last feature map holds what the output responds to.

With A_k the channels of the feature map and a_k the mean over all positions of the gradient of the logit by A_k, the
map is ``max(0, sum_k a_k A_k)``, enlarged to the input.

Reference
---------
R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra. Grad-CAM: Visual Explanations from Deep Networks
via Gradient-based Localization. ICCV 2017. arXiv:1610.02391. (Equations 1 and 2.)

Differs from the authors' code
------------------------------
The paper takes the last convolution, this the last feature map: in a DenseNet and a ResNet that is not the same, and
the latter is what the network goes on with. A map is not divided by its maximum.
"""

from torch import Tensor, nn

from cbir_cli.saliency import _cam

EXPLAINS = "output"


def explain(model: nn.Module, images: Tensor, target: Tensor | int | None = None, *, layer: str = "") -> Tensor:
    """Support of every place for one output, by the gradient's mean over a feature map.

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
        Path of the module whose output is the feature map, as ``features.denseblock3``. Default (an empty string) is
        the last map of more than one position: in a DenseNet the ReLU after the last norm, in a ResNet ``layer4``, in
        a VGG what the classifier is fed with.

    Returns
    -------
    Tensor (N, 1, H, W), of the images' dtype
        Logits, at least 0: with a global average before a linear output, the positions of the feature map add up to the
        logit less its bias, before negative ones are left out. All zero where nothing speaks for the output.

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
    return _cam.activation_map(model, images, target, layer, _mean, "grad-cam")


def _mean(_feature: Tensor, gradient: Tensor) -> Tensor:
    return gradient.mean((2, 3), keepdim=True)
