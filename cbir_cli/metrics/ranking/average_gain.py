"""average-gain@k: the mean number of positive labels that the first k results have in common with the query.

``sum over i = 1..k of r_i / k``, where r_i is the number of labels that are positive in the query and in result i.
From 0 to 1 where images have one positive label each, else to the number of labels.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list. Queries without a positive label are left out before; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as 0.
Not to be confused with: ``acg-p-total``, ``acg-p-query`` and ``acg-p-union``, which divide the same r_i by a number of
labels; ``acg``, where negative labels agree too. The literature on hashing calls this number ACG.

Reference
---------
F. Zhao, Y. Huang, L. Wang, T. Tan. Deep Semantic Ranking Based Hashing for Multi-Label Image Retrieval. CVPR 2015.
arXiv:1501.06272, section 4.1 (ACG).
N. F. Haq, M. Moradi, Z. J. Wang. Deep learning feature based medical image retrieval for large-scale datasets. Table 2.
"In terms of average gain as reported in" Z. Chen et al., Order-Sensitive Deep Hashing, MICCAI 2018: the paper gives no
formula, and its own .57 is neither of its ACG and ACG_p (.65, and .54 or .37). This is our reading: the gain of that
literature, which is a number of labels. The depth k is not stated either; the paper's other numbers are at 50.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _gain

RELEVANCE = "positives-in-common"


def score(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """average-gain@k of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, at least 0
        Number of positive labels that each result has in common with the query, best result first.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to the number of labels, nothing masked.

    Raises
    ------
    ShapeError
        If ``relevance`` is not 2-D or holds a negative number, or k is no positive integer.
    """
    return _gain.mean(relevance, k)


def expected(total: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of average-gain@k over all orders of the catalogue: ``min(k, N) / k * total / N``.

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
        From 0 to the number of labels, nothing masked; 0 for an empty catalogue.

    Raises
    ------
    ShapeError
        If a total is below 0, or k is no positive integer.
    """
    return _gain.expected_mean(total, size, k)
