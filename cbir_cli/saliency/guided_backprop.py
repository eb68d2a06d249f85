"""Guided backpropagation: a backward pass in which every ReLU that was active keeps what is positive.

As the gradient, but a ReLU hands down ``max(0, R)`` of what it receives, and nothing where it was not active: both the
gate of the gradient and that of ``deconvnet``. Maps are clear, and mostly show what is in the image: they hardly change
when the upper layers' weights are random.

Reference
---------
J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller. Striving for Simplicity: The All Convolutional Net. ICLR
Workshop 2015. arXiv:1412.6806. (Figure 1.)
J. Adebayo et al. Sanity Checks for Saliency Maps. NeurIPS 2018. arXiv:1810.03292. (What random weights show.)

Differs from the authors' code
------------------------------
iNNvestigate starts with the output's own value, ``start="logit"``: where the logit is negative, all that ReLUs keep is
the support of the opposite. Here every image starts with 1, as the papers and Captum do.
"""

import torch
from torch import Tensor, nn

from cbir_cli.propagation import Rules
from cbir_cli.saliency import _output

EXPLAINS = "output"

_STARTS = ("one", "logit", "probability")


def explain(model: nn.Module, images: Tensor, target: Tensor | int | None = None, *, start: str = "one") -> Tensor:
    """One output handed back to every input value, with only what is positive passing an active ReLU.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits with ReLUs, functional ones too. It runs in evaluation mode and is
        handed back as it came, after an exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    target : Tensor (N,) of int64, int or None
        Output explained for each image. None takes the highest logit, which is the only one of a binary model.
    start : str
        Value at the output: ``one``, ``probability`` (sigmoid of the logit) or ``logit``. The first two differ in the
        scale of a map alone; a negative ``logit`` explains what speaks against the output.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype
        Of either sign, since the first layer's weights are; no unit.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
    UsageError
        If ``start`` is not one of those named.
    CbirError
        If the result is not finite, or the network uses another activation than ReLU.
    """
    _output.check_start(start, _STARTS, "guided-backprop")
    return _output.attribute(model, images, target, method="guided-backprop", start=start, rules=_RULES)


def _guided(inputs: Tensor, relevance: Tensor) -> Tensor:
    return torch.where(inputs > 0, relevance.clamp(min=0), 0)


_RULES = Rules(relu=_guided, fused_relu=_guided)
