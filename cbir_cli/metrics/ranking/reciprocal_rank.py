"""Reciprocal rank@k: one over the rank of the first relevant result, 0 if none is among the first k.

From 0 to 1. Its mean over queries is MRR, mean reciprocal rank; with k as large as the catalogue it has no cut-off.

Ties: images of one distance count in the order of the list.
Empty: 0 for an empty list, and 0 where nothing in the catalogue is relevant; never masked.
Beyond the list: places that the list does not have count as not relevant.
Not to be confused with: ``average-precision``, which looks at all relevant images (for R = 1 the two are equal); fusion
by reciprocal ranks (``cbir query --fuse rrf``), which is no score.

Chance is high where many images are relevant: .69 where half of them are.

Reference
---------
E. M. Voorhees. The TREC-8 Question Answering Track Report. TREC 1999, section 3 (k = 5).
"""

import functools

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking._check import binary, catalogues, cutoff

RELEVANCE = "binary"

ALIASES = ("mrr",)


def score(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Reciprocal rank@k of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 or 1
        Relevance of the results, best result first.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, nothing masked.

    Raises
    ------
    ShapeError
        If ``relevance`` is not 2-D or holds anything but 0 and 1, or k is no positive integer.
    """
    found = binary(relevance)[:, : cutoff(k)]
    first = found.argmax(axis=1) if found.shape[1] else np.zeros(len(found), dtype=np.int64)
    return np.ma.MaskedArray(found.any(axis=1) / (first + 1.0), mask=np.zeros(len(found), dtype=bool))


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of reciprocal rank@k over all orders of the catalogue.

    The first relevant image is at rank i with probability ``p_i = R / (N - i + 1)`` times the probability that none
    came before; the mean is the sum of ``p_i / i`` over i = 1..min(k, N). There is no closed form; the sum is exact.

    Parameters
    ----------
    relevant : array (Q,) of int
        Relevant images in the catalogue of each query, R.
    size : array (Q,) of int
        Images in the catalogue of each query, N.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, nothing masked; 0 for an empty catalogue.

    Raises
    ------
    ShapeError
        If there are more relevant images than images, or k is no positive integer.
    """
    (few, all_), k = catalogues(relevant, size), cutoff(k)
    values = [_chance(*pair, k) for pair in zip(few.tolist(), all_.tolist(), strict=True)]
    return np.ma.MaskedArray(np.array(values, dtype=np.float64), mask=np.zeros(len(values), dtype=bool))


@functools.lru_cache(maxsize=4096)
def _chance(relevant: int, size: int, k: int) -> float:
    none_yet, total = 1.0, 0.0
    for rank in range(1, min(k, size) + 1):
        here = none_yet * relevant / (size - rank + 1)
        total += here / rank
        none_yet -= here
        if none_yet <= 0:
            break
    return total
