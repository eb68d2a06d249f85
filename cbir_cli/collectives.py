"""Tensors of several processes put together, with gradients that find their way back."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, distributed

from cbir_cli.distributed import Ranks


class _Summed(torch.autograd.Function):
    """The sum over all processes. Each of them depends on it, so a gradient is the sum of all their gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    return cast(Tensor, _Summed.apply(tensor))


def whole(rows: Tensor, ranks: Ranks, counts: Sequence[int]) -> Tensor:
    """Return the rows of all processes, one after the other.

    Parameters
    ----------
    rows : Tensor (m, ...)
        Those of this process.
    ranks : Ranks
    counts : sequence of int
        How many each process has.
    """
    before, after = sum(counts[: ranks.rank]), sum(counts[ranks.rank + 1 :])
    edges = [rows.new_zeros(n, *rows.shape[1:]) for n in (before, after)]
    return summed(torch.cat([edges[0], rows, edges[1]]))
