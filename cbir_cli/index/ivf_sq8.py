"""IVF-SQ8: lists of vectors around centroids, with a byte for each number of a vector.

A search scans the lists of the nearest centroids, and orders what it finds by true distances. A quarter of the bytes
of the vectors; built sooner than a graph, and slower to answer.

Reference
---------
H. Jegou, M. Douze, C. Schmid. Product Quantization for Nearest Neighbor Search. IEEE Transactions on Pattern Analysis
and Machine Intelligence 33 (2011): inverted lists of residuals, section 4.
M. Douze et al. The Faiss Library. arXiv:2401.08281 (2024): its implementation is used.

Differs from the authors' code
------------------------------
Results are measured again on the vectors themselves. Codes span what all residuals span, not those of a sample.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.index import _built, _effort, _faiss, _grown, _lists, _payload, exact

METRICS = _faiss.METRICS

_MOST = 512  # candidates


def build(
    vectors: ndarray,
    *,
    metric: str,
    recall: float = 0.98,
    nlist: int = 0,
    nprobe: int = 0,
    rerank: int = 0,
    sample: int = 500,
    seed: int = 0,
    threads: int | None = None,
) -> dict[str, ndarray]:
    """Sort vectors into lists, and choose how many of them a search scans.

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
    nprobe : int
        Lists that a search scans. 0: the fewest that give the wanted recall.
    rerank : int
        Candidates that are measured on the stored vectors; four times the results at the least. 0: the fewest.
    sample : int
        Vectors that recall is measured on, each as a query without itself.
    seed : int
        Draws what centroids start from, and the sample.
    threads : int, optional
        Of faiss; its default if not given.

    Returns
    -------
    dict of str to ndarray
        ``centroids`` (nlist, D) float32, ``sizes`` (nlist,) int64, ``rows`` (N,) int64 list by list, and in that order
        ``codes`` (N, D) uint8: of vectors less their centroid, in 255 steps of ``range`` (2, D) float32, the lowest
        value and the span. ``longest`` (1,) float64, ``effort`` (2,) int64: nprobe and rerank; ``recall`` (2,) float64
        at 10 and 50, ``sample`` (1,) int64.

    Raises
    ------
    UsageError
        If a parameter or the metric makes no sense.
    ShapeError
        If vectors are not 2-D, float32, finite and shorter than 1e18.
    """
    wish = _built.Wish(recall, nprobe, rerank, sample, seed)
    _built.check(vectors, metric, wish, nlist=nlist, nprobe=nprobe)
    parts = exact.build(vectors, metric=metric, coordinates=0)
    nlist = min(nlist, max(1, len(vectors))) or _lists.wanted(len(vectors))
    longest = np.sqrt(parts["squared_norms"].max(initial=0.0))
    space = _faiss.Space(metric, float(longest), vectors.shape[1])
    with _faiss.threads(threads):
        points = _lists.centroids(vectors, space, nlist, seed)
        lists = _lists.Sorted(vectors, space, points)
        span = _faiss.span(lists.lowest, lists.highest)
        index = _empty(points, span)
        payload = {
            "centroids": points,
            "sizes": lists.sizes,
            "rows": lists.rows,
            "codes": lists.codes(vectors, space, index),
            "range": span,
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
    space = _built.space(vectors, payload, metric)
    rows = _payload.rows(payload, len(vectors))
    effort, rerank = _built.effort(payload)
    points = _lists.checked_points(payload, space.width)
    index = _empty(points, _payload.array(payload, "range", (2, space.width), "f4"))
    find = _lists.finder(index, payload, len(rows))
    return _grown.Searcher(vectors, rows, metric, space, find, effort, rerank)


def measured(payload: dict[str, ndarray]) -> dict[str, Any]:
    """Return what was chosen for an index and the recall that it has, by name."""
    return _built.measured(payload, "nprobe", nlist=len(payload["centroids"]))


def _empty(points: ndarray, span: ndarray) -> Any:
    """An index of faiss without vectors."""
    faiss = _faiss.library()
    quantizer = _faiss.flat(faiss, points)
    count, width = points.shape
    index = faiss.IndexIVFScalarQuantizer(quantizer, width, count, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2, True)
    faiss.copy_array_to_vector(np.ascontiguousarray(span).ravel(), index.sq.trained)
    index.is_trained = True
    return index
