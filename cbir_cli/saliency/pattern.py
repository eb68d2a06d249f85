"""PatternNet and PatternAttribution: a backward pass through what neurons detect instead of what they are weighted by.

A neuron's weights say how to filter its input, which includes suppressing what disturbs; its pattern says what the
signal in the input looks like that it reads. The pattern of a neuron with weights w is fitted on images, over the
inputs x (for a convolution every position) at which it is active:
``a = (E+[x y] - E+[x] E[y]) / (w.(E+[x y] - E+[x] E[y]))``, with y = w.x, so that w.a = 1. Active means a positive
output, of the batch norm where one directly follows; the neurons of the last layer always are. PatternNet sends the
output's value back through the patterns, PatternAttribution through weight times pattern; ReLUs let through what their
gradient does.

Parameters
----------
model : torch.nn.Module
    Maps (N, C, H, W) images to (N, K) logits; ReLUs, batch norms, 2-D convolutions of one group and linear layers.
    Runs in evaluation mode and is handed back as it came, after an exception too.
images : Tensor (N, C, H, W), float32 or float64
    Normalised as the model expects.
target : Tensor (N,) of int64, int or None
    Output explained for each image. None takes the highest logit, which is the only one of a binary model.
fitted : mapping of str to Tensor
    The patterns, as ``fit`` returns them.
start : str
    Value at the output: ``logit`` (a negative one turns the sign of the whole map), ``probability``, ``relu-logit`` or
    ``one``.

Returns
-------
Tensor (N, C, H, W), of the images' dtype
    Of either sign. PatternNet: the signal, scaled to a largest magnitude of 1. PatternAttribution: how much it
    contributes.

Raises
------
ShapeError
    If ``images`` is not 4-D, the model gives no (N, K) logits, or ``target`` does not fit them.
UsageError
    If ``start`` is not one of those named.
CbirError
    If the patterns are those of another network, the values are not finite, or the network has layers that the methods
    are not defined for.

Reference
---------
P.-J. Kindermans et al. Learning how to explain neural networks: PatternNet and PatternAttribution. ICLR 2018.
arXiv:1705.05598. (Section 4, equations 5 to 7 and the two-component estimator.)
M. Alber et al. iNNvestigate neural networks! JMLR 20(93), 2019. (``pattern.net``, ``pattern.attribution``, release 1.)

Differs from the authors' code
------------------------------
iNNvestigate refuses batch norm. A batch norm multiplies each value by a k of its own, and the pattern of a neuron of
one input is 1/k, so PatternNet divides by k and PatternAttribution hands on as it is. iNNvestigate scales PatternNet's
values to [-1, 1] wherever all paths meet, to keep them finite; here they are float64, and the map alone is scaled. It
also counts the outputs of the last layer, which no ReLU follows, as active where they are positive only.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cbir_cli import propagation_rules
from cbir_cli.errors import CbirError
from cbir_cli.propagation import Rules, passed
from cbir_cli.propagation_operations import KERNELS
from cbir_cli.propagation_rules import Layer
from cbir_cli.saliency import _output

EXPLAINS = "output"


def net(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    fitted: Mapping[str, Tensor],
    start: str = "logit",
) -> Tensor:
    """PatternNet: the signal in the image that the output reads."""

    def kernel(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        return propagation_rules.backwards(layer, _pattern(fitted, layer), inputs, relevance)

    def norm(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        scale = propagation_rules.weight_of(layer)
        return torch.where(scale == 0, 0, relevance / torch.where(scale == 0, 1, scale))

    _output.check_start(start, _output.STARTS, "pattern.net")
    rules = Rules(kernel=kernel, norm=norm)
    # In a hundred layers the values outgrow float32.
    wide = copy.deepcopy(model).double()
    signal = _output.attribute(wide, images.double(), target, method="pattern.net", start=start, rules=rules)
    largest = signal.abs().amax((1, 2, 3), keepdim=True) if signal.numel() else signal.new_ones(())
    return (signal / torch.where(largest == 0, 1, largest)).to(images.dtype)


def attribution(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    fitted: Mapping[str, Tensor],
    start: str = "logit",
) -> Tensor:
    """PatternAttribution: how much the signal at each pixel contributes to the output."""

    def kernel(layer: Layer, inputs: Tensor, relevance: Tensor) -> Tensor:
        weight = propagation_rules.weight_of(layer) * _pattern(fitted, layer)
        return propagation_rules.backwards(layer, weight, inputs, relevance)

    _output.check_start(start, _output.STARTS, "pattern.attribution")
    rules = Rules(kernel=kernel, norm=passed)
    return _output.attribute(model, images, target, method="pattern.attribution", start=start, rules=rules)


def fit(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Fit the pattern of every neuron.

    Parameters
    ----------
    model : torch.nn.Module
        As for the methods.
    batches : iterable of Tensor (B, C, H, W)
        Images, prepared as the model expects; a few hundred are enough for most networks.

    Returns
    -------
    dict of str to Tensor
        Under the number of each convolution and linear layer, in the order in which they run: patterns of the shape of
        its weights, float32.

    Raises
    ------
    CbirError
        If a layer is not a 2-D convolution of one group or a linear layer, or there is no image.
    """
    moments: dict[int, _Moments] = {}
    with _output.undisturbed(model), torch.no_grad():
        for batch in batches:
            _output.check(batch)
            with _Observation(moments) as observed:
                model(batch)
            observed.finish(last=True)
    if not moments:
        raise CbirError("pattern: there is no image to fit the patterns on")
    return {str(order): moments[order].pattern() for order in sorted(moments)}


