"""Occlusion: what, when hidden from the result, makes it less similar to the query.

A small grey box slides over the result. Where hiding makes the distance to the query grow, the images are alike there.

Reference
---------
B. Dong, R. Collins, A. Hoogs. Explainability for Content-Based Image Retrieval. CVPR Workshops 2019 (SBSM).
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. Section 3.4.

Differs from the authors' code
------------------------------
A box is filled with a grey level of the image. Theirs is 0 after normalisation, which for a grey image copied to three
channels is a colour, not a grey; the default is the nearest grey. Distance is the encoder's own, where theirs is always
Euclidean between vectors of length 1. Box positions, max(0, .) and the division by coverage are theirs. For an image
with itself they take the distance to the hidden image alone; what is subtracted here is 0 then, so that is the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli import sliding_boxes, vectors
from cbir_cli.errors import UsageError
from cbir_cli.progress import Progress
from cbir_cli.similarity import _pair

MAPS = "result"

SAYS = "Brighter where covering the result makes it less similar to the query."


def explain(
    encoder: Any,
    queries: ndarray,
    results: ndarray,
    *,
    box: int = 24,
    stride: int = 5,
    fill: float = 0.449,
    batch: int = 32,
) -> tuple[ndarray, ndarray]:
    """Mean growth of the distance to the query over the boxes that hide each pixel of the result.

    Parameters
    ----------
    encoder : object
        Has ``similarity`` (``l2`` or ``cosine``) and ``encode``: pixels (N, S, S) or (N, S, S, 3) to vectors (N, D)
        float32. May have ``encode_hidden``: image, boxes and fill to rows of boxes and their vectors, some at a time.
    queries, results : ndarray (P, S, S) or (P, S, S, 3), float32
        Pixels in [0, 1], one result a query.
    box : int
        Side of the box in pixels. The default was chosen by the authors for images of 224 pixels; for smaller ones a
        box in proportion is a better choice.
    stride : int
        From one box to the next, in pixels; at most ``box``. Time grows with its inverse square: 2,401 forward passes
        for 224 pixels and a stride of 5.
    fill : float
        Grey level of the box, in [0, 1], also in a colour image. Default: mean of the three ImageNet channel means,
        which after normalisation is near 0.
    batch : int
        Occluded images encoded at once, where the encoder has no ``encode_hidden``; bounds memory, and means nothing to
        the map where vectors do not depend on it.

    Returns
    -------
    query_maps : ndarray (P, S, S), float32
        Zero: the queries are not explained.
    result_maps : ndarray (P, S, S), float32
        At least 0, in units of the encoder's distance; larger means more of what makes the result similar. 0 where
        hiding brings the result nearer to the query.

    Raises
    ------
    ShapeError
        If the images are not two stacks of finite images of one shape, or the encoder's vectors are not finite.
    UsageError
        If ``stride``, ``fill`` or ``batch`` is out of range, or the encoder has another similarity.
    """
    if not 0 <= fill <= 1:
        raise UsageError(f"expected a fill from 0 to 1, found {fill}")
    if batch < 1:
        raise UsageError(f"expected a batch of at least 1, found {batch}")
    queries, results = _pair.check(queries, results)
    size = queries.shape[1:3]
    boxes = list(sliding_boxes.sliding(*size, box=box, stride=stride))
    covered = sliding_boxes.coverage(*size, box=box, stride=stride)
    maps = np.zeros((len(queries), *size), dtype=np.float32)
    if not len(queries):
        return np.zeros_like(maps), maps
    images, image_of = _pair.distinct(results)
    asked, query_of = _pair.distinct(queries)
    anchors = np.concatenate([vectors.checked(encoder.encode(query[None]), 1) for query in asked])
    with closing(Progress(len(images) * len(boxes), "occlusion")) as progress:
        for number, image in enumerate(images):
            # The hidden images are the same whatever the query: those of all pairs with this result share them.
            pairs = np.flatnonzero(image_of == number)
            growth = _growth(encoder, image, boxes, anchors[query_of[pairs]], fill, batch, progress)
            for pair, scores in zip(pairs, growth, strict=True):
                total = np.zeros(size)
                for score, (y0, y1, x0, x1) in zip(np.maximum(scores, 0), boxes, strict=True):
                    total[y0:y1, x0:x1] += score
                maps[pair] = total / covered
    return np.zeros_like(maps), maps


def _growth(
    encoder: Any,
    image: ndarray,
    boxes: Sequence[tuple[int, int, int, int]],
    anchors: ndarray,
    fill: float,
    batch: int,
    progress: Progress,
) -> ndarray:
    """Return by how much the distance to each of (Q, D) vectors grows when each box is hidden, (Q, boxes) float64."""
    way = getattr(encoder, "encode_hidden", None) or partial(_encode_hidden, encoder, batch=batch)
    # First with nothing hidden, on the same way: a box that changes no pixel then scores exactly nothing.
    distances = np.empty((len(anchors), 1 + len(boxes)))
    for rows, found in way(image, [(0, 0, 0, 0), *boxes], fill):
        others = vectors.checked(found, len(rows))
        for anchor, distance in zip(anchors, distances, strict=True):
            distance[rows] = vectors.distances(anchor, others, encoder.similarity)
        progress.advance(len(rows) - (0 in rows))
    return distances[:, 1:] - distances[:, :1]


def _encode_hidden(
    encoder: Any, image: ndarray, boxes: Sequence[tuple[int, int, int, int]], fill: float, *, batch: int
) -> Iterator[tuple[ndarray, ndarray]]:
    """Yield rows of ``boxes`` and the vectors of the image with these boxes hidden, by what encodes any image."""
    for start in range(0, len(boxes), batch):
        rows = np.arange(start, min(start + batch, len(boxes)))
        hidden = np.repeat(image[None], len(rows), axis=0)
        for one, row in zip(hidden, rows.tolist(), strict=True):
            y0, y1, x0, x1 = boxes[row]
            one[y0:y1, x0:x1] = fill
        yield rows, encoder.encode(hidden)
