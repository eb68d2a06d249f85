"""Similarity attention: the feature maps behind the numbers that two vectors share.

Numbers of the vectors that are alike weigh more. Their weighted sum is a score of each image alone, and Grad-CAM says
which places of the last feature map the score comes from.

With ``|f|`` for the magnitudes of an image's vector and ``^`` for vectors of length 1 ::

    w = (1 - |q^ - r^|) |q^ - n^| ...      the second factor once for each negative n
    s = sum_d w_d |f_d|                    of the query and of the result
    map = max(0, sum_c a_c A_c),  a_c = mean over places of ds / dA_c

A pair has no negatives, and two vectors of many numbers differ little in each of them, so the weights of ``siamese``
are close to 1 and its map is close to that of the image alone. A negative asks what sets the pair apart from another
image: ``triplet`` and ``quadruplet`` need images to compare with.

Reference
---------
M. Zheng, S. Karanam, T. Chen, R. J. Radke, Z. Wu. Learning Similarity Attention. arXiv:1911.07381, 2019. (Section 3.2;
3.3 and 3.4 for triplets and quadruplets.)
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. Section 3.4.

Differs from the authors' code
------------------------------
The gradient is of the vector before it is brought to length 1, where theirs is of the normalised one. The score of a
normalised vector does not change when all feature maps grow alike, so the signed map of it adds up to 0 whatever the
network has seen, and what is above the average is all that it shows. Weights are constants in either.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.registry import unknown
from cbir_cli.similarity import _pair

if TYPE_CHECKING:
    from torch import Tensor

MAPS = "both"

SAYS = "Brighter where the network sees what the two images have in common."

NEGATIVES = {"siamese": 0, "triplet": 1, "quadruplet": 2}
"""How many images to compare with each variant takes a pair."""


def explain(
    encoder: Any,
    queries: ndarray,
    results: ndarray,
    references: ndarray | None = None,
    *,
    variant: str = "siamese",
) -> tuple[ndarray, ndarray]:
    """Grad-CAM of what the vectors of a pair have in common, and its negatives have not.

    Parameters
    ----------
    encoder : object
        Has ``opened``, which returns its network (``cbir_cli.opened``).
    queries, results : ndarray (P, S, S) or (P, S, S, 3), float32
        Pixels in [0, 1], one result a query.
    references : ndarray (P, n, S, S) or (P, n, S, S, 3), float32, optional
        Negatives of each pair: images that neither is like, such as those of another class. n is 1 for ``triplet`` and
        2 for ``quadruplet``.
    variant : str
        ``siamese``: the pair alone. ``triplet``: against one negative. ``quadruplet``: against two.

    Returns
    -------
    query_maps, result_maps : ndarray (P, S, S), float32
        At least 0; larger means more of what the two share. Enlarged bilinearly from the feature map. All 0 where the
        score comes from biases alone.

    Raises
    ------
    ShapeError
        If the images are not stacks of finite images of one shape.
    UsageError
        If there is no such variant, ``references`` has not its number of negatives, or the network has no feature map
        that its vector is pooled from.
    """
    if variant not in NEGATIVES:
        raise unknown("variant of attention", variant, NEGATIVES)
    queries, results = _pair.check(queries, results)
    negatives = _negatives(references, queries, NEGATIVES[variant], variant)
    size = queries.shape[1]
    maps = np.zeros((2, len(queries), size, size), dtype=np.float32)
    if not len(queries):
        return maps[0], maps[1]
    opened = encoder.opened()
    images, places = _pair.distinct(np.concatenate([queries, results, *negatives]))
    inputs = opened.inputs(images)
    found = opened.spread(lambda i: opened.features(inputs[i : i + 1], method="attention"), len(images), "attention")
    directions = [vector.detach()[0] / (vector.detach().norm() or 1) for _, vector in found]
    groups = places.reshape(2 + len(negatives), len(queries)).T.tolist()

    with opened.one_thread():  # and one pair after the other: pairs share the graph of an image
        for number, group in enumerate(groups):
            weights = _weights(*(directions[place] for place in group))
            for side, place in enumerate(group[:2]):
                features, vector = found[place]
                maps[side, number] = _activation_map(features, vector, weights, size)
    return maps[0], maps[1]


def _negatives(references: ndarray | None, queries: ndarray, count: int, variant: str) -> list[ndarray]:
    """Return ``count`` stacks of negatives, each one image a pair."""
    if references is None:
        references = np.empty((len(queries), 0, *queries.shape[1:]), np.float32)
    if references.shape[:1] + references.shape[2:] != queries.shape:
        raise ShapeError(f"expected references (P, n, ...) for images {queries.shape}, found {references.shape}")
    if references.shape[1] != count:
        raise UsageError(f"variant={variant} of attention takes {count} negatives a pair, found {references.shape[1]}")
    return [_pair.check(queries, references[:, i])[1] for i in range(count)]


def _weights(query: "Tensor", result: "Tensor", *negatives: "Tensor") -> "Tensor":
    """Return the weight of each number of the vectors, (D,)."""
    weights = 1 - (query - result).abs()
    for negative in negatives:
        weights = weights * (query - negative).abs()
    return weights


def _activation_map(features: "Tensor", vector: "Tensor", weights: "Tensor", size: int) -> ndarray:
    """Return Grad-CAM of the weighted magnitudes of a vector, (S, S) float32."""
    import torch
    import torch.nn.functional as F

    # Handed to ``grad`` as what the vector is multiplied by: the vector's graph is kept, and a score adds none to it.
    (gradient,) = torch.autograd.grad(vector, features, (weights * vector.detach()[0].sign())[None], retain_graph=True)
    channels = gradient.mean(dim=(2, 3), keepdim=True)
    summed = (channels * features.detach()).sum(dim=1, keepdim=True).clamp(min=0)
    return np.asarray(F.interpolate(summed, (size, size), mode="bilinear", align_corners=False)[0, 0].cpu().numpy())
