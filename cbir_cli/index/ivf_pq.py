"""IVF-PQ: lists of vectors around centroids, with a byte for every few numbers of a vector.

A search scans the lists of the nearest centroids, and orders what it finds by true distances: codes are so short that
without this every other result would be wrong. The smallest of the approximate kinds.

Reference
---------
H. Jegou, M. Douze, C. Schmid. Product Quantization for Nearest Neighbor Search. IEEE Transactions on Pattern Analysis
and Machine Intelligence 33 (2011): IVFADC, section 4.
M. Douze et al. The Faiss Library. arXiv:2401.08281 (2024): its implementation is used.

Differs from the authors' code
------------------------------
Results are measured again on the vectors themselves. Codes are of the vectors, not of what is left of them without
their centroid: a search then has one table of distances, not one a list, which takes a quarter of the time, and twice
the bytes make good for it. Codes are not made polysemous, which takes 50 times as long.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index import _built, _effort, _faiss, _grown, _lists, _payload, exact

METRICS = _faiss.METRICS

_MOST = 1024  # candidates
_POINTS = 32 * 256  # vectors that code books are made from
_FEWEST = 4 * 256  # below, vectors are taken several times: a code book has 256 entries
_ROUNDS = 8  # of k-means


def build(
    vectors: ndarray,
    *,
    metric: str,
    recall: float = 0.98,
    nlist: int = 0,
    pieces: int = 0,
    nprobe: int = 0,
    rerank: int = 0,
    sample: int = 500,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, ndarray]:
    """Sort vectors into lists of short codes, and choose how many a search scans and measures.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        May be a memory map; it is read in blocks, but for 40 vectors a list.
    metric : str
        ``l2`` or ``cosine``.
    recall : float
        Wanted mean recall@10 on the sample, with 95 % confidence; a warning says if it is not reached.
    nlist : int
        Lists. 0: four times the square root of N, of 39 vectors at the least.
    pieces : int
        Bytes of a code, m of the paper. 0: D / 8, and 8 at the least. A vector gets zeros behind where D cannot be
        divided by it.
    nprobe : int
        Lists that a search scans. 0: the fewest that give the wanted recall.
    rerank : int
        Candidates that are measured on the stored vectors; four times the results at the least. 0: the fewest.
    sample : int
        Vectors that recall is measured on, each as a query without itself.
    seed : int
        Draws what centroids and code books start from, and the sample.
    threads : int, optional
        Of faiss; its default if not given.

    Returns
    -------
    dict of str to ndarray
        ``centroids`` (nlist, D') float32, ``sizes`` (nlist,) int64, ``rows`` (N,) int64 list by list, and in that order
        ``codes`` (N, m) uint8: entries of ``books`` (m, 256, D'/m) float32.
        ``longest`` (1,) float64, ``effort`` (2,) int64: nprobe and rerank; ``recall`` (2,) float64 at 10 and 50,
        ``sample`` (1,) int64.

    Raises
    ------
    UsageError
        If a parameter or the metric makes no sense.
    ShapeError
        If vectors are not 2-D, float32, finite and shorter than 1e18.
    """
    wish = _built.Wish(recall, nprobe, rerank, sample, seed)
    _built.check(vectors, metric, wish, nlist=nlist, pieces=pieces, nprobe=nprobe)
    parts = exact.build(vectors, metric=metric, coordinates=0)
    nlist = min(nlist, max(1, len(vectors))) or _lists.wanted(len(vectors))
    width = vectors.shape[1]
    pieces = min(width, pieces or max(8, -(-width // 8)))
    longest = np.sqrt(parts["squared_norms"].max(initial=0.0))
    space = _faiss.Space(metric, float(longest), width, pieces * -(-width // pieces))
    with _faiss.threads(threads):
        points = _lists.centroids(vectors, space, nlist, seed)
        lists = _lists.Sorted(vectors, space, points)
        books = _books(vectors, space, pieces, seed)
        index = _empty(points, books)
        payload = {
            "centroids": points,
            "sizes": lists.sizes,
            "rows": lists.rows,
            "codes": lists.codes(vectors, space, index),
            "books": books,
            "longest": np.array([longest]),
        }
        searcher = open(vectors, {**payload, "effort": np.array([1, 1])}, metric=metric)
        held = _effort.Sample(vectors, parts, metric=metric, size=sample, seed=seed)
        chosen = _built.adjust(searcher, held, wish, efforts=_lists.efforts(nlist), most=lambda _: _MOST)
    return {**payload, **chosen}


def open(vectors: ndarray, payload: dict[str, ndarray], *, metric: str, **_: Any) -> _grown.Searcher:
    """Return the searcher over some vectors.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        Those of ``build``, or of a catalogue that has changed since as ``rows`` says.
    payload : dict of str to ndarray
        As ``build`` made it; the arrays may be memory maps.
    metric : str
        As given to ``build``.

    Raises
    ------
    UsageError
        If there is no such metric.
    ShapeError
        If the payload is damaged, or belongs to others.
    """
    books = np.array(_payload.array(payload, "books", (-1, 256, -1), "f4"))
    pieces, _, part = books.shape
    if not (0 < pieces and 0 < part and 0 <= pieces * part - vectors.shape[-1] < pieces):
        raise ShapeError(f"books of the payload: {pieces} of {part} numbers are none for {vectors.shape[-1]}")
    space = _built.space(vectors, payload, metric, pieces * part)
    rows = _payload.rows(payload, len(vectors))
    effort, rerank = _built.effort(payload)
    index = _empty(_lists.checked_points(payload, space.padded), books)
    find = _lists.finder(index, payload, len(rows))
    return _grown.Searcher(vectors, rows, metric, space, find, effort, rerank)


def measured(payload: dict[str, ndarray]) -> dict[str, Any]:
    """Return what was chosen for an index and the recall that it has, by name."""
    return _built.measured(payload, "nprobe", nlist=len(payload["centroids"]), pieces=payload["codes"].shape[1])


def _empty(points: ndarray, books: ndarray) -> Any:
    """An index of faiss without vectors."""
    faiss = _faiss.library()
    quantizer = _faiss.flat(faiss, points)
    count, width = points.shape
    index = faiss.IndexIVFPQ(quantizer, width, count, len(books), 8, faiss.METRIC_L2)
    faiss.copy_array_to_vector(books.ravel(), index.pq.centroids)
    index.by_residual = False
    index.is_trained = True
    return index


def _books(vectors: ndarray, space: _faiss.Space, pieces: int, seed: int) -> ndarray:
    """Code books (m, 256, D'/m) float32 of a part of the vectors."""
    faiss = _faiss.library()
    quantizer = faiss.ProductQuantizer(space.padded, pieces, 8)
    drawn = _lists.drawn(vectors, space, _POINTS, seed)
    if not len(drawn):
        return np.zeros((pieces, 256, space.padded // pieces), np.float32)
    drawn = np.tile(drawn, (-(-_FEWEST // len(drawn)), 1)) if len(drawn) < _FEWEST else drawn
    quantizer.cp.seed, quantizer.cp.niter = seed, _ROUNDS
    quantizer.cp.min_points_per_centroid, quantizer.cp.max_points_per_centroid = 1, len(drawn)
    quantizer.train(drawn)
    return faiss.vector_to_array(quantizer.centroids).reshape(pieces, 256, -1)
