"""HNSW: a graph of near vectors in layers, walked from the top towards the query.

Fastest to answer of the approximate kinds, and slowest to build. The graph is walked on 8-bit codes of the vectors;
what it finds is ordered by true distances.

Reference
---------
Y. A. Malkov, D. A. Yashunin. Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical Navigable
Small World Graphs. IEEE Transactions on Pattern Analysis and Machine Intelligence 42 (2020). Algorithms 1 to 5.
M. Douze et al. The Faiss Library. arXiv:2401.08281 (2024): its implementation is used.

Differs from the authors' code
------------------------------
Vectors in the graph are 8-bit codes, and results are measured again on the vectors themselves. The graph is the same
for equal input and seed, whatever the number of threads.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index import _built, _faiss, _grown, exact
from cbir_cli.progress import Progress

METRICS = _faiss.METRICS

_EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)


def build(
    vectors: ndarray,
    *,
    metric: str,
    recall: float = 0.98,
    links: int = 0,
    ef_construction: int = 0,
    ef_search: int = 0,
    rerank: int = 0,
    sample: int = 500,
    seed: int = 1,
    threads: int | None = None,
) -> dict[str, ndarray]:
    """Build the graph, and choose how much of it a search walks.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
        May be a memory map; it is read in blocks.
    metric : str
        ``l2`` or ``cosine``.
    recall : float
        Wanted mean recall@10 on the sample, with 95 % confidence; a warning says if it is not reached.
    links : int
        Of a vector in a layer, M of the paper; twice as many in the lowest. 0: 16 to 10,000 vectors, else 32.
    ef_construction : int
        Candidates when a vector is linked. 0: 80 to 100,000 vectors, else 120.
    ef_search : int
        Candidates of a search. 0: the fewest that give the wanted recall.
    rerank : int
        Candidates that are measured on the stored vectors; four times the results at the least. 0: the fewest.
    sample : int
        Vectors that recall is measured on, each as a query without itself.
    seed : int
        Draws layers and sample.
    threads : int, optional
        Of faiss; its default if not given. The result does not depend on it.

    Returns
    -------
    dict of str to ndarray
        ``codes`` (N, D) uint8 and ``range`` (2, D) float32: lowest value and span of each number, in 255 steps.
        ``neighbors`` (L,) int32: of each vector 2 M places in the lowest layer, then M for each layer above, -1 where
        there is none; ``levels`` (N,) uint8, layers that a vector is in; ``entry`` (2,) int64, where a search starts,
        and M. ``rows`` (N,) int64, ``longest`` (1,) float64, ``effort`` (2,) int64: ef_search and rerank;
        ``recall`` (2,) float64 at 10 and 50, ``sample`` (1,) int64.

    Raises
    ------
    UsageError
        If a parameter or the metric makes no sense.
    ShapeError
        If vectors are not 2-D, float32, finite and shorter than 1e18.
    """
    wish = _built.Wish(recall, ef_search, rerank, sample, seed)
    _built.check(vectors, metric, wish, links=links, ef_construction=ef_construction, ef_search=ef_search)
    links = max(2, links) if links else 16 if len(vectors) <= 10_000 else 32
    ef_construction = ef_construction or (80 if len(vectors) <= 100_000 else 120)
    parts = exact.build(vectors, metric=metric)
    longest = np.sqrt(parts["squared_norms"].max(initial=0.0))
    space = _faiss.Space(metric, float(longest), vectors.shape[1])
    with _faiss.threads(threads):
        graph = _graph(vectors, space, links, ef_construction, seed)
        payload = {**graph, "rows": np.arange(len(vectors)), "longest": np.array([longest])}
        return _built.adjusted(
            vectors, parts, payload, wish, metric=metric, open=open, efforts=_EFFORTS, most=_EFFORTS[-1]
        )


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
    faiss = _faiss.library()
    space = _built.space(vectors, payload, metric)
    rows = _grown.rows_of(payload, len(vectors))
    effort, rerank = _built.effort(payload)
    codes = _faiss.number(payload, "codes", (len(rows), space.width), "u1")
    index = _empty(faiss, space.width, int(_faiss.number(payload, "entry", (2,), "i8")[1]), payload)
    offsets, levels, neighbors, entry = _checked(payload, index.hnsw, len(rows))
    hnsw, storage = index.hnsw, faiss.downcast_index(index.storage)
    faiss.copy_array_to_vector(levels, hnsw.levels)
    faiss.copy_array_to_vector(offsets.view(np.uint64), hnsw.offsets)
    hnsw.neighbors = _faiss.view(neighbors)
    storage.codes = _faiss.view(codes)
    storage.ntotal = index.ntotal = len(rows)
    hnsw.entry_point, hnsw.max_level = entry, int(levels.max(initial=0)) - 1
    kept = (codes, neighbors)  # faiss looks at them

    def find(probes: ndarray, count: int, effort: int, selector: Any) -> ndarray:
        assert kept
        count = min(count, len(rows))
        wide = min(max(effort, count), len(rows))
        parameters = faiss.SearchParametersHNSW(efSearch=wide, sel=selector)
        return index.search(probes, count, params=parameters)[1]

    return _grown.Searcher(vectors, rows, metric, space, find, effort, rerank)


def measured(payload: dict[str, ndarray]) -> dict[str, Any]:
    """Return what was chosen for an index and the recall that it has, by name."""
    return _built.measured(payload, "ef_search", links=int(payload["entry"][1]))


def _empty(faiss: Any, width: int, links: int, payload: dict[str, ndarray]) -> Any:
    """An index of faiss without vectors, that has what codes span."""
    if not 2 <= links <= 2**15:
        raise ShapeError(f"entry of the payload: expected links from 2 to {2**15}, found {links}")
    index = faiss.IndexHNSWSQ(width, faiss.ScalarQuantizer.QT_8bit, links)
    storage = faiss.downcast_index(index.storage)
    faiss.copy_array_to_vector(_faiss.number(payload, "range", (2, width), "f4").ravel(), storage.sq.trained)
    storage.is_trained = index.is_trained = True
    return index


def _graph(vectors: ndarray, space: _faiss.Space, links: int, ef_construction: int, seed: int) -> dict[str, ndarray]:
    faiss = _faiss.library()
    lowest, highest = np.zeros((2, space.width), np.float32)
    for start, _, block in space.blocks(vectors):
        low, high = block.min(axis=0), block.max(axis=0)
        lowest, highest = (np.minimum(lowest, low), np.maximum(highest, high)) if start else (low, high)
    span = _faiss.train_range(lowest, highest)
    index = _empty(faiss, space.width, links, {"range": span})
    hnsw, storage = index.hnsw, faiss.downcast_index(index.storage)
    hnsw.efConstruction = ef_construction
    hnsw.rng = faiss.RandomGenerator(seed)
    progress = Progress(len(vectors), "graph")
    for start, stop, block in space.blocks(vectors):
        index.add(block)
        progress.advance(stop - start)
    progress.close()
    count = len(vectors)
    neighbors = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size()) if count else np.empty(0)
    codes = faiss.rev_swig_ptr(storage.codes.data(), storage.codes.size()) if count else np.empty(0)
    return {
        "codes": codes.astype(np.uint8).reshape(count, space.width),
        "range": span,
        "neighbors": neighbors.astype(np.int32),
        "levels": faiss.vector_to_array(hnsw.levels).astype(np.uint8),
        "entry": np.array([hnsw.entry_point, links], np.int64),
    }


def _checked(payload: dict[str, ndarray], hnsw: Any, count: int) -> tuple[ndarray, ndarray, ndarray, int]:
    """Return offsets (N + 1,) int64, levels (N,) int32, neighbors and entry: faiss trusts them without a look.

    Raises
    ------
    ShapeError
        If walking the graph could leave it.
    """
    levels = _faiss.number(payload, "levels", (count,), "u1").astype(np.int32)
    neighbors = _faiss.number(payload, "neighbors", (-1,), "i4")
    entry, links = _faiss.number(payload, "entry", (2,), "i8").tolist()
    top = int(levels.max(initial=0))
    if count and (levels.min() < 1 or top >= hnsw.cum_nneighbor_per_level.size()):
        raise ShapeError("levels of the payload are none of a graph")
    offsets = np.concatenate([[0], np.cumsum(2 * links + (levels.astype(np.int64) - 1) * links)])
    if neighbors.size != offsets[-1]:
        raise ShapeError(f"neighbors of the payload: expected {offsets[-1]}, found {neighbors.size}")
    if (count and not 0 <= entry < count) or (not count and entry != -1) or (count and levels[entry] != top):
        raise ShapeError(f"entry of the payload: {entry} is no vector of the highest layer")
    for start in range(0, neighbors.size, 2**20):
        part = neighbors[start : start + 2**20]
        if part.min() < -1 or part.max() >= count:
            raise ShapeError(f"neighbors of the payload: expected vectors from 0 to {count - 1}, or -1")
    for level in range(1, top):
        members = np.flatnonzero(levels > level)
        places = offsets[members] + 2 * links + (level - 1) * links
        near = neighbors[places[:, None] + np.arange(links)]
        if (levels[near[near >= 0]] <= level).any():
            raise ShapeError("neighbors of the payload: a link leads to a vector that is not in its layer")
    return offsets, levels, neighbors, entry
