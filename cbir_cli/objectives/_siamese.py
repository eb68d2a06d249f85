"""The network that SimSiam trains: a backbone with projector and predictor."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cbir_cli.errors import ShapeError


class Siamese(nn.Module):
    """Backbone, projector and predictor of Chen and He's official code; see ``simsiam``.

    Parameters
    ----------
    backbone : Module
        (B, 3, S, S) to (B, width).
    width : int
        Of its vector, and so of z and p.
    statistics : str
        Of which view the batch norms keep mean and variance: ``all`` or ``first``.
    """

    def __init__(self, backbone: nn.Module, width: int, statistics: str = "all") -> None:
        super().__init__()
        if width < 4:
            raise ShapeError(f"SimSiam needs a vector of at least 4 numbers, found {width}")
        self.backbone, self.statistics = backbone, statistics
        self.projector = nn.Sequential()
        for layer in (1, 2, 3):
            # No bias: batch normalisation would take it away again.
            self.projector.add_module(f"linear{layer}", nn.Linear(width, width, bias=False))
            self.projector.add_module(f"norm{layer}", nn.BatchNorm1d(width, affine=layer < 3))
            if layer < 3:
                self.projector.add_module(f"relu{layer}", nn.ReLU())
        hidden = width // 4  # 512 for the 2048 of ResNet-50
        self.predictor = nn.Sequential()
        self.predictor.add_module("linear1", nn.Linear(width, hidden, bias=False))
        self.predictor.add_module("norm1", nn.BatchNorm1d(hidden))
        self.predictor.add_module("relu1", nn.ReLU())
        self.predictor.add_module("linear2", nn.Linear(hidden, width))

    def forward(self, views: Tensor) -> Tensor:
        """Return p1, p2, z1 and z2, (B, 4, width), of two views (B, 2, 3, S, S)."""
        if views.ndim != 5 or views.shape[1] != 2:
            raise ShapeError(f"SimSiam is shown two views of each image, found {tuple(views.shape)}")
        # Views are slices of the batch; PyTorch's fast convolutions want them channels last, in memory of their own.
        first, second = (view.contiguous(memory_format=torch.channels_last) for view in views.unbind(dim=1))
        z1 = self.projector(self.backbone(first))
        with _statistics_kept(self, still=self.statistics == "first"):
            z2 = self.projector(self.backbone(second))
        return torch.stack([self.predictor(z1), self.predictor(z2), z1, z2], dim=1)


@contextmanager
def _statistics_kept(module: nn.Module, *, still: bool) -> Iterator[None]:
    """Norm by the batch within this block, as always in training, but do not let the running statistics follow it."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)] if still else []
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
