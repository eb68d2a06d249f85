"""mean-precision@k: the mean of precision@1, precision@2, ..., precision@k.

``1 / k * sum over i = 1..k of P@i``. From 0 to 1; 1 if all of the first k results are relevant. The CT-liver paper
calls its mean over queries MAP, at k = 5.

Ties: images of one distance count in the order of the list.
Empty: 0 for an empty list, and 0 where nothing in the catalogue is relevant; never masked.
Beyond the list: places that the list does not have count as not relevant.
Not to be confused with: ``average-precision``, the mean over the ranks of relevant images alone: the list 0, 1, 1, 0, 1
has mean-precision@5 .453 and average precision .589; ``mean-precision-wickstrom``, the paper's code.

Reference
---------
K. K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. arXiv:2207.04812, equation 5.

Differs from the authors' code
------------------------------
The code takes the mean over i = 1..k-1, which is ``mean-precision-wickstrom``.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking._check import binary, catalogues, cutoff

RELEVANCE = "binary"


def score(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """mean-precision@k of each query.

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
    # The result at rank i adds 1 / i + 1 / (i + 1) + ... + 1 / k.
    weights = (1.0 / np.arange(1, k + 1))[::-1].cumsum()[::-1] / k
    first = min(k, found.shape[1])
    return np.ma.MaskedArray(found[:, :first] @ weights[:first], mask=np.zeros(len(found), dtype=bool))


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of mean-precision@k over all orders of the catalogue.

    The mean of precision@i is ``min(i, N) / i * R / N``, which for k up to N is the share of relevant images.

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
        From 0 to 1, nothing masked; 0 for an empty catalogue.

    Raises
    ------
    ShapeError
        If there are more relevant images than images, or k is no positive integer.
    """
    (few, all_), k = catalogues(relevant, size), cutoff(k)
    ranks = np.arange(1, k + 1)
    reached = (np.minimum(ranks, all_[:, None]) / ranks).mean(axis=1)
    return np.ma.MaskedArray(reached * few / np.maximum(1, all_), mask=np.zeros(len(few), dtype=bool))
