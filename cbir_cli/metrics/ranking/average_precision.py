"""Average precision: the mean, over all relevant images of the catalogue, of the precision at the rank of each.

``AP = 1 / R * sum over the ranks i of relevant images of P@i``, with R the number of relevant images in the catalogue
of the query. From 0 to 1; 1 if all relevant images come first. It looks at the whole list. Its mean over queries is
what retrieval calls mAP.

Ties: images of one distance count in the order of the list (scikit-learn takes them as one step).
Empty: masked where nothing in the catalogue is relevant (R is 0).
Beyond the list: refused if the list lacks a relevant image, since where that would stand is not known. trec_eval counts
it as never found, which makes a list that was cut off look worse than it is. What follows the last relevant image
changes nothing and may be cut.
Not to be confused with: the mean of precision@1..K, which the CT-liver paper calls MAP and ``train`` mean-precision@5
(it has no recall, and counts the ranks of images that are not relevant); AP@K, which divides by K or by min(K, R); the
X-MIR code's mAP, which interpolates by trapezoids and counts the query among the relevant images of its own list, at
its end. The list 0, 1, 1, 0, 1 has average precision .589, mean precision@1..5 .453, and AP@5 .353 if divided by 5.

Chance is above the share of relevant images: .53 for 40 of 80 images, .61 for 5 of 10; ``expected`` is exact.

Reference
---------
C. Buckley, E. M. Voorhees. Evaluating Evaluation Measure Stability. SIGIR 2000, section 2 (average precision).
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking._check import binary, catalogues, counts

RELEVANCE = "binary"


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
    found = binary(relevance)
    total = counts(relevant, "relevant", len(found))
    held = found.sum(axis=1)
    if (held > total).any():
        raise ShapeError("average-precision: a list holds more relevant images than its catalogue")
    if (held < total).any():
        row = int(np.argmax(held < total))
        raise ShapeError(
            f"average-precision: a list of {found.shape[1]} has {held[row]:.0f} of the {total[row]} relevant images of "
            "its catalogue; it needs them all (query -k as large as the catalogue)"
        )
    precision = found.cumsum(axis=1) / np.arange(1, found.shape[1] + 1)
    return np.ma.MaskedArray((found * precision).sum(axis=1) / np.maximum(1, total), mask=total == 0)


def expected(relevant: ArrayLike, size: ArrayLike) -> "np.ma.MaskedArray":
    """Exact mean of average precision over all orders of the catalogue.

    A relevant image stands at each rank i equally often, and each of the i - 1 before it is relevant with probability
    ``q = (R - 1) / (N - 1)``. So ``E[AP] = mean over i = 1..N of (1 + (i - 1) q) / i = q + (1 - q) H_N / N`` with
    ``H_N = 1 + 1/2 + ... + 1/N``.

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
    # Clipped where nothing is relevant (masked), or where the relevant image is the only one: then H_N / N is 1.
    q = np.maximum(0, few - 1) / np.maximum(1, all_ - 1)
    harmonic = np.concatenate([[1.0], np.cumsum(1.0 / np.arange(1, all_.max(initial=0) + 1))])
    return np.ma.MaskedArray(q + (1 - q) * harmonic[all_] / np.maximum(1, all_), mask=few == 0)
