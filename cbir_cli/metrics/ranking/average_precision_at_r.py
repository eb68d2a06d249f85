"""MAP@R: average precision that stops at rank R, R being how many relevant images the catalogue holds.

``1 / R * sum over the ranks i <= R of relevant images of P@i``. From 0 to 1; 1 if all relevant images come first. Its
mean over queries is the MAP@R of metric learning.

Ties: images of one distance count in the order of the list.
Empty: masked where nothing in the catalogue is relevant (R is 0).
Beyond the list: refused. A list cut off before R would look worse than it is, so ask for more results.
Not to be confused with: ``average-precision``, which goes on to the last relevant image; ``r-precision``, the share of
relevant images among the first R without regard to their order, never below this; ``average-precision-cut@k``, whose k
is the same for all queries.

Reference
---------
K. Musgrave, S. Belongie, S.-N. Lim. A Metric Learning Reality Check. ECCV 2020. arXiv:2003.08505, section
3.2, equations 5 and 6.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking import _precisions
from cbir_cli.metrics.ranking._check import catalogues

RELEVANCE = "binary"

ALIASES = ("map-at-r",)


def score(relevance: ArrayLike, relevant: ArrayLike) -> "np.ma.MaskedArray":
    """MAP@R of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 or 1
        Relevance of the results, best result first.
    relevant : array (Q,) of int
        Relevant images in the catalogue of each query, R.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, masked where R is 0.

    Raises
    ------
    ShapeError
        If ``relevance`` holds anything but 0 and 1, a list is shorter than R, or it holds more than R relevant images.
    """
    found, total = _precisions.lists("average-precision-at-r", relevance, relevant)
    if total.max(initial=0) > found.shape[1]:
        raise ShapeError(f"average-precision-at-r: needs the first {total.max()} results, found {found.shape[1]}")
    first = np.arange(found.shape[1]) < total[:, None]
    sums = (_precisions.at_relevant(found) * first).sum(axis=1)
    return np.ma.MaskedArray(sums / np.maximum(1, total), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike) -> "np.ma.MaskedArray":
    """Exact mean of MAP@R over all orders of the catalogue.

    ``(R q + (1 - q) H_R) / N`` with ``q = (R - 1) / (N - 1)`` and ``H_R = 1 + 1/2 + ... + 1/R``.

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
    return np.ma.MaskedArray(_precisions.expected_sum(few, all_, few) / np.maximum(1, few), mask=few == 0)
