"""R-precision: the share of relevant images among the first R results, R being how many the catalogue holds.

``RP = (relevant images among the first R) / R``, with R the number of relevant images in the catalogue of the query. At
this depth precision and recall are equal. From 0 to 1.

The IG-CBIR paper prints it as "precision": top 4 of 10, top 7 of 20, top 11 of 30, where 4, 7 and 11 are the numbers of
relevant images.

Ties: the order within the first R does not matter.
Empty: masked where nothing in the catalogue is relevant (R is 0).
Beyond the list: refused. A list cut off before R would look worse than it is, so ask for more results.
Not to be confused with: precision@k (``precision``), whose k is the same for all queries.

Reference
---------
Interpretability-guided content-based medical image retrieval (MICCAI 2020), equation 3 and table 1.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking._check import binary, catalogues, counts

RELEVANCE = "binary"


def score(relevance: ArrayLike, relevant: ArrayLike) -> "np.ma.MaskedArray":
    """R-precision of each query.

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
    found = binary(relevance)
    total = counts(relevant, "relevant", len(found))
    if total.max(initial=0) > found.shape[1]:
        raise ShapeError(f"r-precision: needs the first {total.max()} results, found {found.shape[1]}")
    if (found.sum(axis=1) > total).any():
        raise ShapeError("r-precision: a list holds more relevant images than its catalogue")
    first = np.arange(found.shape[1]) < total[:, None]
    return np.ma.MaskedArray((found * first).sum(axis=1) / np.maximum(1, total), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike) -> "np.ma.MaskedArray":
    """Exact mean of R-precision over all orders of the catalogue: ``relevant / N``.

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
    return np.ma.MaskedArray(few / np.maximum(1, all_), mask=few == 0)
