"""Gradient: how fast the output changes with every input value.

The plainest explanation of a network, and what most others are measured against. It says what a small change would do,
not what the output is made of: ``input-t-gradient`` and ``integrated-gradients`` do that.

Reference
---------
K. Simonyan, A. Vedaldi, A. Zisserman. Deep Inside Convolutional Networks: Visualising Image Classification Models and
Saliency Maps. ICLR Workshop 2014. arXiv:1312.6034. (Section 3.1.)

Differs from the authors' code
------------------------------
The paper takes the magnitude and its maximum over channels. As in iNNvestigate, signs and channels are kept.
"""

from torch import Tensor, nn

from cbir_cli.registry import unknown
from cbir_cli.saliency import _output

EXPLAINS = "output"

_POSTPROCESS = {"": lambda gradient: gradient, "abs": Tensor.abs, "square": Tensor.square}


def explain(model: nn.Module, images: Tensor, target: Tensor | int | None = None, *, postprocess: str = "") -> Tensor:
    """Gradient of one logit by every input value.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits. It runs in evaluation mode and is handed back as it came, after an
        exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    target : Tensor (N,) of int64, int or None
        Output explained for each image. None takes the highest logit, which is the only one of a binary model.
    postprocess : str
        What becomes of each value: nothing (an empty string), ``abs`` or ``square``.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype
        Logits per unit of the normalised input; with ``square``, the square of that.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
    UsageError
        If ``postprocess`` is not one of those named.
    CbirError
        If the result is not finite.
    """
    if postprocess not in _POSTPROCESS:
        raise unknown("postprocess of gradient", postprocess, [name for name in _POSTPROCESS if name])
    gradient = _output.attribute(model, images, target, method="gradient")
    return _output.finite(_POSTPROCESS[postprocess](gradient), "gradient")
