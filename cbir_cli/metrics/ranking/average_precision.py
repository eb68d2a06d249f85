"""Average precision: the mean, over all relevant images of the catalogue, of the precision at the rank of each.

``AP = 1 / R * sum over the ranks i of relevant images of P@i``, with R the number of relevant images in the catalogue
of the query. From 0 to 1; 1 if all relevant images come first. It looks at the whole list. Its mean over queries is
what retrieval calls mAP.

Ties: images of one distance count in the order of the list (scikit-learn takes them as one step).
Empty: masked where nothing in the catalogue is relevant (R is 0).
Beyond the list: refused if the list lacks a relevant image, since where that would stand is not known. trec_eval counts
it as never found, which makes a list that was cut off look worse than it is. What follows the last relevant image
changes nothing and may be cut.
Not to be confused with: its namesakes, here of the list 0, 1, 1, 0, 1, of which this is .589:

- ``mean-precision@5``, .453: the mean of precision@1..5, which the CT-liver paper calls MAP and whose code takes
  precision@1..4 (``mean-precision-wickstrom@5``, .417). It has no recall, and counts irrelevant ranks too.
- ``average-precision-trapezoid``, .461: the area under linear pieces. X-MIR's code has it, and counts the query among
  the relevant images of its own list, at its end (``average-precision-xmir``, .504).
- ``average-precision-at-r``, .389: stops at rank R. It is known as MAP@R.
- AP cut off at rank k and divided by R (``average-precision-cut``), by min(k, R) (``average-precision-min``) or by k
  (``average-precision-over-k``: .353 at 5).

Chance is above the share of relevant images: .53 for 40 of 80 images, .61 for 5 of 10; ``expected`` is exact.

Reference
---------
C. Buckley, E. M. Voorhees. Evaluating Evaluation Measure Stability. SIGIR 2000, section 2 (average precision).
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking import _precisions
from cbir_cli.metrics.ranking._check import catalogues

RELEVANCE = "binary"

ALIASES = ("ap",)


def score(relevance: ArrayLike, relevant: ArrayLike) -> "np.ma.MaskedArray":
    """Average precision of each query.

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
    found, total = _precisions.whole_lists("average-precision", relevance, relevant)
    return np.ma.MaskedArray(_precisions.at_relevant(found).sum(axis=1) / np.maximum(1, total), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike) -> "np.ma.MaskedArray":
    """Exact mean of average precision over all orders of the catalogue.

    ``E[AP] = q + (1 - q) H_N / N`` with ``q = (R - 1) / (N - 1)`` and ``H_N = 1 + 1/2 + ... + 1/N``.

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
    return np.ma.MaskedArray(_precisions.expected_sum(few, all_, all_) / np.maximum(1, few), mask=few == 0)
