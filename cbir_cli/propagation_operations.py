"""Which of torch's functions is what to a backward pass by rules: the tables behind ``propagation``."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

KERNELS = {
    torch.conv1d: "convolution",
    torch.conv2d: "convolution",
    torch.conv3d: "convolution",
    torch.conv_transpose1d: "convolution",
    torch.conv_transpose2d: "convolution",
    torch.conv_transpose3d: "convolution",
    F.linear: "dense",
}
RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
AVERAGES = {
    F.avg_pool1d,
    F.avg_pool2d,
    F.avg_pool3d,
    F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d,
    torch.mean,
    Tensor.mean,
    torch.sum,  # the z rule does not see the divisor
    Tensor.sum,
}
SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__, Tensor.__radd__}
_POOLINGS = {
    F.max_pool1d,
    F.max_pool2d,
    F.max_pool3d,
    F.adaptive_max_pool1d,
    F.adaptive_max_pool2d,
    F.adaptive_max_pool3d,
    torch.max_pool1d,
    torch.max_pool2d,
    torch.max_pool3d,
    torch.amax,
    Tensor.amax,
}
_REARRANGEMENTS = {
    F.pad,
    F.interpolate,
    F.dropout,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    torch.cat,
    torch.concat,
    torch.concatenate,
    torch.stack,
    torch.flatten,
    torch.reshape,
    torch.permute,
    torch.transpose,
    torch.movedim,
    torch.squeeze,
    torch.unsqueeze,
    torch.clone,
    Tensor.flatten,
    Tensor.reshape,
    Tensor.view,
    Tensor.permute,
    Tensor.transpose,
    Tensor.movedim,
    Tensor.squeeze,
    Tensor.unsqueeze,
    Tensor.expand,
    Tensor.contiguous,
    Tensor.clone,
    Tensor.to,
    Tensor.float,
    Tensor.double,
    Tensor.__getitem__,
    Tensor.T.__get__,  # type: ignore[attr-defined]
    Tensor.mT.__get__,  # type: ignore[attr-defined]
}
_DIFFERENCES = {
    torch.sub,
    Tensor.sub,
    Tensor.sub_,
    Tensor.__sub__,
    Tensor.__isub__,
    Tensor.__rsub__,
    torch.neg,
    Tensor.neg,
}
_QUOTIENTS = {torch.div, Tensor.div, Tensor.div_, Tensor.__truediv__, Tensor.__itruediv__}
PRODUCTS = {torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__imul__, Tensor.__rmul__, *_QUOTIENTS}
IN_PLACE = {
    F.relu_,
    torch.relu_,
    Tensor.relu_,
    Tensor.add_,
    Tensor.__iadd__,
    Tensor.mul_,
    Tensor.__imul__,
    Tensor.div_,
    Tensor.__itruediv__,
}
_LINEAR = {F.batch_norm, *RELUS, *AVERAGES, *SUMS, *_POOLINGS, *_REARRANGEMENTS, *_DIFFERENCES}
"""Where there is no rule, their gradient is the rule."""


def is_linear(func: Any, args: tuple[Any, ...]) -> bool:
    """Return whether an operation is linear in its inputs, or takes their maxima, as every rule assumes."""
    if func in PRODUCTS:  # with a constant
        return sum(map(varies, args)) == 1 and (func not in _QUOTIENTS or varies(args[0]))
    return func in _LINEAR


def varies(argument: Any) -> bool:
    """Return whether this is a tensor that relevance is handed down to."""
    return isinstance(argument, Tensor) and argument.requires_grad
