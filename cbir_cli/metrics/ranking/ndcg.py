"""nDCG@k: how close the order of the first k results comes to the best order, by graded relevance.

``DCG@k = sum over i = 1..k of (2**rel_i - 1) / log2(i + 1)``, and ``nDCG@k = DCG@k / IDCG@k``, where IDCG@k is the DCG
of the k most relevant images of the *whole* catalogue, best first. From 0 to 1; 1 for the expert's own order.

Ties: images of equal relevance are interchangeable, their order does not matter.
Empty: masked for a query whose catalogue holds nothing with relevance above 0 (IDCG is 0). An empty list scores 0.
Beyond the list: positions that the list does not have gain nothing, while IDCG still counts min(k, N) images.
Not to be confused with: nDCG with linear gain (``rel`` for ``2**rel - 1``: the default of scikit-learn, torchmetrics
and trec_eval), which is .891 where this is .767; nor with nDCG whose ideal comes from the retrieved images only.

Chance is high: for ten images ranked by an expert a random order scores .698 at 10, .570 at 7, .441 at 4 and .399 at 3
on average, so ``expected`` is printed beside every score.

Reference
---------
Interpretability-guided content-based medical image retrieval (MICCAI 2020), equations 1 and 2.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking._check import cutoff, graded

RELEVANCE = "graded"


def score(relevance: ArrayLike, ideal: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """NDCG@k of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, at least 0
        Relevance of the results, best result first.
    ideal : array (Q, N) of float64, at least 0
        Relevance of every image in the catalogue, in any order; the results are among them.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, masked where nothing in the catalogue is relevant.

    Raises
    ------
    ShapeError
        If the shapes do not fit, a relevance is negative or not finite, or a list gains more than the ideal order,
        which means that its images are not those of the catalogue.
    """
    found, known, k = graded(relevance, "relevance"), graded(ideal, "ideal"), cutoff(k)
    if len(found) != len(known):
        raise ShapeError(f"ndcg: {len(found)} lists but {len(known)} catalogues")
    top = known.max(axis=1, initial=0.0)
    if (found.max(axis=1, initial=0.0) > top).any():
        raise ShapeError("ndcg: a result is more relevant than anything in its catalogue")
    best = _ideal_dcg(known, top, k)
    value = _dcg(_gain(found, top), k) / np.where(best > 0, best, 1.0)
    if (value > 1 + 1e-9).any():
        raise ShapeError("ndcg: a list is better than the ideal order: its images are not those of the catalogue")
    return np.ma.MaskedArray(np.minimum(value, 1.0), mask=best <= 0)


def expected(ideal: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of nDCG@k over all orders of the catalogue.

    Every position holds each image equally often, so the mean DCG is the mean gain times the sum of the discounts.

    Parameters
    ----------
    ideal : array (Q, N) of float64, at least 0
        Relevance of every image in the catalogue.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, masked where ``score`` is.

    Raises
    ------
    ShapeError
        As ``score``.
    """
    # Sorted, so that the order of the images does not show in the last digit of the sum.
    known, k = np.sort(graded(ideal, "ideal"), axis=1), cutoff(k)
    top = known.max(axis=1, initial=0.0)
    best = _ideal_dcg(known, top, k)
    gain = _gain(known, top)
    mean = gain.sum(axis=1, keepdims=True) / max(1, known.shape[1])
    value = _dcg(np.broadcast_to(mean, gain.shape), k) / np.where(best > 0, best, 1.0)
    return np.ma.MaskedArray(np.minimum(value, 1.0), mask=best <= 0)


def _gain(relevance: NDArray[np.float64], top: NDArray[np.float64]) -> NDArray[np.float64]:
    # (2**rel - 1) / 2**top: the factor cancels in the ratio, and catalogues of thousands would overflow without it.
    return np.exp2(relevance - top[:, None]) - np.exp2(-top)[:, None]


def _ideal_dcg(ideal: NDArray[np.float64], top: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    return _dcg(_gain(np.sort(ideal, axis=1)[:, ::-1], top), k)


def _dcg(gain: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    first = gain[:, :k]
    return first @ (1.0 / np.log2(np.arange(2, first.shape[1] + 2)))
