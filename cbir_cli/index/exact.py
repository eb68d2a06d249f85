"""Exact nearest neighbours by Euclidean distance, cosine or SSIM: every vector is considered, nothing is approximate.

Distances are those of a plain float64 loop over the pairs, rounded to float32, and equal distances are ordered by row
(rows are sorted by id in an index). They do not depend on how queries are batched. Vectors may be a memory map: they
are read a block at a time, and memory beside them stays at some tens of MiB.

====== ========================== ==============================
metric distance                   besides
====== ========================== ==============================
l2     Euclidean, not squared
cosine 1 - cosine, in [0, 2]      1 where either vector is zero
ssim   1 - mean SSIM, in [0, 2]   vectors are square 8-bit images
====== ========================== ==============================

How the two kinds of metric are computed, and why nothing can be missed, is said in ``_products`` and ``_ssim``.

Reference
---------
None: this is the definition that other backends are measured against.
"""

import numpy as np
from numpy import ndarray

from cbir_cli.index import _products, _ssim
from cbir_cli.index._inputs import Filter, check_queries, check_vectors, together
from cbir_cli.index._nearest import Nearest

METRICS = ("l2", "cosine", "ssim")

_QUERIES = 128  # answered at once: enough for matrix products to run at full speed


def build(vectors: ndarray, *, metric: str, coordinates: int = 64) -> dict[str, ndarray]:
    """Compute what is kept beside the vectors so that a search need not.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        May be a memory map. For ``ssim`` the rows are S x S images, row by row, whole values from 0 to 255.
    metric : str
        ``l2``, ``cosine`` or ``ssim``.
    coordinates : int
        Numbers of a vector that a first pass reads, R: at most 100 and a quarter of D; 0 for no first pass, as for
        ``ssim``.

    Returns
    -------
    dict of str to ndarray
        ``squared_norms`` (N,) float64, and ``basis`` (D, R - 1) float64 and ``reduced`` (N, R) float32 where the first
        pass helps. For ``ssim`` ``window_sums`` (N, W) uint16 and ``window_spreads`` (N, W) uint32, W = (S - 6)^2: 6
        bytes a window.

    Raises
    ------
    UsageError
        If there is no such metric.
    ShapeError
        If vectors are not 2-D float32, or one of them is not finite, is longer than 1e18, or is no 8-bit image where
        the metric needs one.
    """
    check_vectors(vectors, metric, METRICS)
    if metric == "ssim":
        return _ssim.build(vectors)
    return _products.build(vectors, coordinates, cosine=metric == "cosine")


def open(vectors: ndarray, payload: dict[str, ndarray], *, metric: str, coordinates: int = 64) -> "Searcher":
    """Return the searcher over some vectors.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        Those that the payload was built from.
    payload : dict of str to ndarray
        As ``build`` made it; the arrays may be memory maps.
    metric, coordinates
        As given to ``build``; only the first matters here.

    Raises
    ------
    UsageError
        If there is no such metric.
    ShapeError
        If vectors are not 2-D float32 or the payload belongs to others.
    """
    check_vectors(vectors, metric, METRICS)
    vectors = np.asarray(vectors)  # the same memory without the bookkeeping of np.memmap
    if metric == "ssim":
        return Searcher(vectors, _ssim.Windows(vectors, payload))
    return Searcher(vectors, _products.Products(vectors, payload, metric))


class Searcher:
    """Answers queries over one set of vectors."""

    def __init__(self, vectors: ndarray, metric: _products.Products | _ssim.Windows) -> None:
        self._shape = vectors.shape
        self._metric = metric

    def search(self, queries: ndarray, k: int, *, allowed: Filter | None = None) -> tuple[ndarray, ndarray]:
        """Find the k nearest rows of each query.

        Parameters
        ----------
        queries : ndarray (Q, D), float32
            Of the kind that the index holds.
        k : int
            At least 1.
        allowed : callable, optional
            Called once with the number of each query; returns which rows may answer it, or None for all. Rows that
            may not answer make room for others: k are given wherever k exist.

        Returns
        -------
        distances : ndarray (Q, k), float32
            Ascending; inf where fewer than k rows exist.
        rows : ndarray (Q, k), int64
            Ties in ascending order; -1 where fewer than k rows exist.

        Raises
        ------
        UsageError
            If k is below 1.
        ShapeError
            If queries have another shape or type, a query is not one that ``build`` would have accepted as a vector,
            or ``allowed`` names a row that does not exist.
        """
        count, width = self._shape
        check_queries(queries, k, width)
        self._metric.check(queries)
        parts = [Nearest(0, k)]
        for asked, only, without in together(len(queries), count, allowed, _QUERIES):
            nearest = Nearest(len(without), k)
            self._metric.scan(np.ascontiguousarray(queries[asked]), nearest, only, without)
            parts.append(nearest)
        return np.concatenate([p.distances for p in parts]), np.concatenate([p.rows for p in parts])
