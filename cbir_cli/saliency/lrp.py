"""Layer-wise relevance propagation (LRP): the analyzers ``lrp.*`` of iNNvestigate, one for each rule.

Relevance starts at one output and is handed down layer by layer, each input receiving ``sum_j q_ij R_j / z_j``; the
methods differ in ``q`` (see ``propagation_rules``). They agree on the rest: a ReLU hands relevance on as it is, average
pooling, sums of residual branches and batch norms share it by the z rule, and pooling of maxima, concatenation and
padding hand it down as their gradient would.

Parameters
----------
model : torch.nn.Module
    Maps (N, C, H, W) images to (N, K) logits; ReLUs, batch norms, convolutions and linear layers, functional ones too.
    Runs in evaluation mode and is handed back as it came, after an exception too.
images : Tensor (N, C, H, W), float32 or float64
    Normalised as the model expects.
target : Tensor (N,) of int64, int or None
    Output explained for each image. None takes the highest logit, which is the only one of a binary model.
start : str
    Relevance at the output: ``logit`` (a negative one turns the sign of the whole map), ``probability`` (its sigmoid),
    ``relu-logit`` or ``one``.
dialect : str
    What a batch norm does: ``innvestigate-1.0.8`` shares by the z rule whatever the method, ``innvestigate-2`` applies
    the method's own rule to the batch norm as that release fuses it, which is not what the network computes.
epsilon : float
    Added to the sums that relevance is divided by, away from zero; in the units of the layers' outputs.

Returns
-------
Tensor (N, C, H, W), of the images' dtype
    Relevance of either sign. What biases receive is lost on the way, so it sums up to the start value only where no
    layer has a bias, a batch norm's included.

Raises
------
ShapeError
    If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
UsageError
    If ``start`` or ``dialect`` is not one of those named, or ``epsilon`` is not positive.
CbirError
    If the relevance is not finite, or the network uses another activation than ReLU.

Reference
---------
S. Bach et al. On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation. PLOS
ONE 10(7), 2015. (Equations 56 to 60.)
S. Lapuschkin et al. Unmasking Clever Hans predictors and assessing what machines really learn. Nature Communications
10, 2019. (Supplement: the sequential presets.)
M. Alber et al. iNNvestigate neural networks! JMLR 20(93), 2019.

Differs from the authors' code
------------------------------
iNNvestigate 2 fuses a batch norm into one linear layer with the square of the variance under its root and a bias that
lacks the weight. That is kept under ``dialect="innvestigate-2"``; by default a batch norm is what it computes.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from cbir_cli import propagation_rules
from cbir_cli.errors import UsageError
from cbir_cli.propagation import Rules, passed
from cbir_cli.propagation_rules import Layer, Rule
from cbir_cli.registry import unknown
from cbir_cli.saliency import _output

EXPLAINS = "output"

_DIALECTS = ("innvestigate-1.0.8", "innvestigate-2")


def z(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    start: str = "logit",
    dialect: str = "innvestigate-1.0.8",
) -> Tensor:
    """LRP-z: relevance in proportion to input times weight, of either sign; unstable where sums are near zero."""
    return _explain("lrp.z", propagation_rules.z, propagation_rules.z, model, images, target, start, dialect)


def epsilon(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    epsilon: float = 1e-7,
    start: str = "logit",
    dialect: str = "innvestigate-1.0.8",
) -> Tensor:
    """LRP-epsilon: as LRP-z, with a constant that keeps sums away from zero and absorbs relevance."""
    rule = propagation_rules.epsilon(_positive(epsilon, "lrp.epsilon"))
    return _explain("lrp.epsilon", rule, rule, model, images, target, start, dialect)


def w_square(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    start: str = "logit",
    dialect: str = "innvestigate-1.0.8",
) -> Tensor:
    """LRP-w²: relevance in proportion to the squared weights, whatever the inputs are."""
    return _explain(
        "lrp.w-square", propagation_rules.w_square, propagation_rules.w_square, model, images, target, start, dialect
    )


def flat(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    start: str = "logit",
    dialect: str = "innvestigate-1.0.8",
) -> Tensor:
    """LRP-flat: all inputs of a filter receive the same; shows which regions are connected, not what is in them."""
    return _explain("lrp.flat", propagation_rules.flat, propagation_rules.flat, model, images, target, start, dialect)


def alpha_1_beta_0(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    start: str = "logit",
    dialect: str = "innvestigate-1.0.8",
) -> Tensor:
    """LRP-alpha1-beta0: relevance by what speaks for the output alone, biases taking part."""
    rule = propagation_rules.alpha_beta(1, 0)
    return _explain("lrp.alpha-1-beta-0", rule, rule, model, images, target, start, dialect)


def alpha_2_beta_1(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    start: str = "logit",
    dialect: str = "innvestigate-1.0.8",
) -> Tensor:
    """LRP-alpha2-beta1: twice what speaks for the output less what speaks against it, biases taking part."""
    rule = propagation_rules.alpha_beta(2, 1)
    return _explain("lrp.alpha-2-beta-1", rule, rule, model, images, target, start, dialect)


def sequential_preset_a(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    epsilon: float = 0.1,
    start: str = "logit",
    dialect: str = "innvestigate-1.0.8",
) -> Tensor:
    """LRP preset A: epsilon in dense layers, alpha1-beta0 in convolutions."""
    name = "lrp.sequential-preset-a"
    rule = _by_kind(propagation_rules.alpha_beta(1, 0), propagation_rules.epsilon(_positive(epsilon, name)))
    return _explain(name, rule, propagation_rules.alpha_2_beta_1_of_positives, model, images, target, start, dialect)


def sequential_preset_b(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    epsilon: float = 0.1,
    start: str = "logit",
    dialect: str = "innvestigate-1.0.8",
) -> Tensor:
    """LRP preset B: epsilon in dense layers, alpha2-beta1 in convolutions."""
    name = "lrp.sequential-preset-b"
    rule = _by_kind(propagation_rules.alpha_beta(2, 1), propagation_rules.epsilon(_positive(epsilon, name)))
    return _explain(name, rule, propagation_rules.alpha_2_beta_1_of_positives, model, images, target, start, dialect)


def _explain(
    method: str,
    kernel: Rule,
    fused_norm: Rule,
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None,
    start: str,
    dialect: str,
) -> Tensor:
    """Explain by a rule for convolutions and dense layers, and what iNNvestigate 2 applies to its fused batch norms."""
    _output.check_start(start, _output.STARTS, method)
    if dialect not in _DIALECTS:
        raise unknown(f"dialect of {method}", dialect, _DIALECTS)
    norm = _norm if dialect == "innvestigate-1.0.8" else _as_fused(fused_norm)
    rules = Rules(
        kernel=kernel, norm=norm, relu=passed, fused_relu=passed, average=propagation_rules.z, add=propagation_rules.add
    )
    return _output.attribute(model, images, target, method=method, start=start, rules=rules)


def _by_kind(convolution: Rule, dense: Rule) -> Rule:
    def rule(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        return (dense if layer.kind == "dense" else convolution)(layer, inputs, relevance)

    return rule


def _norm(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
    """Share a batch norm's relevance by the z rule, with the stabiliser of iNNvestigate 1: ``x k R / y``."""
    held = layer.statistics
    if held is None:
        return propagation_rules.z(layer, inputs, relevance)
    outputs = layer.run(inputs, layer.weight, layer.bias)
    divisor = (inputs - held.mean) * outputs  # its k is (y - bias) / (x - mean)
    divisor = torch.where(divisor >= 0, divisor + 1e-7, divisor - 1e-7)
    return inputs * (outputs - held.bias) * relevance / divisor


def _as_fused(rule: Rule) -> Rule:
    """Return a batch norm's rule as iNNvestigate 2 applies it, to another linear layer than the batch norm is."""

    def applied(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        held = layer.statistics
        if held is None:
            return rule(layer, inputs, relevance)
        root = torch.sqrt(held.variance**2 + held.eps)
        fused = replace(layer, weight=held.weight / root, bias=held.bias - held.mean / root)
        return rule(fused, inputs, relevance)

    return applied


def _positive(epsilon: float, method: str) -> float:
    if not 0 < epsilon < math.inf:
        raise UsageError(f"epsilon of {method}: expected a finite number above 0, found {epsilon}")
    return epsilon
