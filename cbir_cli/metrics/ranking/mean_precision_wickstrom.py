"""mean-precision-wickstrom@k: the mean of precision@1 to precision@k-1, as the CT-liver paper's code computes its MAP.

``1 / (k - 1) * sum over i = 1..k-1 of P@i``. From 0 to 1. It is the number of ``mean-precision`` one rank earlier;
under this name it is found by the k that the paper and its code state, 5.

Ties: images of one distance count in the order of the list.
Empty: 0 for an empty list, and 0 where nothing in the catalogue is relevant; never masked.
Beyond the list: places that the list does not have count as not relevant.
Not to be confused with: ``mean-precision``, the paper's own formula; ``average-precision``. The list 0, 1, 1, 0, 1 has
.417 here at 5, and .453 and .589 there.

Reference
---------
K. K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. arXiv:2207.04812. Its code: Wickstrom/clinical-self-supervised-CBIR-ct-liver, ``map_eval`` in helpers.py, whose
``range(1, k)`` ends before k.

Differs from the authors' code
------------------------------
No. k = 1, of which the code has the mean of nothing, is refused.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import mean_precision
from cbir_cli.metrics.ranking._check import cutoff

RELEVANCE = "binary"


def score(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """mean-precision-wickstrom@k of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 or 1
        Relevance of the results, best result first.
    k : int
        One more than the results that count; at least 2.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, nothing masked.

    Raises
    ------
    ShapeError
        If ``relevance`` is not 2-D or holds anything but 0 and 1, or k is no integer of at least 2.
    """
    return mean_precision.score(relevance, _before(k))


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of mean-precision-wickstrom@k over all orders of the catalogue.

    Parameters
    ----------
    relevant : array (Q,) of int
        Relevant images in the catalogue of each query, R.
    size : array (Q,) of int
        Images in the catalogue of each query, N.
    k : int
        One more than the results that count; at least 2.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, nothing masked; 0 for an empty catalogue.

    Raises
    ------
    ShapeError
        If there are more relevant images than images, or k is no integer of at least 2.
    """
    return mean_precision.expected(relevant, size, _before(k))


def _before(k: int) -> int:
    if cutoff(k) < 2:
        raise ShapeError("k: expected an integer of at least 2, found 1: this metric counts the results before k")
    return int(k) - 1
