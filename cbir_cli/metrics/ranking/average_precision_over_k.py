"""AP@k divided by k: the precisions at the ranks of relevant images among the first k, summed and divided by k.

``sum over the ranks i <= k of relevant images of P@i / k``, with R the number of relevant images in the catalogue of
the query. From 0 to 1, which it cannot reach where R is below k.

Ties: images of one distance count in the order of the list.
Empty: 0 for an empty list, and 0 where nothing in the catalogue is relevant; never masked.
Beyond the list: places that the list does not have count as not relevant.
Not to be confused with: ``average-precision``, which looks at the whole list; ``average-precision-cut@k`` and
``average-precision-min@k``, which divide by R and by min(k, R); ``mean-precision@k``, which has the precision at all
ranks. Of the list 0, 1, 1, 0, 1 whose catalogue has four relevant images, AP@5 is .442 divided by R, .442 by min(5, R)
and .353 by 5; AP@3 is .292, .389 and .389.

Reference
---------
None: a common definition.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _precisions
from cbir_cli.metrics.ranking._check import binary, catalogues, cutoff

RELEVANCE = "binary"


def score(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """average-precision-over-k@k of each query.

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
    found, k = binary(relevance), cutoff(k)
    value = _precisions.at_relevant(found[:, :k]).sum(axis=1) / k
    return np.ma.MaskedArray(value, mask=np.zeros(len(value), dtype=bool))


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of average-precision-over-k@k over all orders of the catalogue.

    ``R / N * (m q + (1 - q) H_m) / k`` with ``m = min(k, N)``, ``q = (R - 1) / (N - 1)`` and
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
        From 0 to 1, nothing masked.

    Raises
    ------
    ShapeError
        If there are more relevant images than images, or k is no positive integer.
    """
    (few, all_), k = catalogues(relevant, size), cutoff(k)
    sums = _precisions.expected_sum(few, all_, np.minimum(k, all_))
    return np.ma.MaskedArray(sums / k, mask=np.zeros(len(few), dtype=bool))
