"""A sparse graph of images: who is joined to whom, by the cosine of their vectors.

The paper joins every image to every other. That graph cannot exist at its size: 223,648 images have 2.5e10 pairs, 100
GB for their float32 weights alone, and no clustering of it ends. Two sparse graphs stand for it, weighted by the cosine
all the same:

- ``knn``: each image is joined to its nearest, and two images are joined if either names the other;
- ``threshold``: two images are joined if their cosine is at least so much.

Pairs whose cosine is not above zero are never joined: modularity has no meaning for negative weights.

Up to 20,000 vectors every pair is looked at, in blocks of products. Beyond, faiss cuts the vectors into cells by
k-means, and each vector is compared with those in the cells that are nearest to it, a cell at a time, by products too:
a fifteenth of all pairs at 224,000 vectors. (An inverted file of faiss does the same a vector at a time, bound by
memory, and an HNSW that is built by several threads is another one each time.)
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from cbir_cli.errors import UsageError
from cbir_cli.index._faiss import library
from cbir_cli.registry import unknown

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Edges = tuple[ndarray, ndarray, ndarray]
"""First and second row of each, int32, and its weight, float32."""

GRAPHS = ("knn", "threshold")
PAIRS = ("auto", "all", "cells")

_ALL = 20_000  # vectors up to which every pair is looked at: 8e11 operations, seconds
_SCORES = 2**24  # of one product: 64 MiB
_EDGES = 200  # an image has on average, at most: 36 bytes each while they are sorted
_SAMPLE = 64  # vectors a cell that k-means looks at


def build(
    vectors: ndarray,
    norms: ndarray,
    *,
    graph: str,
    neighbours: int,
    threshold: float,
    pairs: str,
    cells: int,
    around: int,
    seed: int,
) -> "csr_array":
    """Join similar images.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
    norms : ndarray (N,), float64
        Their lengths; a zero vector is joined to nothing.
    graph, neighbours, threshold, pairs, cells, around, seed
        As in ``community.build``.

    Returns
    -------
    csr_array (N, N), float32
        Symmetric, above zero, nothing on the diagonal, columns sorted.

    Raises
    ------
    UsageError
        If a parameter is out of range, or a threshold joins more than 200 others to an image on average.
    CbirError
        If faiss is needed and not installed.
    """
    for what, name, known in (("graph", graph, GRAPHS), ("choice of pairs", pairs, PAIRS)):
        if name not in known:
            raise unknown(what, name, known)
    if neighbours < 1:
        raise UsageError(f"neighbours: expected at least 1, found {neighbours}")
    if graph == "threshold" and not 0 < threshold < 1:
        raise UsageError(f"threshold: expected a cosine between 0 and 1, found {threshold}")
    if cells < 0 or around < 1:
        raise UsageError(f"cells, around: expected at least 0 and 1, found {cells} and {around}")
    count = len(vectors)
    inverse = np.divide(1, norms, out=np.zeros(count), where=norms > 0).astype(np.float32)
    every = pairs == "all" or (pairs == "auto" and count <= _ALL)
    blocks = _all(count) if every else _cells(vectors, inverse, cells or max(1, round(count**0.5)), around, seed)
    scored = _scored(vectors, inverse, blocks)
    if graph == "knn":
        return _symmetric(*_nearest(scored, count, neighbours), count)
    return _symmetric(*_above(scored, count, threshold), count)


def _scored(
    vectors: ndarray, inverse: ndarray, blocks: Iterator[tuple[ndarray, ndarray]]
) -> Iterator[tuple[ndarray, ndarray, ndarray]]:
    """Yield blocks with their cosines, in order.

    A product on several threads is rounded otherwise than on one. So each runs on one, and several at once.
    """
    from threadpoolctl import threadpool_limits

    workers = len(os.sched_getaffinity(0))
    waiting: deque[tuple[ndarray, ndarray, Future[ndarray]]] = deque()
    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        for rows, candidates in blocks:
            if len(rows) and len(candidates):
                waiting.append((rows, candidates, pool.submit(_cosines, vectors, inverse, rows, candidates)))
            if len(waiting) > workers:
                first, second, found = waiting.popleft()
                yield first, second, found.result()
        for first, second, found in waiting:
            yield first, second, found.result()


def _cosines(vectors: ndarray, inverse: ndarray, rows: ndarray, candidates: ndarray) -> ndarray:
    scores = (vectors[rows] * inverse[rows, None]) @ (vectors[candidates] * inverse[candidates, None]).T
    scores[rows[:, None] == candidates] = -1  # oneself
    return scores


def _nearest(scored: Iterable[tuple[ndarray, ndarray, ndarray]], count: int, neighbours: int) -> Edges:
    """Edges from each row to its nearest, each row's being found in several blocks."""
    best = np.full((count, neighbours), -1, dtype=np.float32)
    other = np.zeros((count, neighbours), dtype=np.int32)
    for rows, candidates, scores in scored:
        near = _largest(scores, neighbours)
        values = np.hstack([best[rows], np.take_along_axis(scores, near, axis=1)])
        names = np.hstack([other[rows], candidates[near]])
        kept = _largest(values, neighbours)
        best[rows] = np.take_along_axis(values, kept, axis=1)
        other[rows] = np.take_along_axis(names, kept, axis=1)
    first, place = np.nonzero(best > 0)
    return first.astype(np.int32), other[first, place], best[first, place]


