"""A backward pass in which operations hand relevance down by rules instead of by their gradient.

``Propagation`` stands between a network and torch's functions while the network runs. It replaces the graph node of the
operations that have a rule, leaves padding, concatenation, maxima and the like their gradient, and refuses all others.
It sees a functional ReLU, a pooling or the sum of a residual branch just as it sees a module, and it changes nothing on
the network: no hooks, no copies of layers, no other forward methods.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from cbir_cli.errors import CbirError
from cbir_cli.propagation_operations import AVERAGES, IN_PLACE, KERNELS, PRODUCTS, RELUS, SUMS, is_linear, varies
from cbir_cli.propagation_rules import Layer, Rule, Statistics

ActivationRule = Callable[[Tensor, Tensor], Tensor]
"""(inputs of a ReLU, relevance of its outputs) to the relevance of its inputs."""


def passed(*given: Any) -> Any:
    """Return the relevance as it is: the rule, of a layer or an activation, that needs nothing but the relevance."""
    return given[-1]


@dataclass(frozen=True)
class Rules:
    """What hands relevance down where; None is the gradient.

    Attributes
    ----------
    kernel : Rule
        Convolutions and dense layers.
    norm : Rule
        Batch norm.
    relu, fused_relu : ActivationRule
        A ReLU; the same where it directly follows a convolution or dense layer, which Keras holds as one layer.
    average : Rule
        Average pooling, the mean or sum over positions, and a product with a constant.
    add : callable
        (one summand, the other, relevance of the sum) to the relevance of each.
    """

    kernel: Rule | None = None
    norm: Rule | None = None
    relu: ActivationRule | None = None
    fused_relu: ActivationRule | None = None
    average: Rule | None = None
    add: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


class Propagation(TorchFunctionMode):
    """Context in which a network's forward and backward pass follow the rules.

    Parameters
    ----------
    rules : Rules
    method : str
        For messages.

    Raises
    ------
    CbirError
        When the network uses an operation that the rules are not defined for.
    """

    def __init__(self, rules: Rules, method: str) -> None:
        super().__init__()
        self._rules, self._method = rules, method
        self._kernels = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do as the function does, with another node in the graph where there is a rule."""
        kwargs, rules = kwargs or {}, self._rules
        if any(_is_marked(tensor, "replaced") for tensor in _tensors(args)):
            raise CbirError(
                f"{self._method}: the network goes on with a tensor that {_name(func)} finds changed in place"
            )
        if func in KERNELS:
            return self._kernel(func, *args, **kwargs)
        if func in RELUS:
            return self._relu(func, *args, **kwargs)
        if func is F.batch_norm and rules.norm:
            return self._norm(rules.norm, *args, **kwargs)
        if func in AVERAGES and rules.average:
            return self._average(rules.average, func, *args, **kwargs)
        if func in SUMS and rules.add and not kwargs and _alike(args):
            output = self._replace(_plain(torch.add, *args), rules.add, *args)
            if func in IN_PLACE:
                _mark(args[0], "replaced")
            return output
        if func in PRODUCTS and rules.average and is_linear(func, args):
            return self._scaled(rules.average, func, *args, **kwargs)
        output = func(*args, **kwargs)
        if isinstance(output, Tensor) and output.requires_grad and not is_linear(func, args):
            raise CbirError(f"{self._method}: is defined for networks of ReLUs; this one uses {_name(func)}")
        return output

    def _kernel(
        self, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **named: Any
    ) -> Tensor:
        if self._rules.kernel:
            layer = Layer(
                lambda inputs, weight, bias: func(inputs, weight, bias, *rest, **named),
                weight.detach(),
                None if bias is None else bias.detach(),
                KERNELS[func],
                self._kernels,
                _is_marked(input, "positive"),
            )
            output = self._follow(self._rules.kernel, layer, input, _plain(func, input, weight, bias, *rest, **named))
        else:
            output = func(input, weight, bias, *rest, **named)
        self._kernels += 1
        return _mark(output, "kernel")

    def _relu(self, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rule = self._rules.fused_relu if _is_marked(input, "kernel") else self._rules.relu
        if rule:
            output = self._replace(_plain(torch.relu, input), _alone(rule), input, keep=rule is not passed)
            if func in IN_PLACE or True in (*args, *kwargs.values()):
                # What it returns goes on; the tensor itself still holds what it held before.
                _mark(input, "replaced")
        else:
            output = func(input, *args, **kwargs)
        return _mark(output, "positive")

    def _norm(
        self,
        rule: Rule,
        input: Tensor,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if training or mean is None or variance is None:
            raise CbirError(f"{self._method}: a batch norm without running statistics has no rule")
        shape = (-1, *[1] * (input.ndim - 2))
        held = Statistics(
            mean.reshape(shape),
            variance.reshape(shape),
            (torch.ones_like(mean) if weight is None else weight.detach()).reshape(shape),
            (torch.zeros_like(mean) if bias is None else bias.detach()).reshape(shape),
            eps,
        )
        # In evaluation a batch norm is a multiplication and an addition.
        scale = (held.variance + eps).rsqrt() * held.weight
        layer = Layer(_multiply, scale, held.bias - held.mean * scale, "norm", statistics=held)
        output = _plain(F.batch_norm, input, mean, variance, weight, bias, False, momentum, eps)
        return self._follow(rule, layer, input, output)

    def _average(self, rule: Rule, func: Any, input: Tensor, *rest: Any, **named: Any) -> Tensor:
        layer = Layer(lambda inputs, weight, bias: func(inputs, *rest, **named), None, None, "average")
        return self._follow(rule, layer, input, _plain(func, input, *rest, **named))

    def _scaled(self, rule: Rule, func: Any, *args: Any, **named: Any) -> Tensor:
        input = next(a for a in args if varies(a))
        scale = _plain(func, *(torch.ones_like(a) if varies(a) else a for a in args), **named)
        layer = Layer(lambda inputs, weight, bias: inputs * scale, None, None, "average")
        output = self._follow(rule, layer, input, input.detach() * scale)
        if func in IN_PLACE:
            _mark(input, "replaced")
        return output

    def _follow(self, rule: Rule, layer: Layer, input: Tensor, output: Tensor) -> Tensor:
        return self._replace(output, _alone(partial(rule, layer)), input, keep=rule is not passed)

    def _replace(
        self, output: Tensor, rule: Callable[..., tuple[Tensor, ...]], *inputs: Tensor, keep: bool = True
    ) -> Tensor:
        return cast(Tensor, _Node.apply(self, output, rule, keep, *inputs))


def _tensors(args: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among arguments, those of lists too."""
    for a in args:
        if isinstance(a, Tensor):
            yield a
        elif isinstance(a, list | tuple):
            yield from _tensors(a)


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", func)).strip("_")


def _multiply(inputs: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return ``inputs * weight + bias``: what a batch norm does after training."""
    scaled = inputs if weight is None else inputs * weight
    return scaled if bias is None else scaled + bias


def _alike(args: tuple[Any, ...]) -> bool:
    """Return whether these are two maps of one shape, as a residual block adds them."""
    if len(args) != 2 or not all(isinstance(a, Tensor) and a.requires_grad for a in args):
        return False
    return bool(args[0].shape == args[1].shape)


def _mark(tensor: Tensor, name: str) -> Tensor:
    """Remember where a tensor comes from, for as long as nothing changes it in place."""
    setattr(tensor, f"_cbir_{name}", tensor._version)
    return tensor


def _is_marked(tensor: Tensor, name: str) -> bool:
    version = getattr(tensor, f"_cbir_{name}", None)  # tensors of the inference mode have none, and are not marked
    return version is not None and version == tensor._version


def _alone(rule: Callable[..., Tensor]) -> Callable[..., tuple[Tensor]]:
    return lambda *given: (rule(*given),)


def _plain(func: Callable[..., Tensor], *args: Any, **named: Any) -> Tensor:
    with torch.no_grad():
        return func(*args, **named)


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        within: Propagation,
        output: Tensor,
        rule: Callable[..., tuple[Tensor, ...]],
        keep: bool,
        *inputs: Tensor,
    ) -> Tensor:
        ctx.within, ctx.rule = within, rule
        ctx.save_for_backward(*inputs if keep else ())
        # Declared as changed in place, the output is an ordinary tensor to autograd: in-place operations may follow.
        ctx.mark_dirty(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        with ctx.within:  # a DenseNet that saves memory runs parts of its forward pass again to have them
            saved = ctx.saved_tensors
        return None, None, None, None, *ctx.rule(*saved, relevance)
