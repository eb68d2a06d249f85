"""ACG_p@k over the query's positive labels: the mean share of them that the first k results have.

``sum over i = 1..k of r_i / k``, where r_i is the number of labels that are positive in the query and in result i,
divided by the number of the query's positive labels. From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries without a positive label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as relevance 0.
Not to be confused with: ``acg-p-total`` and ``acg-p-union``, which divide the same number by all labels and by the
positive ones of either image. Here a result that is positive for everything scores 1.

Reference
---------
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Section
3. ACG_p as the recall of the query's labels.
"""

from numpy.ma import MaskedArray
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _gain

RELEVANCE = "positives-of-query"


def score(relevance: ArrayLike, k: int) -> MaskedArray:
    """ACG_p@k of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 to 1
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
        If ``relevance`` is not 2-D or holds anything but 0 to 1, or k is no positive integer.
    """
    return _gain.mean(relevance, k)


def expected(total: ArrayLike, size: ArrayLike, k: int) -> MaskedArray:
    """Exact mean of ACG_p@k over all orders of the catalogue: ``min(k, N) / k * total / N``.

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
