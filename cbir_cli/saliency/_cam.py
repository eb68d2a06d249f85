"""Class activation maps: a feature map's channels, weighted by what their gradient says, and enlarged to the input."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.registry import unknown
from cbir_cli.saliency import _output

Weights = Callable[[Tensor, Tensor], Tensor]
"""(feature map, its gradient), each (N, K, h, w), to the weights of its channels (N, K, 1, 1)."""


def activation_map(
    model: nn.Module, images: Tensor, target: Tensor | int | None, layer: str, weights: Weights, method: str
) -> Tensor:
    """Return the positive part of a feature map's weighted sum over channels, at the size of the images.

    Parameters
    ----------
    model, images, target
        As for ``_output.attribute``.
    layer : str
        Path of the module whose output is explained, the last one if it runs more than once. Empty: the last feature
        map of more than one position.
    weights : Weights
    method : str
        For messages.

    Returns
    -------
    Tensor (N, 1, H, W), of the images' dtype

    Raises
    ------
    UsageError
        If the model has no such layer, or its answer does not depend on it.
    ShapeError
        If the layer's output is not a map of more than one position, or as ``_output.attribute`` does.
    CbirError
        If the model has no feature map, or the result is not finite.
    """
    _output.check(images)
    if layer:
        _find(model, layer, method)
    if not len(images):
        return images.new_zeros(0, 1, *images.shape[2:])
    with _output.undisturbed(model):
        pixels = images.detach().clone().requires_grad_()
        with _named(model, layer, method) if layer else _Last(pixels) as seen:
            logits = model(pixels)
            last = seen[-1:]
            chosen = _output.choose(logits, target, len(images))
            _output.finite(logits.detach().gather(1, chosen), method)  # the gradient does not show a damaged bias
            one = torch.zeros_like(logits).scatter(1, chosen, 1)
            gradient = torch.autograd.grad(logits, last, one, allow_unused=True)[0] if last else None
    if gradient is None:
        if layer:
            raise UsageError(f"{method}: the network's answer does not depend on its layer {layer}")
        raise CbirError(f"{method}: the network has no feature map of more than one position for these images")
    feature = last[0].detach()
    summed = (weights(feature, gradient) * feature).sum(1, keepdim=True).clamp(min=0)
    return _output.finite(F.interpolate(summed, images.shape[2:], mode="bilinear", align_corners=False), method)


def _find(model: nn.Module, layer: str, method: str) -> nn.Module:
    modules = dict(model.named_modules())
    if layer not in modules:
        names = [name for name in modules if name]
        # A network has hundreds of modules.
        near = get_close_matches(layer, names, 6) or [name for name, _ in model.named_children()]
        raise unknown(f"layer of {method}", layer, near)
    return modules[layer]


@contextmanager
def _named(model: nn.Module, layer: str, method: str) -> Iterator[list[Tensor]]:
    """Collect a module's outputs while the model runs."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        if not _is_map(output):
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ShapeError(f"{method}: expected layer {layer} to give a map (N, C, H, W) of H W > 1, found {found}")
        if output.requires_grad:
            seen.append(output)
        return output.clone()  # what follows may be done in place

    handle = _find(model, layer, method).register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


_CONVOLUTIONS = {torch.conv2d, torch.conv_transpose2d}
_REARRANGEMENTS = {
    torch.permute,
    torch.transpose,
    torch.swapaxes,
    torch.movedim,
    torch.reshape,
    Tensor.permute,
    Tensor.transpose,
    Tensor.swapaxes,
    Tensor.movedim,
    Tensor.reshape,
    Tensor.view,
}


class _Last(TorchFunctionMode):
    """Context that remembers the last feature map of more than one position.

    A feature map is what a convolution gives, and what is made of one, or of the pixels, without moving its axes: not
    every tensor of four axes is one, and a network may flatten by way of (N, H, W, C).
    """

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        self._last: list[Tensor] = []
        _mark(pixels)

    def __enter__(self) -> list[Tensor]:
        super().__enter__()
        return self._last

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do as the function does."""
        output = func(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and output.ndim == 4 and output.requires_grad:
            if func in _CONVOLUTIONS or (func not in _REARRANGEMENTS and _any_marked(args)):
                _mark(output)
                if _is_map(output):
                    self._last[:] = [output]
        return output


def _is_map(output: Any) -> bool:
    return isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1


def _mark(tensor: Tensor) -> None:
    tensor._cbir_map = True  # type: ignore[attr-defined]


def _any_marked(args: Any) -> bool:
    """Return whether a feature map is among the arguments, or in a list among them, as for a concatenation."""
    return any(_any_marked(a) if isinstance(a, list | tuple) else hasattr(a, "_cbir_map") for a in args)
