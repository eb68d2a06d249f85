"""precision@k: the share of relevant images among the first k results.

``P@k = (relevant images among the first k) / k``. From 0 to 1.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list, and 0 where nothing in the catalogue is relevant; never masked.
Beyond the list: the denominator is always k, so places that the list does not have count as not relevant (as in
trec_eval). A catalogue of fewer than k images cannot reach 1.
Not to be confused with: R-precision (``r_precision``), which the IG-CBIR paper calls precision; success@k, which asks
for one relevant image; ``mean-precision@k``, the mean of precision@1..k, which the CT-liver paper calls MAP.

Reference
---------
Interpretability-guided content-based medical image retrieval (MICCAI 2020), equation 3.

Differs from the authors' code
------------------------------
X-MIR's code takes k no further than the rank of the last relevant image. It counts the query as one, at the end of its
own list, so that this changes nothing unless k exceeds the number of images; there it divides by that number.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking._check import binary, catalogues, cutoff

RELEVANCE = "binary"

ALIASES = ("p",)


def score(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """precision@k of each query.

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
    return np.ma.MaskedArray(found[:, :k].sum(axis=1) / k, mask=np.zeros(len(found), dtype=bool))


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of precision@k over all orders of the catalogue: ``min(k, N) / k * relevant / N``.

    Parameters
    ----------
    relevant : array (Q,) of int
        Relevant images in the catalogue of each query.
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
    value = np.minimum(k, all_) / k * few / np.maximum(1, all_)
    return np.ma.MaskedArray(value, mask=np.zeros(len(few), dtype=bool))
