"""Average precision by trapezoids: the area under the linear pieces between the points of precision and recall.

``1 / R * sum over the ranks i of relevant images of (P@(i-1) + P@i) / 2``, with P@0 = 1 and R the number of relevant
images in the catalogue of the query. From 0 to 1; 1 if all relevant images come first. It looks at the whole list.

Ties: images of one distance count in the order of the list.
Empty: masked where nothing in the catalogue is relevant (R is 0).
Beyond the list: refused if the list lacks a relevant image, since where that would stand is not known.
Not to be confused with: ``average-precision``, the sum of steps, which is above it unless all relevant images come
first (a precision from the rank before is never more); ``average-precision-xmir``, this with the query counted as
relevant at the end of its own list; scikit-learn's ``auc`` of its precision-recall curve, which has a point for every
rank.

Reference
---------
F. Radenović, G. Tolias, O. Chum. Fine-tuning CNN Image Retrieval with No Human Annotation. TPAMI 2019.
arXiv:1711.02512. Its code: filipradenovic/cnnimageretrieval-pytorch, ``compute_ap`` in cirtorch/utils/evaluate.py,
after the evaluation of the Oxford buildings.

Differs from the authors' code
------------------------------
That accepts lists which lack relevant images and counts those as never found.
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _precisions
from cbir_cli.metrics.ranking._check import catalogues

RELEVANCE = "binary"


def score(relevance: ArrayLike, relevant: ArrayLike) -> "np.ma.MaskedArray":
    """Average precision by trapezoids of each query.

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
        If ``relevance`` holds anything but 0 and 1, or a list does not hold exactly R relevant images.
    """
    found, total = _precisions.whole_lists("average-precision-trapezoid", relevance, relevant)
    return np.ma.MaskedArray(_precisions.trapezoids(found) / np.maximum(1, total), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike) -> "np.ma.MaskedArray":
    """Exact mean of average precision by trapezoids over all orders of the catalogue.

    ``(E[AP] + R / N) / 2``: where rank i is relevant, P@(i-1) has the mean (R - 1) / (N - 1), and P@0 is 1.

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
    steps = _precisions.expected_sum(few, all_, all_) / np.maximum(1, few)
    return np.ma.MaskedArray((steps + few / np.maximum(1, all_)) / 2, mask=few == 0)
