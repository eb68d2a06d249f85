"""RISE: what has to be kept of the result for it to stay like the query.

The result is hidden by many random masks. A pixel scores the mean similarity to the query over the masks, each weighted
by what it keeps of the pixel.

Reference
---------
V. Petsiuk, A. Das, K. Saenko. RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018.
arXiv:1806.07421. Eq. 6 and Section 3.2.

Differs from the authors' code
------------------------------
Theirs explains the probability of a class; here the score is the similarity to the other image. By default scores are
taken less their mean, and divided by how often a pixel was kept, not by how often it would be on average: scores that
hardly differ from mask to mask would else show the latter's noise.
"""

from contextlib import closing
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli import random_masks
from cbir_cli.errors import UsageError
from cbir_cli.progress import Progress
from cbir_cli.registry import unknown
from cbir_cli.similarity import _pair
from cbir_cli.similarity._masked import Masked
from cbir_cli.vectors import check_similarity, distances

MAPS = "result"
"""Unless the parameter ``on`` says both."""

SAYS = "Brighter where showing the result, under random masks, makes it more similar to the query."

ON = ("result", "both")
NORMALISATIONS = ("centred", "paper")


def explain(
    encoder: Any,
    queries: ndarray,
    results: ndarray,
    *,
    masks: int = 4000,
    cells: int = 7,
    probability: float = 0.5,
    fill: float = 0.0,
    on: str = "result",
    normalisation: str = "centred",
    seed: int = 0,
    batch: int = 32,
) -> tuple[ndarray, ndarray]:
    """Mean similarity to the other image over the masks that keep each pixel.

    Parameters
    ----------
    encoder : object
        Has ``similarity`` (``l2`` or ``cosine``), ``input``, an ``InputSpec``, and ``encode``: pixels (N, S, S) or
        (N, S, S, 3) to vectors (N, D) float32.
    queries, results : ndarray (P, S, S) or (P, S, S, 3), float32
        Pixels in [0, 1], one result a query. An image that is masked in several pairs is encoded once.
    masks : int
        Masks, the same for all images. The authors take 4,000 for VGG-16 and 8,000 for ResNet-50.
    cells : int
        Of the small grid, on each side; from 2 to S.
    probability : float
        That a cell is kept, between 0 and 1.
    fill : float
        What masks put in place of the image, in units of the network's input; see ``_masked``.
    on : str
        ``result``, or ``both``: the query is masked as well, and compared with the whole result.
    normalisation : str
        ``centred``: ``sum((s - mean s) M) / sum(M)``. ``paper``: ``sum(s M) / (N probability)``, Eq. 6.
    seed : int
        Of the masks.
    batch : int
        Masked images encoded at once; bounds memory, and means nothing to the map where vectors do not depend on it.

    Returns
    -------
    query_maps : ndarray (P, S, S), float32
        Zero unless ``on`` is ``both``.
    result_maps : ndarray (P, S, S), float32
        In units of the similarity: the cosine, or less the Euclidean distance (so ``paper`` is negative there). Larger
        means that keeping the pixel makes the two more alike; ``centred``, a positive value does so more than average.

    Raises
    ------
    ShapeError
        If the images are not two stacks of finite images of one shape, or the encoder's vectors are not finite.
    UsageError
        If a parameter is out of range, or the encoder has another similarity.
    """
    if on not in ON:
        raise unknown("on of rise", on, ON)
    if normalisation not in NORMALISATIONS:
        raise unknown("normalisation of rise", normalisation, NORMALISATIONS)
    if batch < 1:
        raise UsageError(f"expected a batch of at least 1, found {batch}")
    check_similarity(encoder.similarity)
    queries, results = _pair.check(queries, results)
    drawn = random_masks.draw("rise", queries.shape[1:3], masks, cells=cells, probability=probability, seed=seed)
    images, places = _pair.distinct(np.concatenate([queries, results]))
    masked = Masked(encoder, images, fill)
    whole = [masked.vector(image) for image in range(len(images))]
    of_query, of_result = np.split(places, 2)
    sides = [(of_result, of_query)] + [(of_query, of_result)] * (on == "both")
    pairs = list(dict.fromkeys((int(a), int(b)) for hidden, other in sides for a, b in zip(hidden, other, strict=True)))
    scores = np.empty((len(pairs), masks))
    hidden = list(dict.fromkeys(image for image, _ in pairs))
    with closing(Progress(len(hidden) * masks, "rise")) as progress:
        for start in range(0, masks if hidden else 0, batch):
            stop = min(start + batch, masks)
            block = drawn.block(start, stop)
            for image in hidden:
                vectors = masked.vectors(image, block)
                for row, (one, other) in zip(scores, pairs, strict=True):
                    if one == image:
                        row[start:stop] = _similarity(whole[other], vectors, encoder.similarity)
                progress.advance(stop - start)
    maps = {pair: _map(drawn, row, normalisation, probability) for pair, row in zip(pairs, scores, strict=True)}
    found = np.zeros((2, *queries.shape[:3]), np.float32)
    for made, (these, others) in zip(found[::-1], sides, strict=False):
        for one, a, b in zip(made, these, others, strict=True):
            one[:] = maps[int(a), int(b)]
    return found[0], found[1]


def _similarity(anchor: ndarray, vectors: ndarray, kind: str) -> ndarray:
    return (1 if kind == "cosine" else 0) - distances(anchor, vectors, kind)


def _map(masks: random_masks.RandomMasks, scores: ndarray, normalisation: str, probability: float) -> ndarray:
    if normalisation == "paper":
        return masks.sums(scores[None])[0] / (len(scores) * probability)
    kept, weighted = masks.sums(np.stack([np.ones_like(scores), scores - scores.mean()]))
    return weighted / np.where(kept > 0, kept, 1)
