"""precision-exact@k: the share of the first k results whose labels all agree with the query's.

``results among the first k with all labels as in the query / k``; positive and negative labels count alike.
From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries that state no label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as relevance 0.
Not to be confused with: ``precision-any``, where one common positive label is enough; ``precision``, which looks at one
label. Never above ``acg``: a result whose labels all agree adds 1 to both.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3. "73% of the retrieved images' disease labels matched exactly with the query image."
"""

from numpy.ma import MaskedArray
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _gain
from cbir_cli.metrics.ranking._check import binary

RELEVANCE = "exact"


def score(relevance: ArrayLike, k: int) -> MaskedArray:
    """precision-exact@k of each query.

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
    return _gain.mean(binary(relevance), k)


def expected(total: ArrayLike, size: ArrayLike, k: int) -> MaskedArray:
    """Exact mean of precision-exact@k over all orders of the catalogue: ``min(k, N) / k * total / N``.

    Parameters
    ----------
    total : array (Q,) of float64
        Sum of the relevance of all images in the catalogue of each query.
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
        If a total is below 0 or above the size of its catalogue, or k is no positive integer.
    """
    return _gain.expected(total, size, k)
