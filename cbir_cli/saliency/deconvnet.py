"""Deconvnet: a backward pass in which every ReLU keeps what is positive on the way down.

As the gradient, but a ReLU hands down ``max(0, R)`` of what it receives, whether it was active or not.

Reference
---------
M. D. Zeiler, R. Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014. arXiv:1311.2901.
(Section 2.1.)
J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller. Striving for Simplicity: The All Convolutional Net. ICLR
Workshop 2015. arXiv:1412.6806. (Figure 1.)

Differs from the authors' code
------------------------------
Zeiler and Fergus start at a feature inside the network, this at an output. Everything but a ReLU has its gradient; for
max pooling that is their switches.
iNNvestigate starts with the output's own value, ``start="logit"``: where the logit is negative, all that ReLUs keep is
the support of the opposite. Here every image starts with 1, as the papers and Captum do.
"""

from torch import Tensor, nn

from cbir_cli.propagation import Rules
from cbir_cli.saliency import _output

EXPLAINS = "output"

_STARTS = ("one", "logit", "probability")


def explain(model: nn.Module, images: Tensor, target: Tensor | int | None = None, *, start: str = "one") -> Tensor:
    """One output handed back to every input value, with only what is positive passing a ReLU.

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
    _output.check_start(start, _STARTS, "deconvnet")
    return _output.attribute(model, images, target, method="deconvnet", start=start, rules=_RULES)


def _positive(_inputs: Tensor, relevance: Tensor) -> Tensor:
    return relevance.clamp(min=0)


_RULES = Rules(relu=_positive, fused_relu=_positive)