class _Moments:
    """Sums over the inputs of one layer's neurons: (d,) inputs, C neurons."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach()
        flat = self.weight.flatten(1).double()  # (C, d)
        self.count = flat.new_zeros(len(flat))
        self.active = flat.new_zeros(len(flat))
        self.y = flat.new_zeros(len(flat))
        self.x, self.xy = torch.zeros_like(flat), torch.zeros_like(flat)

    def add(self, x: Tensor, y: Tensor, mask: Tensor) -> None:
        """Add inputs (N, d, L), neurons' values (N, C, L) without their bias, and where these are active."""
        on = mask.to(x.dtype)
        self.count += y.shape[0] * y.shape[2]
        self.active += on.sum((0, 2), dtype=torch.float64)
        self.y += y.sum((0, 2), dtype=torch.float64)
        self.x += torch.einsum("ncl,ndl->cd", on, x).double()
        self.xy += torch.einsum("ncl,ndl->cd", on * y, x).double()

    def pattern(self) -> Tensor:
        """Return the patterns in the shape of the weights; zero for a neuron that is never active."""
        active = self.active.clamp(min=1)[:, None]
        covariance = self.xy / active - self.x / active * (self.y / self.count)[:, None]
        along = (self.weight.flatten(1) * covariance).sum(1, keepdim=True)
        return (covariance / torch.where(along == 0, 1, along)).reshape(self.weight.shape).float()


class _Observation(TorchFunctionMode):
    """One forward pass whose layers' inputs and outputs are summed up."""

    def __init__(self, moments: dict[int, _Moments]) -> None:
        super().__init__()
        self._moments = moments
        self._order = 0
        self._waiting: tuple[int, Tensor, Tensor, Tensor] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do as the function does, and note what a layer reads and says."""
        output = func(*args, **(kwargs or {}))
        if func in KERNELS:
            self.finish()
            self._begin(func, output, *args, **(kwargs or {}))
        elif func is F.batch_norm and self._waiting and args[0] is self._waiting[3]:
            self._waiting = (*self._waiting[:3], output)  # a neuron is active where its batch norm is
            self.finish()
        return output

    def _begin(
        self,
        func: Any,
        output: Tensor,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        *others: Any,  # of the operations that are refused
    ) -> None:
        if func is F.linear and input.ndim == 2:
            inputs = input[:, :, None]
        elif func is torch.conv2d and groups == 1 and not isinstance(padding, str):
            inputs = F.unfold(input, weight.shape[2:], dilation=dilation, padding=padding, stride=stride)
        else:
            raise CbirError("pattern: patterns are defined for 2-D convolutions of one group and for linear layers")
        values = output if bias is None else output - bias.reshape(1, -1, *[1] * (output.ndim - 2))
        self._moments.setdefault(self._order, _Moments(weight))
        self._waiting = (self._order, inputs, values.flatten(2) if values.ndim > 2 else values[:, :, None], output)
        self._order += 1

    def finish(self, *, last: bool = False) -> None:
        """Sum up the layer that ran last, whose neurons are active where its output is positive."""
        if self._waiting:
            order, inputs, values, output = self._waiting
            active = torch.ones_like(values, dtype=torch.bool) if last else output.reshape(values.shape) > 0
            self._moments[order].add(inputs, values, active)
            self._waiting = None


def _pattern(fitted: Mapping[str, Tensor], layer: Layer) -> Tensor:
    weight, pattern = propagation_rules.weight_of(layer), fitted.get(str(layer.order))
    if pattern is None or pattern.shape != weight.shape:
        raise CbirError("pattern: the patterns are those of another network")
    return pattern.to(weight)
