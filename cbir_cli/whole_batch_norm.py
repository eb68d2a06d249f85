"""Batch norm over the images of all processes, so that many of them train as one does with the whole batch."""

from typing import cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cbir_cli.collectives import summed


class WholeBatchNorm(_BatchNorm):
    """Batch norm that, in training, has the mean and variance of all processes' images.

    PyTorch's SyncBatchNorm is the same for GPUs only.
    """

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass  # any: the norm whose place it takes knew its kind

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normed images; their processes must all be here."""
        mean, var = self.running_mean, self.running_var
        if not self.training or mean is None or var is None:
            return super().forward(input)
        over = [0, *range(2, input.dim())]
        own = torch.full((1,), input.numel() // input.shape[1], dtype=torch.float64, device=input.device)
        sums = [input.sum(over, dtype=torch.float64), input.square().sum(over, dtype=torch.float64), own]
        total = summed(torch.cat(sums))
        count = total[-1].item()
        centre, squares = total[:-1].chunk(2)
        centre, spread = centre / count, squares / count - (centre / count).square()
        with torch.no_grad():
            tracked = cast(torch.Tensor, self.num_batches_tracked).add_(1)
            share = 1 / int(tracked) if self.momentum is None else self.momentum
            mean.lerp_(centre.to(mean), share)
            var.lerp_((spread * count / (count - 1)).to(var), share)
        shape = [1, -1, *[1] * (input.dim() - 2)]
        scale = (spread + self.eps).rsqrt()
        normed = (input - centre.to(input).view(shape)) * scale.to(input).view(shape)
        return normed * self.weight.view(shape) + self.bias.view(shape) if self.affine else normed


def convert(module: nn.Module) -> None:
    """Make all batch norms of a network such ones, or on a GPU PyTorch's own; names and weights stay."""
    for name, child in module.named_children():
        if not isinstance(child, _BatchNorm):
            convert(child)
        elif any(value.is_cuda for value in child.state_dict().values()):
            setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        else:
            norm = WholeBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            for slot in (*child._parameters, *child._buffers):
                setattr(norm, slot, getattr(child, slot))
            setattr(module, name, norm.train(child.training))
