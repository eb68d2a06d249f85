"""Triplet loss: an image nearer to its own class than to any other, by a margin.

For an anchor a, a positive p of its class and a negative n of another, with d the Euclidean distance of the vectors
divided by their length::

    L(a, p, n) = max(0, d(a, p) - d(a, n) + margin)

``batch-all`` takes every triplet of the batch and averages those that are not satisfied yet (L > 1e-16): the many easy
ones would only make the mean small. ``batch-hard`` takes for each anchor its farthest positive and its nearest
negative, and averages over the anchors that have a positive.

Vectors of length 1 are in the same order by Euclidean distance and by cosine similarity, so they are searched by the
latter, as in the paper. Where no triplet is left the loss is 0 and so is its gradient. Identical vectors have distance
0 and gradient 0: a network that has collapsed to one point is not torn apart by it.

Reference
---------
Hu, Vasu, Hoogs, X-MIR: EXplainable Medical Image Retrieval, WACV 2022, section 3.3: margin 0.2, "all possible image
pairs in a given batch", vectors normalised. Hermans, Beyer, Leibe, In Defense of the Triplet Loss for Person
Re-Identification, arXiv:1703.07737, section 2, for ``batch-hard`` and ``batch-all``.

Differs from the authors' code
------------------------------
The same values. Distances are summed from differences; theirs, from products of the vectors, are off by up to 1e-3 for
near ones, where the gradient is largest. Their mean for ``batch-hard`` also counts anchors without a positive, which
their batches do not have.

The loss is written out rather than taken from pytorch-metric-learning, which the tests compare it with: that is one
more second of start-up and one more dependency for the same 15 lines.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

SIMILARITY = "cosine"
VIEWS = 1
WHOLE_BATCH = True
CLASS_WEIGHTS = ("none",)
MINING = ("batch-all", "batch-hard")

_ACTIVE = 1e-16
"""Loss above which a triplet counts, as in the authors' code."""


def outputs(names: Sequence[str]) -> int:
    """Return the number of logits: none, the network's vector itself is trained."""
    return 0


def class_weights(targets: ArrayLike, scheme: str = "none") -> None:
    """Return nothing: the sampler, not a weight, sees to rare classes.

    Parameters
    ----------
    targets : array (N,) of int
        Class of each training image.
    scheme : str
        ``none``.

    Raises
    ------
    ShapeError
        If targets are not a row.
    CbirError
        If the images make no triplet: there is one class only, or no class has two images.
    UsageError
        If there is no such scheme.
    """
    true = np.asarray(targets)
    if true.ndim != 1:
        raise ShapeError(f"targets: expected one class for each image, found shape {true.shape}")
    if scheme not in CLASS_WEIGHTS:
        raise unknown("class_weights", scheme, CLASS_WEIGHTS)
    counts = np.unique(true, return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        raise CbirError(
            f"triplets need two classes, and two images of one: found {len(true)} images of {len(counts)} classes"
        )


def check(*, margin: float, mining: str) -> None:
    """Refuse parameters of the loss that make no sense; see ``loss``.

    Raises
    ------
    UsageError
        If the margin is not above 0 or there is no such mining.
    """
    if mining not in MINING:
        raise unknown("mining", mining, MINING)
    if not 0 < margin < math.inf:
        raise UsageError(f"margin={margin}: expected a number above 0")


def loss(
    outputs: "Tensor",
    targets: "Tensor",
    *,
    weights: "Tensor | None" = None,
    margin: float = 0.2,
    mining: str = "batch-all",
) -> "Tensor":
    """Triplet loss of a batch.

    Parameters
    ----------
    outputs : Tensor (B, D), float
        Vectors of any length.
    targets : Tensor (B,), int64
        Class of each.
    weights : None
        Not used.
    margin : float
        How much nearer, in distances between points of the unit sphere (0 to 2); above 0.
    mining : str
        ``batch-all`` or ``batch-hard``.

    Returns
    -------
    Tensor (), float
        From 0 to 2 + margin; 0 where the batch holds no triplet.

    Raises
    ------
    UsageError
        If the margin is not above 0 or there is no such mining.
    """
    import torch

    check(margin=margin, mining=mining)
    vectors = torch.nn.functional.normalize(outputs, dim=1)
    # The default goes through products of the vectors, which cancel for near ones.
    distance = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    same = targets[:, None] == targets
    positive = same & ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    if mining == "batch-hard":
        whole = positive.any(dim=1)  # an anchor without negatives has its nearest at infinity, and loss 0
        farthest = distance.masked_fill(~positive, -math.inf)[whole].amax(dim=1)
        nearest = distance.masked_fill(same, math.inf)[whole].amin(dim=1)
        terms = (farthest - nearest + margin).relu()
        return terms.sum() / max(len(terms), 1)
    anchors, positives = positive.nonzero(as_tuple=True)  # (T,) pairs, each with every negative of its anchor
    gaps = distance[anchors, positives][:, None] - distance[anchors] + margin  # (T, B)
    terms = gaps[~same[anchors]].relu()
    return terms.sum() / (terms > _ACTIVE).sum().clamp(min=1)