def _above(scored: Iterable[tuple[ndarray, ndarray, ndarray]], count: int, threshold: float) -> Edges:
    """Edges from each row to all whose cosine is high enough."""
    parts = [(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))]
    held = 0
    for rows, candidates, scores in scored:
        first, second = np.nonzero(scores >= np.float32(threshold))
        parts.append((rows[first].astype(np.int32), candidates[second].astype(np.int32), scores[first, second]))
        held += len(first)
        if held > _EDGES * max(count, 1000):
            raise UsageError(
                f"threshold {threshold} joins more than {_EDGES} others to an image on average: "
                "choose a higher one, or graph=knn"
            )
    first, second, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return first, second, weights


def _all(count: int) -> Iterator[tuple[ndarray, ndarray]]:
    every = np.arange(count)
    step = max(1, _SCORES // max(1, count))
    for start in range(0, count, step):
        yield every[start : start + step], every


def _cells(vectors: ndarray, inverse: ndarray, cells: int, around: int, seed: int) -> Iterator[tuple[ndarray, ndarray]]:
    """Yield the rows of each cell, as candidates, with all rows to which it is among the ``around`` nearest cells."""
    faiss = library()
    from threadpoolctl import threadpool_limits

    count, size = vectors.shape
    sample = np.sort(np.random.default_rng(seed).permutation(count)[: cells * _SAMPLE])
    kmeans = faiss.Kmeans(
        size, cells, niter=8, seed=seed, spherical=True, min_points_per_centroid=1, max_points_per_centroid=_SAMPLE
    )
    with threadpool_limits(1):  # as in _scored
        kmeans.train(vectors[sample] * inverse[sample, None])
    centres = np.asarray(kmeans.centroids)
    cell = np.empty(count, dtype=np.int32)
    asked = np.empty((count, min(around, cells)), dtype=np.int32)
    for start in range(0, count, step := 8192):
        # The centres have length 1, and that of a vector does not matter to which of them is the nearest.
        scores = vectors[start : start + step] @ centres.T
        cell[start : start + step] = scores.argmax(axis=1)
        asked[start : start + step] = _largest(scores, around)
    members = np.split(np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell, minlength=cells))[:-1])
    asking = np.split(
        np.argsort(asked.ravel(), kind="stable"), np.cumsum(np.bincount(asked.ravel(), minlength=cells))[:-1]
    )
    for number, candidates in enumerate(members):
        rows = asking[number] // asked.shape[1]
        step = max(1, _SCORES // max(1, len(candidates)))
        for start in range(0, len(rows), step):
            yield rows[start : start + step], candidates


def _largest(scores: ndarray, count: int) -> ndarray:
    """Columns of the largest scores of each row, at most ``count`` of them."""
    if scores.shape[1] <= count:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(scores, -count, axis=1)[:, -count:]


def _symmetric(first: ndarray, second: ndarray, weights: ndarray, count: int) -> "csr_array":
    from scipy.sparse import coo_array, csr_array  # a query needs none of it

    one_way = csr_array(coo_array((weights, (first, second)), shape=(count, count)))
    both = csr_array(one_way.maximum(one_way.T))
    both.sort_indices()
    return both
