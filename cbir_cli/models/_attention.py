"""Multi-level dual attention on the dense blocks of a DenseNet; ``mldam`` says where it comes from and what is ours."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import DenseNet


def position(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Add to each place of ``value`` the mean of all places, weighted by how well their keys answer its query.

    Parameters
    ----------
    query, key, value : Tensor (N, C, H, W), float

    Returns
    -------
    Tensor (N, C, H, W)
        softmax(Q K^T) V + V with Q, K, V as (H W, C): rows are places, and the softmax is over the keys.
    """
    q, k, v = (x.flatten(2).transpose(1, 2) for x in (query, key, value))  # (N, P, C)
    weights = torch.softmax(q @ k.transpose(1, 2), dim=2)  # (N, P, P)
    return (weights @ v).transpose(1, 2).reshape(value.shape) + value


def channel(features: Tensor) -> Tensor:
    """Add to each channel of the features all channels, weighted by their product with it.

    Parameters
    ----------
    features : Tensor (N, C, H, W), float

    Returns
    -------
    Tensor (N, C, H, W)
        (X X^T) X + X with X as (C, H W). There is no softmax.
    """
    x = features.flatten(2)  # (N, C, P)
    return ((x @ x.transpose(1, 2)) @ x).reshape(features.shape) + features


class Normalised(nn.LayerNorm):
    """ReLU, then a learnt layer norm over the channels of each place: Keras's default axis."""

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return super().forward(F.relu(features).movedim(1, 3)).movedim(3, 1)


class Attention(nn.Module):
    """From the outputs of three dense blocks to feature maps on the grid of the last.

    Parameters
    ----------
    widths : sequence of int
        Channels of the three.
    channels : int
        C, to which each is projected.
    """

    def __init__(self, widths: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        # Linear, and with torch's first weights: so the scores of the softmax, which nothing scales, start near zero.
        self.query, self.key, self.value = (nn.Conv2d(width, channels, 1) for width in widths)
        self.position_norm, self.channel_norm = Normalised(channels), Normalised(channels)

    def forward(self, first: Tensor, second: Tensor, last: Tensor) -> Tensor:
        """(N, A, 4h, 4w), (N, B, 2h, 2w) and (N, C, h, w), rounded up, to (N, channels, h, w)."""
        # As DenseNet itself comes from one grid to the next. Averaging and projecting commute; this order is cheaper.
        query, key = self.query(F.avg_pool2d(first, 4)), self.key(F.avg_pool2d(second, 2))
        value = self.value(last)
        return (self.position_norm(position(query, key, value)) + self.channel_norm(channel(value))) / 2


class DualAttention(nn.Module):
    """A DenseNet's feature layers, attention on its last three dense blocks, and two dense layers.

    Parameters
    ----------
    n_outputs : int
        Width of the last layer; 0 for none.
    growth, blocks, stem
        As for ``_densenet.build``.
    channels : int
        Of the feature maps that attention works on.
    grid : int
        Places a side that the dense layers see.
    width : int
        Of the dense layers: length of the feature vector.
    """

    def __init__(
        self, n_outputs: int, *, growth: int, blocks: tuple[int, ...], stem: int, channels: int, grid: int, width: int
    ) -> None:
        super().__init__()
        # First, and under DenseNet's names: weights are recognised by their first name.
        self.features = DenseNet(growth, blocks, stem, num_classes=1).features
        self._taps = [f"denseblock{number}" for number in range(len(blocks) - 2, len(blocks))]
        widths, after = [], stem
        for depth in blocks:
            widths.append(after + depth * growth)
            after = widths[-1] // 2
        self.attention = Attention((widths[-3], widths[-2], widths[-1]), channels)
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.dense1, self.dense2 = nn.Linear(channels * grid**2, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(0.25)
        self.classifier = nn.Linear(width, n_outputs) if n_outputs else nn.Identity()

    def taps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what attention works on: outputs of the last three dense blocks, the last normalised, with ReLU."""
        found, x = [], images
        for name, layer in self.features.named_children():
            x = layer(x)
            if name in self._taps:
                found.append(x)
        return found[0], found[1], F.relu(x)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, n_outputs), or to (N, width)."""
        x = self.pool(self.attention(*self.taps(images))).flatten(1)
        x = self.dropout(F.relu(self.dense1(x)))
        x = self.dropout(F.relu(self.dense2(x)))
        outputs: Tensor = self.classifier(x)
        return outputs
