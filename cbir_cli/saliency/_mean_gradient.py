"""The mean gradient over changed copies of the images: what integrated gradients and SmoothGrad share."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from cbir_cli.saliency import _output


def mean_gradient(
    model: nn.Module, images: Tensor, target: Tensor | int | None, copies: Iterable[Tensor], method: str
) -> Tensor:
    """Return the mean over the copies of the gradient of one output, which is chosen on the images as they are.

    Parameters
    ----------
    model, images, target
        As for ``_output.attribute``.
    copies : iterable of Tensor (N, C, H, W)
        At least one. They run one after the other, so that memory does not grow with their number.
    method : str
        For messages.

    Returns
    -------
    Tensor (N, C, H, W), of the images' dtype

    Raises
    ------
    ShapeError, CbirError
        As ``_output.attribute`` does.
    """
    if target is None and len(images):
        with _output.undisturbed(model):
            target = _output.choose(model(images.detach().clone()), None, len(images)).squeeze(1)
    total, count = torch.zeros_like(images, requires_grad=False), 0
    for copy in copies:
        total = total + _output.attribute(model, copy, target, method=method)
        count += 1
    return total / count
