"""How a layer that is linear in its input hands relevance down: the rules of layer-wise relevance propagation.

With inputs ``x_i``, weights ``w_ij``, bias ``b_j`` and relevance ``R_j`` of the outputs, every rule has the form
``R_i = sum_j q_ij R_j / z_j`` with ``z_j`` the sum of the ``q_ij`` and, where it takes part, the bias.

Reference
---------
S. Bach et al. On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation. PLOS
ONE 10(7), 2015. (Equations 56 to 60: z, epsilon and alpha-beta.)
G. Montavon et al. Explaining nonlinear classification decisions with deep Taylor decomposition. Pattern Recognition 65,
2017. arXiv:1512.02479. (Sections 5.1 to 5.3: w squared, z+, z^B.)
S. Lapuschkin et al. Unmasking Clever Hans predictors and assessing what machines really learn. Nature Communications
10, 2019. (Supplement: the flat rule.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-7
"""What iNNvestigate divides by where a sum is exactly zero; any other stabiliser gives other maps."""


@dataclass(frozen=True)
class Statistics:
    """What a batch norm holds, (C, 1, 1) each: ``(x - mean) / sqrt(variance + eps) * weight + bias``."""

    mean: Tensor
    variance: Tensor
    weight: Tensor
    bias: Tensor
    eps: float


@dataclass(frozen=True)
class Layer:
    """An operation that is linear in its input: a convolution, a dense layer, a batch norm, an average.

    Attributes
    ----------
    run : callable
        (inputs, weight, bias or None) to outputs: the operation with other weights.
    weight, bias : Tensor or None
        Its own; an average has none. Those of a batch norm are what it multiplies by and adds, (C, 1, 1).
    kind : str
        ``convolution``, ``dense``, ``norm`` or ``average``.
    order : int
        Which of the network's convolutions and dense layers it is, from 0; -1 for other layers.
    positive : bool
        Whether its inputs are known to be non-negative, since they come from a ReLU.
    statistics : Statistics or None
        Of a batch norm.
    """

    run: Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
    weight: Tensor | None
    bias: Tensor | None
    kind: str
    order: int = -1
    positive: bool = False
    statistics: Statistics | None = None


Rule = Callable[[Layer, Tensor, Tensor], Tensor]
"""(layer, inputs, relevance of the outputs) to the relevance of the inputs."""


def epsilon(size: float) -> Rule:
    """Return the epsilon rule: ``q = x w``, and ``size`` added to ``z`` away from zero; the bias takes part."""

    def rule(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        def stable(z: Tensor) -> Tensor:
            return torch.where(z >= 0, z + size, z - size)

        return _share(layer, [(inputs, layer.weight)], layer.bias, relevance, stable)

    return rule


def z(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
    """``q = x w``; the bias takes part."""
    return _share(layer, [(inputs, layer.weight)], layer.bias, relevance)


def z_plus(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
    """``q = x+ w+ + x- w-``, without the bias."""
    return _share(layer, _activators(layer, inputs), None, relevance)


def alpha_beta(alpha: float, beta: float) -> Rule:
    """Return the rule ``alpha`` times the activators' share less ``beta`` times the inhibitors', bias in both.

    Activators are ``x+ w+ + x- w-``, inhibitors ``x+ w- + x- w+``. iNNvestigate adds the whole bias, not its positive
    and negative part, to each of the two sums.
    """

    def rule(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        shared = alpha * _share(layer, _activators(layer, inputs), layer.bias, relevance)
        if beta:
            shared = shared - beta * _share(layer, _inhibitors(layer, inputs), layer.bias, relevance)
        return shared

    return rule


def alpha_2_beta_1_of_positives(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
    """Twice the share by ``x+ w+`` less once the share by ``x+ w-``, each with its half of the bias.

    iNNvestigate 2 has it, as ``AlphaBetaX2m100Rule``, for the batch norms of its presets.
    """
    positive, weight = inputs.clamp(min=0), weight_of(layer)
    bias = torch.zeros_like(weight) if layer.bias is None else layer.bias
    activators = _share(layer, [(positive, weight.clamp(min=0))], bias.clamp(min=0), relevance)
    return 2 * activators - _share(layer, [(positive, weight.clamp(max=0))], bias.clamp(max=0), relevance)


def w_square(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
    """``q = w²``: the inputs' values do not matter."""
    return _by_weight(layer, weight_of(layer).square(), inputs, relevance)


