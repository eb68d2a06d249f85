"""ECE over bins of equal mass: as ``ece``, but 15 bins with equally many images each.

``ECE = sum over bins of (images in the bin / N) x |share of positive images - mean probability|``. With r
probabilities below it, an image is in bin ``floor(15 r / N)``; ``ece-mass@10bins`` has ten.
From 0 to 1; 0 is best.

Ties: equal probabilities share a bin.
Not defined: None without images. One class alone will do.
Chance: what probabilities get that say nothing of the image they stand for; it is no upper bound, and near 0 where
all of them are near the share of positive images.
Not to be confused with: ``ece``, whose bins are equally wide, and of which a few may hold nearly all images.
It grows as bins hold fewer images, even of a perfectly calibrated model: compare values of equally many images.

Reference
---------
K. Nguyen, B. O'Connor. Posterior calibration and exploratory analysis for natural language processing models. EMNLP
2015. (Section 4.1, adaptive bins.)
"""

from numpy.typing import ArrayLike

from cbir_cli.metrics.classification import _binned

TAKES = "probability"
BEST = 0.0
BOOTSTRAP = False
SPELT = "bins"


def score(truth: ArrayLike, probability: ArrayLike, *, bins: int = 15) -> float | None:
    """Expected calibration error over bins of equal mass.

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
    return _binned.score(truth, probability, bins, "mass")


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
    return _binned.expected(truth, probability, bins, "mass")
