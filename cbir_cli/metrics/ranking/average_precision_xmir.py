"""Average precision as X-MIR's code computes it: by trapezoids, the query being relevant and last in its own list.

``(sum over the ranks i of relevant images of (P@(i-1) + P@i) / 2 + (R / N + (R + 1) / (N + 1)) / 2) / (R + 1)``, with R
relevant images of N in the catalogue of the query. From 0 to 1, which it reaches only if all images are relevant: the
code searches the test set in itself and pushes the query to the last rank, but counts it as relevant. 99 relevant
images of 299, all in front, have .993.

Ties: images of one distance count in the order of the list.
Empty: masked where nothing in the catalogue is relevant (R is 0).
Beyond the list: refused if the list lacks a relevant image, since where that would stand is not known.
Not to be confused with: ``average-precision-trapezoid``, which is the same without the query; ``average-precision``.
The list 0, 1, 1, 0, 1 has .504 here, and .461 and .589 there.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022, table 1 (mAP, of which the paper gives
no formula). Its code: ``compute_map`` in test.py, after cnnimageretrieval-pytorch, which leaves the query out as junk.

Differs from the authors' code
------------------------------
The code never leaves a query out: it gives 1 / (2 (N + 1)) to one without relevant images.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import _precisions, average_precision_trapezoid
from cbir_cli.metrics.ranking._check import catalogues

RELEVANCE = "binary"


def score(relevance: ArrayLike, relevant: ArrayLike, size: ArrayLike) -> "np.ma.MaskedArray":
    """X-MIR's average precision of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 or 1
        Relevance of the results, best result first.
    relevant : array (Q,) of int
        Relevant images in the catalogue of each query, R.
    size : array (Q,) of int
        Images in the catalogue of each query, N.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, masked where R is 0.

    Raises
    ------
    ShapeError
        If ``relevance`` holds anything but 0 and 1, a list does not hold exactly R relevant images, or it is longer
        than its catalogue.
    """
    found, total = _precisions.whole_lists("average-precision-xmir", relevance, relevant)
    few, all_ = catalogues(relevant, size)
    if (all_ < found.shape[1]).any():
        raise ShapeError(f"average-precision-xmir: a list of {found.shape[1]} is longer than its catalogue")
    return np.ma.MaskedArray(_with_query(_precisions.trapezoids(found), few, all_), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike) -> "np.ma.MaskedArray":
    """Exact mean of X-MIR's average precision over all orders of the catalogue.

    The mean of the sum is R times that of ``average-precision-trapezoid``; what the query adds does not depend on the
    order.

    Parameters
    ----------
    relevant : array (Q,) of int
        Relevant images in the catalogue of each query, R.
    size : array (Q,) of int
        Images in the catalogue of each query, N.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, masked where R is 0.

    Raises
    ------
    ShapeError
        If there are more relevant images than images.
    """
    few, all_ = catalogues(relevant, size)
    sums = np.asarray(average_precision_trapezoid.expected(few, all_).filled(0.0) * few, dtype=np.float64)
    return np.ma.MaskedArray(_with_query(sums, few, all_), mask=few == 0)


def _with_query(sums: NDArray[np.float64], relevant: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.float64]:
    """Add the trapezoid of the query, at rank N + 1 behind all images."""
    before = np.where(size > 0, relevant / np.maximum(1, size), 1.0)
    return np.asarray((sums + (before + (relevant + 1) / (size + 1)) / 2) / (relevant + 1))
