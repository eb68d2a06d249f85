"""How likely a neighbour is of the query's class, by its distance; and when a query is unlike all that is known.

Images whose class is known ask for their k nearest among images of other patients. The share of pairs of one class, as
a function of distance, is fitted by isotonic regression: it never rises with distance, and between two steps it is
linear. Beyond the pairs it stays as at the nearest and at the farthest. Two pairs are made up, one of different classes
at the nearest distance and one of the same at the farthest, so that no probability is 0 or 1; where the classes hang
together with nothing, that is Laplace's rule of succession.

How good it is, is measured on pairs that it was not fitted on. Patients are dealt out to five folds; the pairs whose
query is of one fold get their probability from a fit to the pairs of which neither image is of that fold.

A query whose nearest image is farther than that of 95 % of the images, each among those of other patients, is called
unlike the catalogue. Of new images that are drawn as those of the catalogue were, at most one in twenty is called so.

Reference
---------
B. Zadrozny, C. Elkan. Transforming classifier scores into accurate multiclass probability estimates. KDD 2002.
(Isotonic regression.)
V. Vovk, A. Gammerman, G. Shafer. Algorithmic Learning in a Random World. Springer, 2005. (The quantile: of n distances
the one at place ``ceil((n + 1) q)``.)
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike

from cbir_cli import calibration
from cbir_cli.errors import ShapeError, UsageError

FOLDS = 5
QUANTILE = 0.95


@dataclass(frozen=True)
class Steps:
    """Probability that two images are of one class, by their distance.

    Attributes
    ----------
    distance : ndarray (T,), float64
        Ascending.
    probability : ndarray (T,), float64
        Between 0 and 1, never rising; linear between two distances, constant beyond the ends.
    """

    distance: ndarray
    probability: ndarray

    def __call__(self, distance: ArrayLike) -> ndarray:
        """Return the probability at some distances, float64."""
        return np.interp(np.asarray(distance, np.float64), self.distance, self.probability)


@dataclass(frozen=True)
class Pairs:
    """Queries and their neighbours.

    Attributes
    ----------
    distance : ndarray (P,), float
    same : ndarray (P,), bool
        Whether both are of one class.
    query, neighbour : ndarray (P,), int64
        Their patients, as numbers.
    """

    distance: ndarray
    same: ndarray
    query: ndarray
    neighbour: ndarray


def fit(distance: ArrayLike, same: ArrayLike) -> Steps:
    """Fit the probability that a pair is of one class.

    Parameters
    ----------
    distance : array (P,) of float
    same : array (P,) of bool

    Raises
    ------
    ShapeError
        If there is no pair, lengths differ, or a distance is not finite.
    """
    from sklearn.isotonic import IsotonicRegression

    far, one_class = np.asarray(distance, np.float64), np.asarray(same, np.float64)
    if far.ndim != 1 or far.shape != one_class.shape or not len(far) or not np.isfinite(far).all():
        raise ShapeError(f"expected finite distances (P,) of at least one pair, found {far.shape}, {one_class.shape}")
    far, one_class = np.append(far, [far.min(), far.max()]), np.append(one_class, [0, 1])
    fitted = IsotonicRegression(y_min=0, y_max=1, increasing=False).fit(far, one_class)
    return Steps(fitted.X_thresholds_.astype(np.float64), fitted.y_thresholds_.astype(np.float64))


def crossed(pairs: Pairs, folds: int = FOLDS) -> ndarray:
    """Return for each pair, (P,) float64, the probability by a fit in which its query's fold has no part.

    Raises
    ------
    ShapeError
        If there are fewer patients than folds, or nothing is left to fit to.
    """
    fold = _folds(pairs, folds)
    found = np.empty(len(pairs.distance))
    for number in range(folds):
        asked = fold[pairs.query] == number
        apart = ~asked & (fold[pairs.neighbour] != number)
        found[asked] = fit(pairs.distance[apart], pairs.same[apart])(pairs.distance[asked])
    return found


def quality(pairs: Pairs) -> dict[str, Any]:
    """Measure how good calibrated probabilities are, on pairs that they were not fitted on.

    Returns
    -------
    dict
        ``pairs``, ``same`` (share of one class), ``ece`` (expected calibration error, bins of equal width), ``brier``,
        and ``brier-of-share``, the Brier score of the share itself, which no distance is needed for.

    Raises
    ------
    ShapeError
        As ``crossed``.
    """
    probability, same = crossed(pairs), pairs.same.astype(np.int64)
    share = float(same.mean())
    return {
        "pairs": len(same),
        "same": round(share, 4),
        "ece": round(calibration.curve(same, probability).error or 0.0, 4),
        "brier": round(calibration.brier(same, probability) or 0.0, 4),
        "brier-of-share": round(share * (1 - share), 4),
    }


def farthest(nearest: ndarray, quantile: float = QUANTILE) -> float:
    """Return the distance that the nearest image of a share of the images lies within.

    Parameters
    ----------
    nearest : ndarray (S,), float
        Distance of each image's nearest, ascending; at least one.
    quantile : float
        Above 0, at most 1.

    Raises
    ------
    UsageError
        If the quantile is none.
    """
    if not 0 < quantile <= 1:
        raise UsageError(f"quantile={quantile}: expected more than 0 and at most 1")
    return float(nearest[min(len(nearest), math.ceil((len(nearest) + 1) * quantile - 1e-9)) - 1])


def _folds(pairs: Pairs, folds: int) -> ndarray:
    """Return the fold of each patient: the patients with most pairs are dealt out first, to the smallest fold."""
    counts = np.bincount(pairs.query, minlength=max(pairs.query.max(), pairs.neighbour.max()) + 1)
    if (counts > 0).sum() < folds:
        raise ShapeError(f"expected pairs of at least {folds} patients, found {(counts > 0).sum()}")
    fold, sizes = np.empty(len(counts), np.int64), np.zeros(folds, np.int64)
    for patient in np.argsort(-counts, kind="stable"):
        fold[patient] = sizes.argmin()
        sizes[fold[patient]] += counts[patient]
    return fold
