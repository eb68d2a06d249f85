"""Deep Taylor: how much of a network's output every pixel explains, as iNNvestigate computes it.

Relevance starts at one output and is handed down layer by layer. A convolution or linear layer hands it to its inputs
in proportion to their positive contributions (the z+ rule): with ``z_j = sum_i x_i+ w_ij+ + x_i- w_ij-``, where + and -
mark the positive and the negative part, input i receives ``sum_j (x_i+ w_ij+ + x_i- w_ij-) R_j / z_j``. Everything else
hands relevance down as its gradient would: pooling, concatenation, sums of residual branches, padding, a ReLU that is a
layer of its own. A ReLU that directly follows a convolution or linear layer is one layer with it, as in Keras.

====================  =============================  ==========================  ==============================
dialect               bias in the rule               batch norm                  first layer
====================  =============================  ==========================  ==============================
innvestigate-1.0.8    takes part                     hands relevance on          z+ with bias
innvestigate-1.0.9    none: never a negative value   hands relevance on          z+
innvestigate-2        none                           multiplies by its gradient  z+
zbox                  none: never a negative value   hands relevance on          z^B for pixels in [low, high]
====================  =============================  ==========================  ==============================

Reference
---------
G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller. Explaining nonlinear classification decisions with deep
Taylor decomposition. Pattern Recognition 65, 2017. arXiv:1512.02479. (Sections 5.2, z+, and 5.3, z^B.)
M. Alber et al. iNNvestigate neural networks! JMLR 20(93), 2019. The dialects are its releases; ``zbox`` is its
``deep_taylor.bounded``.

Differs from the authors' code
------------------------------
iNNvestigate starts at relu(logit), so that an image predicted negative has an all-zero map. Here the start is the
probability, ``sigmoid(logit)``, placed at the logit without the sigmoid's derivative; ``start="relu-logit"`` is theirs.
Where a layer's input is non-negative the second half of the z+ rule is zero and is not computed: the same map.
In a DenseNet, where only the classifier has a bias, the dialects 1.0.8 and 1.0.9 differ in the scale of a map alone.
"""

import math
from dataclasses import replace

from torch import Tensor, nn

from cbir_cli import propagation_rules
from cbir_cli.errors import UsageError
from cbir_cli.propagation import Rules, passed
from cbir_cli.propagation_rules import Layer, Rule
from cbir_cli.registry import unknown
from cbir_cli.saliency import _output

EXPLAINS = "output"

_DIALECTS = {
    "innvestigate-1.0.8": Rules(kernel=propagation_rules.alpha_beta(1, 0), norm=passed, fused_relu=passed),
    "innvestigate-1.0.9": Rules(kernel=propagation_rules.z_plus, norm=passed, fused_relu=passed),
    "innvestigate-2": Rules(kernel=propagation_rules.z_plus, fused_relu=passed),
    "zbox": Rules(kernel=propagation_rules.z_plus, norm=passed, fused_relu=passed),
}
_STARTS = ("probability", "relu-logit", "one")


def explain(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    dialect: str = "innvestigate-1.0.9",
    start: str = "probability",
    low: tuple[float, ...] = (-2.1179, -2.0357, -1.8044),
    high: tuple[float, ...] = (2.2489, 2.4286, 2.6400),
) -> Tensor:
    """Relevance of every input value for one output of the model.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits; ReLUs, batch norms, convolutions and linear layers, functional ones
        too. It runs in evaluation mode and is handed back as it came, after an exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    target : Tensor (N,) of int64, int or None
        Output explained for each image. None takes the highest logit, which is the only one of a binary model.
    dialect : str
        ``innvestigate-1.0.9`` (the releases that the papers used); ``innvestigate-1.0.8``, with biases in the rule;
        ``innvestigate-2``, with batch norm as its gradient; ``zbox``, with the z^B rule in the first layer.
    start : str
        Relevance at the output: ``probability`` (sigmoid of the logit), ``relu-logit`` (all-zero map where the logit
        is negative) or ``one``.
    low, high : tuple of float, one for each channel or one for all
        Smallest and largest value that a pixel can have; black and white after ImageNet's normalisation. Only ``zbox``
        asks for them.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype
        Relevance; non-negative, except that ``innvestigate-1.0.8`` turns its sign where a negative bias outweighs the
        positive contributions, and ``innvestigate-2`` at negative batch-norm weights.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
    UsageError
        If ``dialect`` or ``start`` is not one of those named, or the pixels are not between ``low`` and ``high``.
    CbirError
        If the relevance is not finite, or the network uses another activation than ReLU.
    """
    if dialect not in _DIALECTS:
        raise unknown("dialect of deep-taylor", dialect, _DIALECTS)
    _output.check_start(start, _STARTS, "deep-taylor")
    _output.check(images)
    rules = _DIALECTS[dialect]
    if dialect == "zbox":
        rules = replace(rules, kernel=_bounded_first(images, low, high))
    return _output.attribute(model, images, target, method="deep-taylor", start=start, rules=rules)


def _bounded_first(images: Tensor, low: tuple[float, ...], high: tuple[float, ...]) -> Rule:
    """Return the z^B rule for the first layer and the z+ rule for the others."""
    if not {len(low), len(high)} <= {1, images.shape[1]}:
        raise UsageError(f"low and high of deep-taylor: expected 1 or {images.shape[1]} values")
    if not all(math.isfinite(end) for end in (*low, *high)):
        raise UsageError("low and high of deep-taylor: expected finite numbers")
    ends = [images.new_tensor(end).reshape(-1, 1, 1) for end in (low, high)]
    slack = 1e-3  # of normalised pixels, which are rounded
    if (images < ends[0] - slack).any() or (images > ends[1] + slack).any():
        raise UsageError("low and high of deep-taylor: there are pixels beyond them; give the range of the input")
    bounded = propagation_rules.bounded(*ends)

    def rule(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        return (bounded if layer.order == 0 else propagation_rules.z_plus)(layer, inputs, relevance)

    return rule
