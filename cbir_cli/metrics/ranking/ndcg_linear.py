"""nDCG@k with linear gain: as ``ndcg``, but a result gains its relevance itself.

``DCG@k = sum over i = 1..k of rel_i / log2(i + 1)``, and ``nDCG@k = DCG@k / IDCG@k``, where IDCG@k is the DCG of the k
most relevant images of the *whole* catalogue, best first. From 0 to 1; 1 for the expert's own order.

Ties: images of equal relevance are interchangeable, their order does not matter.
Empty: masked for a query whose catalogue holds nothing with relevance above 0 (IDCG is 0). An empty list scores 0.
Beyond the list: positions that the list does not have gain nothing, while IDCG still counts min(k, N) images.
Not to be confused with: ``ndcg``, whose gain is ``2**rel - 1``: the papers mean that one. Where relevance is 0 or 1 the
two are equal. Linear gain hardly tells good lists from bad ones: a random order of ten ranked images scores .856 at 10.
trec_eval's ``ndcg_cut`` is this with whole relevances; ``ndcg`` of RankLib and of ranx (``ndcg_burges`` there) is not.

Reference
---------
K. Järvelin, J. Kekäläinen. Cumulated gain-based evaluation of IR techniques. ACM TOIS 20 (4), 2002, section 2.2. Their
discount starts at rank b, log_b(i); that of today, log2(i + 1), is what trec_eval and scikit-learn have.

Differs from the authors' code
------------------------------
No paper that this package implements uses it; it is here for comparison with tools that do.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.metrics.ranking import _dcg

RELEVANCE = "graded"


def score(relevance: ArrayLike, ideal: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """NDCG@k of each query, with linear gain.

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
    return _dcg.score("ndcg-linear", relevance, ideal, k, _linear)


def expected(ideal: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of nDCG@k with linear gain over all orders of the catalogue.

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
    return _dcg.expected(ideal, k, _linear)


def _linear(relevance: NDArray[np.float64], top: NDArray[np.float64]) -> NDArray[np.float64]:
    return relevance
