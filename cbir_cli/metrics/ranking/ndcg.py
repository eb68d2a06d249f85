"""nDCG@k: how close the order of the first k results comes to the best order, by graded relevance.

``DCG@k = sum over i = 1..k of (2**rel_i - 1) / log2(i + 1)``, and ``nDCG@k = DCG@k / IDCG@k``, where IDCG@k is the DCG
of the k most relevant images of the *whole* catalogue, best first. From 0 to 1; 1 for the expert's own order.

Ties: images of equal relevance are interchangeable, their order does not matter.
Empty: masked for a query whose catalogue holds nothing with relevance above 0 (IDCG is 0). An empty list scores 0.
Beyond the list: positions that the list does not have gain nothing, while IDCG still counts min(k, N) images.
Not to be confused with: ``ndcg-linear``, with ``rel`` for ``2**rel - 1`` (the default of scikit-learn, torchmetrics and
trec_eval), which is .891 where this is .767; nor with nDCG whose ideal comes from the retrieved images only. The
exponential gain is also called Burges' gain: RankNet (Burges et al. 2005) has ``2**rel - 1`` and the discount
``1 / log(1 + i)``, whose base cancels in the ratio. So ``ndcg-burges`` and ``ndcg-exponential`` are other names of this
metric; ranx calls it ``ndcg_burges``, and ``ndcg`` the one with linear gain.

Chance is high: for ten images ranked by an expert a random order scores .698 at 10, .570 at 7, .441 at 4 and .399 at 3
on average, so ``expected`` is printed beside every score. A random order gets .80 or more at 10 in 17.7 % of all cases,
.88 in 8.0 % and .90 in 5.3 %.

Reference
---------
Interpretability-guided content-based medical image retrieval (MICCAI 2020), equations 1 and 2.
C. Burges et al. Learning to Rank using Gradient Descent. ICML 2005 (the gain and the discount).

Differs from the authors' code
------------------------------
It makes relevance of a rank in a catalogue of N images by ``((N + 1) - rank) / 2 + .5``, which is the paper's 5.5 to 1
for N = 10, and is ``cbir_cli.relevance.from_ranks`` here. The formula is the same.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.metrics.ranking import _dcg

RELEVANCE = "graded"

ALIASES = ("ndcg-burges", "ndcg-exponential")


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
    return _dcg.score("ndcg", relevance, ideal, k, _exponential)


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
    return _dcg.expected(ideal, k, _exponential)


def _exponential(relevance: NDArray[np.float64], top: NDArray[np.float64]) -> NDArray[np.float64]:
    # (2**rel - 1) / 2**top: the factor cancels in the ratio, and catalogues of thousands would overflow without it.
    return np.exp2(relevance - top[:, None]) - np.exp2(-top)[:, None]
