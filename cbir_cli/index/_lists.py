"""Inverted lists: vectors sorted by the nearest of a few centroids, so that a search looks at a few lists alone."""

from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index import _faiss, _payload
from cbir_cli.index._grown import Find
from cbir_cli.progress import Progress

_POINTS = 40  # vectors of a list that its centroid is found from: faiss warns below 39
_ROUNDS = 12  # of k-means


def wanted(count: int) -> int:
    """Return how many lists suit so many vectors: four times the square root, of 39 vectors at the least."""
    return max(1, min(int(4 * np.sqrt(count)), count // 39))


def efforts(nlist: int) -> list[int]:
    """Return how many lists to try for a search."""
    steps = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    return [step for step in steps if step < nlist] + [min(nlist, 768)]


def centroids(vectors: ndarray, space: _faiss.Space, nlist: int, seed: int) -> ndarray:
    """Return centroids (nlist, D') float32 of a part of the vectors by k-means."""
    faiss = _faiss.library()
    points = drawn(vectors, space, _POINTS * nlist, seed)
    if not len(points):
        return np.zeros((nlist, space.padded), np.float32)
    means = faiss.Clustering(space.padded, nlist)
    means.niter, means.seed = _ROUNDS, seed
    means.min_points_per_centroid, means.max_points_per_centroid = 1, 2 * _POINTS
    means.train(points, faiss.IndexFlatL2(space.padded))
    return faiss.vector_to_array(means.centroids).reshape(nlist, space.padded)


def drawn(vectors: ndarray, space: _faiss.Space, size: int, seed: int) -> ndarray:
    """Return a part of the vectors, prepared, in ascending order of rows."""
    rows = np.random.default_rng(seed).choice(len(vectors), min(size, len(vectors)), replace=False)
    points = np.empty((len(rows), space.padded), np.float32)
    for start, stop, block in space.blocks(vectors, np.sort(rows)):
        points[start:stop] = block
    return points


class Sorted:
    """The rows of vectors, list by list.

    Attributes
    ----------
    nearest : ndarray (N,), int64
        List of each row.
    rows : ndarray (N,), int64
        By list, ascending in each.
    sizes : ndarray (nlist,), int64
    lowest, highest : ndarray (D',), float32
        Of all vectors less their centroids.
    """

    def __init__(self, vectors: ndarray, space: _faiss.Space, points: ndarray) -> None:
        quantizer = _faiss.flat(_faiss.library(), points)
        self.nearest = np.empty(len(vectors), np.int64)
        self.lowest, self.highest = np.full((2, space.padded), np.inf, np.float32)
        self.highest *= -1
        progress = Progress(len(vectors), "lists")
        for start, stop, block in space.blocks(vectors, np.arange(len(vectors))):
            near = quantizer.search(block, 1)[1][:, 0]
            block -= points[near]
            self.lowest = np.minimum(self.lowest, block.min(axis=0))
            self.highest = np.maximum(self.highest, block.max(axis=0))
            self.nearest[start:stop] = near
            progress.advance(stop - start)
        progress.close()
        self.rows = np.argsort(self.nearest, kind="stable")
        self.sizes = np.bincount(self.nearest, minlength=len(points)).astype(np.int64)

    def codes(self, vectors: ndarray, space: _faiss.Space, index: Any) -> ndarray:
        """Return what an index of faiss makes of the vectors, (N, C) uint8 in the order of ``rows``."""
        faiss = _faiss.library()
        place = np.empty(len(vectors), np.int64)
        place[self.rows] = np.arange(len(vectors))
        codes = np.empty((len(vectors), index.code_size), np.uint8)
        progress = Progress(len(vectors), "codes")
        for start, stop, block in space.blocks(vectors, np.arange(len(vectors))):
            made = np.empty((stop - start, index.code_size), np.uint8)
            near = np.ascontiguousarray(self.nearest[start:stop])
            index.encode_vectors(len(block), faiss.swig_ptr(block), faiss.swig_ptr(near), faiss.swig_ptr(made))
            codes[place[start:stop]] = made
            progress.advance(stop - start)
        progress.close()
        return codes


def checked_points(payload: dict[str, ndarray], width: int) -> ndarray:
    """Return the centroids of a payload, (nlist, D') float32.

    Raises
    ------
    ShapeError
        If there are none, or of another width.
    """
    points = np.array(_payload.array(payload, "centroids", (-1, width), "f4"))
    if not len(points):
        raise ShapeError("the payload has no centroids")
    return points


def finder(index: Any, payload: dict[str, ndarray], count: int) -> Find:
    """Give an empty index of faiss the lists of a payload, where they lie; return what searches it.

    Raises
    ------
    ShapeError
        If the payload is not one of so many vectors.
    """
    faiss = _faiss.library()
    codes = _payload.array(payload, "codes", (count, index.code_size), "u1")
    sizes = _payload.array(payload, "sizes", (index.nlist,), "i8")
    if (sizes < 0).any() or (sizes > count).any() or sizes.sum() != count:
        raise ShapeError(f"sizes of the payload: expected {count} vectors in all lists")
    # The lists get their ids with codes of one byte, which cost nothing, and then the codes as views.
    lists, views = faiss.ArrayInvertedLists(index.nlist, 1), faiss.MaybeOwnedVectorUInt8Vector()
    ids, bytes_, start = np.arange(count), np.zeros(count, np.uint8), 0
    for number, size in enumerate(sizes.tolist()):
        if size:
            lists.add_entries(number, size, faiss.swig_ptr(ids[start:]), faiss.swig_ptr(bytes_))
        views.push_back(_faiss.view(codes[start : start + size]))
        start += size
    lists.code_size = index.code_size
    lists.codes.swap(views)
    index.replace_invlists(lists, False)
    index.ntotal, index.is_trained = count, True
    kept = (lists, codes)  # faiss looks at them

    def find(probes: ndarray, count: int, effort: int, selector: _faiss.Selector | None) -> ndarray:
        assert kept
        allowed = selector.faiss if selector else None
        parameters = faiss.SearchParametersIVF(nprobe=min(effort, index.nlist), sel=allowed)
        # Products of blocks would make a query's lists depend on what else is asked.
        before, faiss.cvar.distance_compute_blas_threshold = faiss.cvar.distance_compute_blas_threshold, 2**30
        try:
            return _faiss.nearest(index, probes, min(count, index.ntotal), parameters)
        finally:
            faiss.cvar.distance_compute_blas_threshold = before

    return find
