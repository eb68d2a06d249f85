"""ECE: how far probabilities are from how often they come true, over 15 bins of equal width.

``ECE = sum over bins of (images in the bin / N) x |share of positive images - mean probability|``, bins
``[0, 1/15], (1/15, 2/15], ..., (14/15, 1]``; ``ece@10bins`` has ten.
From 0 to 1; 0 is best.

Ties: a probability at the end of a bin belongs to the lower one.
Not defined: None without images. One class alone will do.
Chance: what probabilities get that say nothing of the image they stand for; it is no upper bound, and near 0 where
all of them are near the share of positive images.
Not to be confused with: ``ece-mass``, whose bins hold equally many images; the maximum calibration error; the error of
the called class's probability (confidence), as for several classes.
It grows as bins hold fewer images, even of a perfectly calibrated model: compare values of equally many images.

Reference
---------
C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On Calibration of Modern Neural Networks. ICML 2017. (Equation 3.)
M. P. Naeini, G. F. Cooper, M. Hauskrecht. Obtaining well calibrated probabilities using Bayesian binning. AAAI 2015.
"""

from numpy.typing import ArrayLike

from cbir_cli.metrics.classification import _binned

TAKES = "probability"
BEST = 0.0
BOOTSTRAP = False
SPELT = "bins"


def score(truth: ArrayLike, probability: ArrayLike, *, bins: int = 15) -> float | None:
    """Expected calibration error over bins of equal width.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Of class 1, from 0 to 1.
    bins : int

    Returns
    -------
    float or None
        From 0 to 1; None without images.

    Raises
    ------
    ShapeError
        If the lengths differ, truth is not 0 or 1, a probability is not from 0 to 1, or there is no bin.
    """
    return _binned.score(truth, probability, bins, "width")


def expected(truth: ArrayLike, probability: ArrayLike, *, bins: int = 15) -> float | None:
    """Exact mean of the error if the same probabilities were dealt out to the images at random.

    Parameters
    ----------
    truth : array (N,) of int
        0 or 1.
    probability : array (N,) of float
        Of class 1, from 0 to 1.
    bins : int

    Returns
    -------
    float or None
        From 0 to 1; None without images.

    Raises
    ------
    ShapeError
        As ``score``.
    """
    return _binned.expected(truth, probability, bins, "width")
