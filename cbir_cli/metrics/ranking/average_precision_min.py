"""AP@k divided by min(k, R): average precision of the first k results, 1 if they are as relevant as can be.

``sum over the ranks i <= k of relevant images of P@i / min(k, R)``, with R the number of relevant images in the
catalogue of the query. From 0 to 1; 1 if the first min(k, R) results are relevant.

Ties: images of one distance count in the order of the list.
Empty: masked where nothing in the catalogue is relevant (R is 0).
Beyond the list: places that the list does not have count as not relevant.
Not to be confused with: ``average-precision``, which looks at the whole list; ``average-precision-cut@k``, trec_eval's,
and ``average-precision-over-k@k``, which divide by R and by k; the mAP@k of hashing, which divides by the relevant
images that are found among the first k, so that a list is not punished for those it misses. Of the list 0, 1, 1, 0, 1
whose catalogue has four relevant images, AP@5 is .442 divided by R, .442 by min(5, R) and .353 by 5; AP@3 is .292, .389
and .389.

Reference
---------
None: a common definition, in recommendation above all.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _precisions
from cbir_cli.metrics.ranking._check import catalogues, cutoff

RELEVANCE = "binary"


def score(relevance: ArrayLike, relevant: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """average-precision-min@k of each query.

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
    found, total = _precisions.lists("average-precision-min", relevance, relevant)
    k = cutoff(k)
    sums = _precisions.at_relevant(found[:, :k]).sum(axis=1)
    return np.ma.MaskedArray(sums / np.maximum(1, np.minimum(k, total)), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of average-precision-min@k over all orders of the catalogue.

    ``R / N * (m q + (1 - q) H_m) / min(k, R)`` with ``m = min(k, N)``, ``q = (R - 1) / (N - 1)`` and
    ``H_m = 1 + 1/2 + ... + 1/m``.

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
    sums = _precisions.expected_sum(few, all_, np.minimum(k, all_))
    return np.ma.MaskedArray(sums / np.maximum(1, np.minimum(k, few)), mask=few == 0)
