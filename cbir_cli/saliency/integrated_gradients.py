"""Integrated gradients: the gradient on the way from a reference to the image, times that way.

With reference r, map_i = (x_i - r_i) times the mean of the gradient at ``r + k/steps (x - r)``, k from 0 to steps - 1.

The values of a map add up to logit(image) - logit(reference), were the mean the integral along the way (the paper's
completeness). The sum that stands for the integral lacks the end of the way: the error is ``(D(r) - D(x)) / (2 steps)``
to first order, where D is the derivative of the logit along the whole way x - r. So twice the steps halve it, and there
is none where the network is linear along the way.

Reference
---------
M. Sundararajan, A. Taly, Q. Yan. Axiomatic Attribution for Deep Networks. ICML 2017. arXiv:1703.01365. (Equations 1
and 3, Proposition 1.)

Differs from the authors' code
------------------------------
Equation 3 leaves out the reference and ends at the image (k from 1 to steps). As iNNvestigate, this starts at the
reference and leaves out the image; the two differ by (gradient at the image - gradient at the reference) / steps.
The paper suggests a black reference; 0 is iNNvestigate's, and for normalised input it is the mean grey of ImageNet.
"""

import math

from torch import Tensor, nn

from cbir_cli.errors import UsageError
from cbir_cli.saliency import _output
from cbir_cli.saliency._mean_gradient import mean_gradient

EXPLAINS = "output"


def explain(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    steps: int = 64,
    reference: float = 0.0,
) -> Tensor:
    """Share of every input value in the difference of one logit between the image and a reference.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits. It runs in evaluation mode and is handed back as it came, after an
        exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    target : Tensor (N,) of int64, int or None
        Output explained for each image. None takes the highest logit of the image itself.
    steps : int
        Gradients on the way, at least 1. Time grows linearly with it, memory does not.
    reference : float
        Value of every input of the image where the way begins, in normalised units; 0 is the mean grey of ImageNet.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype
        Logits; positive where a value speaks for the output.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
    UsageError
        If ``steps`` or ``reference`` is out of range.
    CbirError
        If the result is not finite.
    """
    if steps < 1:
        raise UsageError(f"steps of integrated-gradients: expected at least 1, found {steps}")
    if not math.isfinite(reference):
        raise UsageError(f"reference of integrated-gradients: expected a finite number, found {reference}")
    _output.check(images)
    way = images.detach() - reference
    copies = (reference + k / steps * way for k in range(steps))
    gradient = mean_gradient(model, images, target, copies, "integrated-gradients")
    return _output.finite(way * gradient, "integrated-gradients")