def flat(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
    """``q = 1``: every input of a filter gets the same."""
    return _by_weight(layer, torch.ones_like(weight_of(layer)), inputs, relevance)


def bounded(low: Tensor, high: Tensor) -> Rule:
    """Return the z^B rule for inputs from ``low`` to ``high``, (C, 1, 1): ``q = x w - low w+ - high w-``, no bias."""

    def rule(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        weight = weight_of(layer)
        parts = [
            (inputs, weight),
            (low.expand_as(inputs), -weight.clamp(min=0)),
            (high.expand_as(inputs), -weight.clamp(max=0)),
        ]
        return _share(layer, parts, None, relevance)

    return rule


def positive_average(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
    """Share an average's relevance in proportion to its inputs where none is negative, else equally.

    A sum of inputs of both signs may be near zero, and what is divided by it without bounds.
    """
    if layer.positive or inputs.amin() >= 0:
        return _share(layer, [(inputs, None)], None, relevance)
    received = layer.run(torch.ones_like(inputs), None, None)
    return backwards(layer, None, inputs, relevance / _not_zero(received))


def positive_add(one: Tensor, other: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Share the relevance of a sum in proportion to the positive parts of the summands; equally where there is none."""
    first, second = one.clamp(min=0), other.clamp(min=0)
    total = first + second
    share = torch.where(total > 0, first / _not_zero(total), 0.5) * relevance
    return share, relevance - share


def add(one: Tensor, other: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Share the relevance of a sum in proportion to the summands."""
    share = relevance / _not_zero(one + other)
    return one * share, other * share


def _activators(layer: Layer, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    weight = weight_of(layer)
    return _halves(layer, inputs, weight.clamp(min=0), weight.clamp(max=0))


def _inhibitors(layer: Layer, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    weight = weight_of(layer)
    return _halves(layer, inputs, weight.clamp(max=0), weight.clamp(min=0))


def _halves(layer: Layer, inputs: Tensor, of_positive: Tensor, of_negative: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the positive and the negative inputs with the weights that they meet; negative ones only if any is."""
    # Where there are none, the second half is an exact zero, so which images share a batch changes no map.
    if layer.positive or inputs.amin() >= 0:
        return [(inputs, of_positive)]
    return [(inputs.clamp(min=0), of_positive), (inputs.clamp(max=0), of_negative)]


def _share(
    layer: Layer,
    parts: Sequence[tuple[Tensor, Tensor | None]],
    bias: Tensor | None,
    relevance: Tensor,
    stable: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Share the relevance among the inputs in proportion to what ``parts``, inputs with weights, add to the outputs."""
    with torch.enable_grad():
        given = [inputs.detach().requires_grad_() for inputs, _ in parts]
        outputs = [
            layer.run(inputs, weight, bias if i == 0 else None)
            for i, (inputs, (_, weight)) in enumerate(zip(given, parts, strict=True))
        ]
    total = outputs[0].detach()
    for output in outputs[1:]:
        total = total + output.detach()
    share = relevance / (stable or _not_zero)(total)
    gradients = torch.autograd.grad(outputs, given, [share] * len(given))
    shared = given[0].detach() * gradients[0]
    for inputs, gradient in zip(given[1:], gradients[1:], strict=True):
        shared += inputs.detach() * gradient
    return shared


def _by_weight(layer: Layer, weight: Tensor, inputs: Tensor, relevance: Tensor) -> Tensor:
    received = layer.run(torch.ones_like(inputs[:1]), weight, None)
    return backwards(layer, weight, inputs, relevance / _not_zero(received))


def backwards(layer: Layer, weight: Tensor | None, inputs: Tensor, relevance: Tensor) -> Tensor:
    """Send values from a layer's outputs to its inputs (of which only the shape matters) through other weights."""
    with torch.enable_grad():
        given = inputs.detach().requires_grad_()
        output = layer.run(given, weight, None)
    return torch.autograd.grad(output, given, relevance)[0]


def _not_zero(total: Tensor) -> Tensor:
    return torch.where(total == 0, _TINY, total)


def weight_of(layer: Layer) -> Tensor:
    """Return the weights of a layer that has some."""
    if layer.weight is None:
        raise TypeError(f"a layer of kind {layer.kind} has no weights")
    return layer.weight
