"""AP@k divided by R: average precision that takes relevant images after rank k as never found.

``sum over the ranks i <= k of relevant images of P@i / R``, with R the number of relevant images in the catalogue of
the query. From 0 to 1, which it cannot reach where k is below R.

Ties: images of one distance count in the order of the list.
Empty: masked where nothing in the catalogue is relevant (R is 0).
Beyond the list: places that the list does not have count as not relevant.
Not to be confused with: ``average-precision``, which looks at the whole list; ``average-precision-min@k`` and
``average-precision-over-k@k``, which divide by min(k, R) and by k; ``average-precision-at-r``, which has k = R.
Of the list 0, 1, 1, 0, 1 whose catalogue has four relevant images, AP@5 is .442 divided by R, .442 by min(5, R) and
.353 by 5; AP@3 is .292, .389 and .389.

Reference
---------
C. Buckley, E. M. Voorhees. Evaluating Evaluation Measure Stability. SIGIR 2000, section 2. trec_eval calls it
``map_cut_k``, ir_measures ``AP@k``, ranx ``map@k``.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _precisions
from cbir_cli.metrics.ranking._check import catalogues, cutoff

RELEVANCE = "binary"


def score(relevance: ArrayLike, relevant: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """average-precision-cut@k of each query.

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
    found, total = _precisions.lists("average-precision-cut", relevance, relevant)
    k = cutoff(k)
    sums = _precisions.at_relevant(found[:, :k]).sum(axis=1)
    return np.ma.MaskedArray(sums / np.maximum(1, total), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of average-precision-cut@k over all orders of the catalogue.

    ``R / N * (m q + (1 - q) H_m) / R`` with ``m = min(k, N)``, ``q = (R - 1) / (N - 1)`` and
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
    return np.ma.MaskedArray(sums / np.maximum(1, few), mask=few == 0)
