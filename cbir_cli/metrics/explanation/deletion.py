"""Deletion: how soon two images are no longer alike when the pixels that a map finds important go first.

The pixels of one image of a pair are made grey, the most important first, and after each step its similarity with the
other, intact image is measured. The score is the area under that curve; the curves are made by ``cbir_cli.curves``
(``cbir explain --measure deletion``), and stored.

From 0 to 1, lower is better. A perfect map takes away at once all that makes the two alike, and the area comes near to
0, or near to the similarity that is left when all is grey.
What chance gets depends on network and pair: it is the area of a random map, whose curve is stored beside it.

Ties: pixels of equal importance change row by row, from the top left; that is decided where the curve is made.
Not to be confused with: insertion and deletion of a classifier (RISE), whose curve is the probability of a class; the
area over the perturbation curve, which is measured from the first value down.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Section 3.5, equation 2; table 2 has
them in percent.)
V. Petsiuk, A. Das, K. Saenko. RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018.
arXiv:1806.07421. (Where they come from.)
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.explanation._area import area

NEEDS = "curves"

CURVES = "deletion"
"""Which of the stored curves."""


def score(curves: ArrayLike) -> "np.ma.MaskedArray":
    """Area under each curve, by the trapezoidal rule divided by the number of steps, as in the authors' code.

    Parameters
    ----------
    curves : array (N, T) of float
        Similarity from 0 to 1 before the first step and after each; T is at least 2.

    Returns
    -------
    masked array (N,) of float64
        From 0 to 1, nothing masked.

    Raises
    ------
    ShapeError
        If curves are not (N, T) of finite floats.
    """
    return area(curves)
