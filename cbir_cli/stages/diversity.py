"""Results that are near to the query and unlike each other: maximal marginal relevance.

Of the nearest images, a pool, the nearest comes first; then one at a time the image with the smallest

    weight * d(query, image) - (1 - weight) * min over the chosen of d(chosen, image)

where d is the distance of the index. With a weight of 1 these are the nearest, with 0 each next one is as far as it can
be from those before. Equal values: the nearer to the query.

Reference
---------
J. Carbonell, J. Goldstein. The use of MMR, diversity-based reranking for reordering documents and producing summaries.
SIGIR 1998. (Section 2: MMR, with minus the distance for both similarities, and lambda as weight.)
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from cbir_cli.stages import searchers


@dataclass(frozen=True)
class Diversity:
    """How unlike each other results are to be.

    Attributes
    ----------
    weight : float
        From 0 to 1, of the nearness to the query: the paper's lambda.
    pool : int
        The nearest images, of which the results are chosen; as many as there are results, if those are more.
    """

    weight: float
    pool: int = 100


def diverse(vectors: ndarray, distances: ndarray, k: int, *, weight: float, metric: str) -> ndarray:
    """Choose k images of a pool.

    Parameters
    ----------
    vectors : ndarray (P, D), float32
        Of the pool.
    distances : ndarray (P,), float32
        To the query, ascending.
    k : int
    weight : float
    metric : str
        ``l2``, ``cosine`` or ``ssim``.

    Returns
    -------
    ndarray (min(k, P),), int64
        Places in the pool, as they were chosen.
    """
    if not len(vectors):
        return np.empty(0, np.int64)
    between = _between(np.ascontiguousarray(vectors), metric)
    nearness = weight * distances.astype(np.float64)
    apart = np.zeros(len(vectors))  # the first is the nearest: there is nothing to be unlike
    chosen: list[int] = []
    for _ in range(min(k, len(vectors))):
        value = nearness - (1 - weight) * apart
        value[chosen] = np.inf
        if not chosen:
            value = distances.astype(np.float64)
        chosen.append(int(np.argmin(value)))
        latest = between[chosen[-1]]
        apart = latest if len(chosen) == 1 else np.minimum(apart, latest)
    return np.array(chosen, np.int64)


def _between(vectors: ndarray, metric: str) -> ndarray:
    """Return the distances (P, P) between vectors, as an exact index of them has it."""
    found, rows = searchers.exactly(vectors, metric).search(vectors, len(vectors))
    distances = np.empty(found.shape)
    np.put_along_axis(distances, rows, found.astype(np.float64), axis=1)
    return distances
