"""Deep Taylor: how much of a network's output every pixel explains, as iNNvestigate computes it.

Relevance starts at one output and is handed down layer by layer. A convolution or linear layer hands it to its inputs
in proportion to their positive contributions (the z+ rule): with ``z_j = sum_i x_i+ w_ij+ + x_i- w_ij-``, where + and -
mark the positive and the negative part, input i receives ``sum_j (x_i+ w_ij+ + x_i- w_ij-) R_j / z_j``. The bias takes
no part. Everything else hands relevance down as its gradient would: pooling, concatenation, padding, a ReLU that is a
layer of its own.

Reference
---------
G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller. Explaining nonlinear classification decisions with deep
Taylor decomposition. Pattern Recognition 65, 2017. arXiv:1512.02479. (Section 5.2, the z+ rule.)
M. Alber et al. iNNvestigate neural networks! JMLR 20(93), 2019. The two dialects are its releases.

Differs from the authors' code
------------------------------
iNNvestigate starts at relu(logit), so that an image predicted negative has an all-zero map. Here the start is the
probability, ``sigmoid(logit)``, placed at the logit without the sigmoid's derivative; ``start="relu-logit"`` is theirs.
iNNvestigate 1.0.8 and older let a positive bias take part in the rule; that is not offered. In a DenseNet, where only
the classifier has a bias, it changes nothing but the scale of a map.
Where a layer's input is non-negative the second half of the z+ rule is zero and is not computed: the same map.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from zennit.core import Composite, Hook

from cbir_cli.errors import CbirError, ShapeError
from cbir_cli.registry import unknown

EXPLAINS = "output"

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_STARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "probability": torch.sigmoid,
    "relu-logit": torch.relu,
    "one": torch.ones_like,
}
_DIALECTS = ("innvestigate-1.0.9", "innvestigate-2")


def explain(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    dialect: str = "innvestigate-1.0.9",
    start: str = "probability",
) -> Tensor:
    """Relevance of every input value for one output of the model.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, K) logits; layers are modules, a ReLU before pooling may be functional. It runs
        in evaluation mode and is handed back as it came, after an exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    target : Tensor (N,) of int64, int or None
        Output explained for each image. None takes the highest logit, which is the only one of a binary model.
    dialect : str
        What batch norm does with relevance: ``innvestigate-1.0.9`` (the releases that the papers used) hands it down
        unchanged, ``innvestigate-2`` multiplies it by the gradient.
    start : str
        Relevance at the output: ``probability`` (sigmoid of the logit), ``relu-logit`` (all-zero map where the logit
        is negative) or ``one``.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype
        Relevance; non-negative, except that ``innvestigate-2`` turns its sign at negative batch-norm weights.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
    UsageError
        If ``dialect`` or ``start`` is not one of those named.
    CbirError
        If the relevance is not finite.
    """
    if dialect not in _DIALECTS:
        raise unknown("dialect of deep-taylor", dialect, _DIALECTS)
    if start not in _STARTS:
        raise unknown("start of deep-taylor", start, _STARTS)
    if images.ndim != 4:
        raise ShapeError(f"expected images (N, C, H, W), found {tuple(images.shape)}")
    if not len(images):
        return torch.zeros_like(images)
    # inference_mode(False) switches graphs on, whichever way the caller has switched them off.
    with torch.inference_mode(False), _undisturbed(model), _rules(model, dialect):
        pixels = images.detach().clone().requires_grad_()
        logits = model(pixels)
        chosen = _chosen(logits, target, len(images))
        values = logits.detach().gather(1, chosen)
        seed = torch.zeros_like(logits).scatter(1, chosen, _STARTS[start](values))
        (relevance,) = torch.autograd.grad(logits, pixels, seed)
    if not torch.isfinite(relevance).all():
        raise CbirError("deep-taylor: the relevance is not finite; the network's weights or the images are damaged")
    return relevance


def _chosen(logits: Tensor, target: Tensor | int | None, count: int) -> Tensor:
    """Return the explained outputs as (N, 1) int64."""
    if logits.ndim != 2 or len(logits) != count:
        raise ShapeError(f"expected logits ({count}, K) from the model, found {tuple(logits.shape)}")
    if target is None:
        return logits.detach().argmax(1, keepdim=True)
    chosen = torch.as_tensor(target, device=logits.device)
    if chosen.ndim == 0:
        chosen = chosen.expand(count)
    if chosen.shape != (count,) or chosen.is_floating_point():
        raise ShapeError(f"expected target ({count},) of integers, found {tuple(chosen.shape)} of {chosen.dtype}")
    if count and not (0 <= int(chosen.min()) and int(chosen.max()) < logits.shape[1]):
        raise ShapeError(f"expected targets from 0 to {logits.shape[1] - 1}, found {chosen.unique().tolist()}")
    return chosen.long().unsqueeze(1)


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients inside, everything as before outside."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in wanted:
            parameter.requires_grad_()


@contextmanager
def _rules(model: nn.Module, dialect: str) -> Iterator[None]:
    fused = _fused(model)

    def rule(_context: dict[str, Any], _name: str, module: nn.Module) -> Hook | None:
        if isinstance(module, _LINEAR):
            return _ZPlus()
        if module in fused or (isinstance(module, _NORMS) and dialect == "innvestigate-1.0.9"):
            return _Pass()
        return None

    # In place, the layer below would lose the tensor that its relevance is handed down through.
    in_place = [module for module in fused if module.inplace]
    composite = Composite(module_map=rule)
    try:
        for module in in_place:
            module.inplace = False
        composite.register(model)
        yield
    finally:
        composite.remove()
        for module in in_place:
            module.inplace = True


def _fused(model: nn.Module) -> set[nn.ReLU]:
    """Return the ReLUs that directly follow a convolution or linear layer in one Sequential.

    Keras holds such a pair as one layer, whose rule covers the ReLU too; a ReLU after batch norm is a layer of its own.
    """
    return {
        second
        for module in model.modules()
        if isinstance(module, nn.Sequential)
        for first, second in zip(list(module)[:-1], list(module)[1:], strict=True)
        if isinstance(first, _LINEAR) and isinstance(second, nn.ReLU)
    }


class _ZPlus(Hook):
    """z+ rule. zennit's own also runs the layer's true backward pass, whose result it then drops."""

    def pre_forward(self, module: nn.Module, input: Any) -> None:
        """Leave the input as it is: the output's graph node below is all this rule needs."""

    def post_forward(self, module: nn.Module, input: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Cut the output off its graph and put the rule in place of the layer's gradient."""
        return cast(Tensor, _ZPlusNode.apply(input[0], output.detach(), module))


class _Pass(_ZPlus):
    """Relevance goes through unchanged."""

    def post_forward(self, module: nn.Module, input: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Cut the output off its graph and put the identity in place of the layer's gradient."""
        return cast(Tensor, _PassNode.apply(input[0], output.detach()))


class _PassNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output: Tensor) -> Tensor:
        # Declared as changed in place, the output is an ordinary tensor to autograd: in-place ReLUs may follow.
        ctx.mark_dirty(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        return relevance, None


class _ZPlusNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output: Tensor, module: nn.Module) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.module = module
        ctx.mark_dirty(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None]:
        (inputs,) = ctx.saved_tensors
        return _z_plus(ctx.module, inputs, relevance), None, None


def _z_plus(module: nn.Module, inputs: Tensor, relevance: Tensor) -> Tensor:
    """Share the relevance of a layer's output among its inputs by their positive contributions."""
    weight = cast(Tensor, module.weight).detach()
    pairs = [(inputs, weight.clamp(min=0))]
    if inputs.amin() < 0:
        # Elsewhere this second half is an exact zero, so which images share a batch changes no map.
        pairs = [(inputs.clamp(min=0), weight.clamp(min=0)), (inputs.clamp(max=0), weight.clamp(max=0))]
    with torch.enable_grad():
        parts = [part.detach().requires_grad_() for part, _ in pairs]
        outputs = [_linear(module, part, half) for part, (_, half) in zip(parts, pairs, strict=True)]
    z = outputs[0].detach()
    for output in outputs[1:]:
        z = z + output.detach()
    # Only exact zeros are moved; any other stabiliser gives other maps than iNNvestigate.
    share = relevance / z.masked_fill_(z == 0, 1e-7)
    gradients = torch.autograd.grad(outputs, parts, [share] * len(parts))
    return cast(Tensor, sum(part.detach() * gradient for part, gradient in zip(parts, gradients, strict=True)))


def _linear(module: nn.Module, inputs: Tensor, weight: Tensor) -> Tensor:
    """Return what the layer makes of its inputs with other weights and no bias."""
    if isinstance(module, nn.Linear):
        return nn.functional.linear(inputs, weight)
    return cast(Tensor, cast(Any, module)._conv_forward(inputs, weight, None))
