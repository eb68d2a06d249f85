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
Vectors in the graph are 8-bit codes, and results are measured again on the vectors themselves. Vectors are linked a
few at a time to those before them (as faiss does it from 1.15), so that the graph is the same for equal input and seed,
whatever the number of threads.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index import _built, _effort, _faiss, _grown, _payload, exact
from cbir_cli.progress import Progress

METRICS = _faiss.METRICS

_MOST_LINKS = 2**10
_NOTHING = np.empty(0)
_EFFORTS = (40, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)


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
    seed: int = 0,
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
        and M. ``rows`` (N,) int64, those of the sample last; ``longest`` (1,) float64, of the vectors; ``effort`` (2,)
        int64: ef_search and rerank; ``recall`` (2,) float64 at 10 and 50; ``sample`` (1,) int64, its size.

    Raises
    ------
    UsageError
        If a parameter or the metric makes no sense.
    ShapeError
        If vectors are not 2-D, float32, finite and shorter than 1e18.
    """
    wish = _built.Wish(recall, ef_search, rerank, sample, seed)
    _built.check(vectors, metric, wish, links=links, ef_construction=ef_construction, ef_search=ef_search)
    links = max(2, min(links, _MOST_LINKS)) if links else 16 if len(vectors) <= 10_000 else 32
    ef_construction = ef_construction or (80 if len(vectors) <= 100_000 else 120)
    parts = exact.build(vectors, metric=metric, coordinates=0)
    longest = np.sqrt(parts["squared_norms"].max(initial=0.0))
    space = _faiss.Space(metric, float(longest), vectors.shape[1])
    held = _effort.Sample(vectors, parts, metric=metric, size=sample, seed=seed)
    with _faiss.threads(threads):
        span = _span(vectors, space)
        index = _empty(span, links)
        index.hnsw.efConstruction = ef_construction
        index.hnsw.rng = _faiss.library().RandomGenerator(seed)
        progress = Progress(len(vectors), "graph")
        # What recall is measured on comes last: it has to be new to the graph until then.
        _add(index, vectors, held.others, space, progress)
        searcher = _grown.Searcher(vectors, held.others, metric, space, _finder(index), 1, 1)
        chosen = _built.adjust(searcher, held, wish, efforts=_EFFORTS, most=int)
        _add(index, vectors, held.rows, space, progress)
        progress.close()
    return {
        **_arrays(index),
        "range": span,
        "entry": np.array([index.hnsw.entry_point, links], np.int64),
        "rows": np.concatenate([held.others, held.rows]),
        "longest": np.array([longest]),
        **chosen,
    }


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
    rows = _payload.rows(payload, len(vectors))
    effort, rerank = _built.effort(payload)
    codes = _payload.array(payload, "codes", (len(rows), space.width), "u1")
    index = _empty(
        _payload.array(payload, "range", (2, space.width), "f4"), int(_payload.array(payload, "entry", (2,), "i8")[1])
    )
    offsets, levels, neighbors, entry = _checked(payload, index.hnsw, len(rows))
    hnsw, storage = index.hnsw, faiss.downcast_index(index.storage)
    faiss.copy_array_to_vector(levels, hnsw.levels)
    faiss.copy_array_to_vector(offsets.view(np.uint64), hnsw.offsets)
    hnsw.neighbors, storage.codes = _faiss.view(neighbors), _faiss.view(codes)
    storage.ntotal = index.ntotal = len(rows)
    hnsw.entry_point, hnsw.max_level = entry, int(levels.max(initial=0)) - 1
    return _grown.Searcher(vectors, rows, metric, space, _finder(index, neighbors, codes), effort, rerank)


def measured(payload: dict[str, ndarray]) -> dict[str, Any]:
    """Return what was chosen for an index and the recall that it has, by name."""
    return _built.measured(payload, "ef_search", links=int(payload["entry"][1]))


def _empty(span: ndarray, links: int) -> Any:
    """An index of faiss without vectors, that knows what codes span."""
    faiss = _faiss.library()
    if not 2 <= links <= _MOST_LINKS:
        raise ShapeError(f"entry of the payload: expected links from 2 to {_MOST_LINKS}, found {links}")
    index = faiss.IndexHNSWSQ(span.shape[1], faiss.ScalarQuantizer.QT_8bit, links)
    storage = faiss.downcast_index(index.storage)
    faiss.copy_array_to_vector(span.ravel(), storage.sq.trained)
    storage.is_trained = index.is_trained = True
    return index


def _span(vectors: ndarray, space: _faiss.Space) -> ndarray:
    lowest, highest = np.full((2, space.width), np.inf, np.float32)
    highest *= -1
    for _, _, block in space.blocks(vectors, np.arange(len(vectors))):
        lowest, highest = np.minimum(lowest, block.min(axis=0)), np.maximum(highest, block.max(axis=0))
    return _faiss.span(lowest, highest)


def _add(index: Any, vectors: ndarray, rows: ndarray, space: _faiss.Space, progress: Progress) -> None:
    for start, stop, block in space.blocks(vectors, rows):
        index.add(block)
        progress.advance(stop - start)


def _finder(index: Any, *kept: ndarray) -> _grown.Find:
    """What searches an index; keeps the arrays that faiss looks at."""
    faiss = _faiss.library()

    def find(probes: ndarray, count: int, effort: int, selector: _faiss.Selector | None) -> ndarray:
        assert kept is not None
        count = min(count, index.ntotal)
        wide = min(max(effort, count), index.ntotal)
        parameters = faiss.SearchParametersHNSW(efSearch=wide, sel=selector.faiss if selector else None)
        return _faiss.nearest(index, probes, count, parameters)

    return find


def _arrays(index: Any) -> dict[str, ndarray]:
    """Copies of the codes and links of an index."""
    faiss = _faiss.library()
    neighbors, codes = index.hnsw.neighbors, faiss.downcast_index(index.storage).codes
    views = [faiss.rev_swig_ptr(v.data(), v.size()) if v.size() else _NOTHING for v in (neighbors, codes)]
    return {
        "neighbors": views[0].astype(np.int32),
        "codes": views[1].astype(np.uint8).reshape(-1, index.d),
        "levels": faiss.vector_to_array(index.hnsw.levels).astype(np.uint8),
    }


def _checked(payload: dict[str, ndarray], hnsw: Any, count: int) -> tuple[ndarray, ndarray, ndarray, int]:
    """Return offsets (N + 1,) int64, levels (N,) int32, neighbors and entry: faiss trusts them without a look.

    Raises
    ------
    ShapeError
        If walking the graph could leave it.
    """
    levels = _payload.array(payload, "levels", (count,), "u1").astype(np.int32)
    neighbors = _payload.array(payload, "neighbors", (-1,), "i4")
    entry, links = _payload.array(payload, "entry", (2,), "i8").tolist()
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
