"""Activation maps of a similarity: which places of two images, multiplied with each other, make it.

Where a vector is an average over the places of the last feature map, or a linear layer of one, it is a sum over places,
and the product of two vectors a sum over pairs of places. Each place of an image gets its part of the sum. The split is
exact, costs one forward pass an image, and is as coarse as the feature map.

Reference
---------
A. Stylianou, R. Souvenir, R. Pless. Visualizing Deep Similarity Networks. WACV 2019. arXiv:1901.00536. (Section 3.)
S. Zhu, T. Yang, C. Chen. Visual Explanation for Deep Metric Learning. IEEE Transactions on Image Processing 30, 2021.
arXiv:1909.12977. (Section III: point to point, and through a linear layer.)
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. Section 3.4.

Differs from the authors' code
------------------------------
X-MIR drops the negative products of two places and divides by the largest, after which parts no longer add up; that is
``variant="x-mir"``. By default all is kept, and what is split is the similarity that retrieval uses.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import UsageError
from cbir_cli.registry import unknown
from cbir_cli.similarity import _pair
from cbir_cli.vectors import check_similarity

if TYPE_CHECKING:
    from torch import Tensor

MAPS = "both"

SAYS = (
    "How much each place of the image adds to the similarity of the two; where values fall below zero, the "
    "place makes them less similar."
)

VARIANTS = ("exact", "x-mir")


def explain(
    encoder: Any, queries: ndarray, results: ndarray, *, variant: str = "exact", point: str = ""
) -> tuple[ndarray, ndarray]:
    """Part of the similarity of two images that each place has.

    Parameters
    ----------
    encoder : object
        Has ``similarity`` (``l2`` or ``cosine``) and ``opened``, which returns its network (``cbir_cli.opened``).
    queries, results : ndarray (P, S, S) or (P, S, S, 3), float32
        Pixels in [0, 1], one result a query.
    variant : str
        ``exact``: the pixels of a map add up to what its image brings to the similarity. For ``cosine`` that is the
        cosine of the vectors; for ``l2`` how much nearer, in squared distance, it is to the other than a vector of
        zeros. ``x-mir``: as the authors', positive products of places alone, divided by the largest.
    point : str
        ``y,x`` in the query, of whole numbers in pixels, or of numbers with a decimal point as fractions of the side:
        shows what goes with this one place. The map of the query then has that place alone. What is split is the
        product of the vectors, for ``cosine`` divided by their lengths. Default: all places.

    Returns
    -------
    query_maps, result_maps : ndarray (P, S, S), float32
        Positive makes the two alike, negative sets them apart. The feature map is enlarged bilinearly, its values
        divided by the number of pixels that a place becomes; so sums stay, exactly where its side divides S.

    Raises
    ------
    ShapeError
        If the images are not two stacks of finite images of one shape.
    UsageError
        If ``variant`` or ``point`` is none of those described, the encoder has another similarity or no network, or its
        vector is no sum over places: so it is with attention and with layers that are not linear after the pooling.
    """
    if variant not in VARIANTS:
        raise unknown("variant of activation", variant, VARIANTS)
    queries, results = _pair.check(queries, results)
    size = queries.shape[1]
    row, column = _fractions(point, size) if point else (-1.0, -1.0)
    maps = np.zeros((2, len(queries), size, size), dtype=np.float32)
    if not len(queries):
        return maps[0], maps[1]
    opened = encoder.opened()
    images, *places = _pair.both(queries, results)
    inputs = opened.inputs(images)
    found = opened.spread(lambda i: opened.parts(inputs[i : i + 1], method="activation"), len(images), "activation")

    def pair(number: int) -> ndarray:
        (one, query), (other, result) = (found[place[number]] for place in places)
        split = (one[0], other[0]), (query[0], result[0])
        if variant == "exact" and not point:
            return _enlarged(_parts(*split, encoder.similarity), size, keep=True)
        height, width = one.shape[2:]
        chosen = int(row * height) * width + int(column * width) if point else None
        return _enlarged(_products(*split, encoder.similarity, variant, chosen), size, keep=variant == "exact")

    for number, both in enumerate(opened.spread(pair, len(queries))):
        maps[:, number] = both
    return maps[0], maps[1]


def _parts(parts: tuple["Tensor", "Tensor"], vectors: tuple["Tensor", "Tensor"], similarity: str) -> "Tensor":
    """Return what each place brings to the similarity, (2, h, w)."""
    import torch

    pulls = _pair.pull(vectors[0], vectors[1], similarity), _pair.pull(vectors[1], vectors[0], similarity)
    return torch.stack([torch.tensordot(u, part, dims=1) for u, part in zip(pulls, parts, strict=True)])


def _products(
    parts: tuple["Tensor", "Tensor"],
    vectors: tuple["Tensor", "Tensor"],
    similarity: str,
    variant: str,
    chosen: int | None,
) -> "Tensor":
    """Return the products of places, summed over the other image's, (2, h, w); those of one place of the query."""
    import torch

    check_similarity(similarity)
    one, other = (part.flatten(1) for part in parts)  # (D, h w)
    products = one.T @ other  # (places of the query, places of the result)
    if similarity == "cosine":
        products = products / (float(vectors[0].norm() * vectors[1].norm()) or np.inf)
    if variant == "x-mir":
        most = float(products.max())
        products = products.clamp(min=0) / (most if most > 0 else 1)
    if chosen is not None:
        only = torch.zeros_like(products)
        only[chosen] = products[chosen]
        products = only
    return torch.stack([products.sum(1), products.sum(0)]).reshape(2, *parts[0].shape[1:])


def _enlarged(maps: "Tensor", size: int, *, keep: bool) -> ndarray:
    """Return maps (2, h, w) at the size of the images; with ``keep`` the pixels have the sum that the places had."""
    import torch.nn.functional as F

    large = F.interpolate(maps[None], (size, size), mode="bilinear", align_corners=False)[0]
    scale = maps[0].numel() / size**2 if keep else 1.0
    return np.asarray((large * scale).cpu().numpy())


def _fractions(point: str, size: int) -> tuple[float, float]:
    """Return a point's row and column as fractions of the side, below 1."""
    wanted = f"point: expected y,x in pixels from 0 to {size - 1}, or as fractions from 0.0 to 1.0, found {point!r}"
    texts = [text.strip() for text in point.split(",")]
    try:
        values = [float(text) for text in texts]
    except ValueError:
        raise UsageError(wanted) from None
    whole = [text.isdecimal() for text in texts]
    if len(values) != 2 or whole[0] != whole[1]:
        raise UsageError(wanted)
    # The middle of a pixel; a fraction of 1 is the last pixel.
    row, column = ((v + 0.5) / size for v in values) if whole[0] else (min(v, 1 - 0.5 / size) for v in values)
    if not all(0 <= v < 1 for v in (row, column)) or max(values) > (size - 1 if whole[0] else 1):
        raise UsageError(wanted)
    return row, column
