"""recall@k: the share of the relevant images of the catalogue that are among the first k results.

``(relevant images among the first k) / R``, with R the number of relevant images in the catalogue of the query.
From 0 to 1, which it cannot reach where k is below R. For R = 1 it is success@k.

Ties: the order within the first k does not matter.
Empty: masked where nothing in the catalogue is relevant (R is 0). An empty list scores 0.
Beyond the list: places that the list does not have count as not relevant.
Not to be confused with: ``success``, whether there is any relevant image among the first k. The literature on metric
learning calls that Recall@K (Oh Song et al. 2016), and so does X-MIR's code, which prints it as R@K. For 3 relevant
images of 100 found among the first 5, success@5 is 1 and recall@5 is .03.

Reference
---------
C. J. van Rijsbergen. Information Retrieval. Second edition, 1979, chapter 7. (trec_eval calls it ``recall_k``.)
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _precisions
from cbir_cli.metrics.ranking._check import catalogues, cutoff

RELEVANCE = "binary"


def score(relevance: ArrayLike, relevant: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """recall@k of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 or 1
        Relevance of the results, best result first.
    relevant : array (Q,) of int
        Relevant images in the catalogue of each query, R.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, masked where R is 0.

    Raises
    ------
    ShapeError
        If ``relevance`` holds anything but 0 and 1, a list holds more than R relevant images, or k is no positive
        integer.
    """
    found, total = _precisions.lists("recall", relevance, relevant)
    return np.ma.MaskedArray(found[:, : cutoff(k)].sum(axis=1) / np.maximum(1, total), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of recall@k over all orders of the catalogue: ``min(k, N) / N``.

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
        From 0 to 1, masked where R is 0.

    Raises
    ------
    ShapeError
        If there are more relevant images than images, or k is no positive integer.
    """
    (few, all_), k = catalogues(relevant, size), cutoff(k)
    return np.ma.MaskedArray(np.minimum(k, all_) / np.maximum(1, all_), mask=few == 0)
