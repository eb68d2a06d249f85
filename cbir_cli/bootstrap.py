"""Intervals by the bootstrap over patients: of a mean over queries, and of a score of a whole set of images.

Queries and images of one patient are alike, and so say less than as many of different patients. Patients are drawn with
replacement, each with all of his, and the mean or the score is taken anew. So the interval says how far it may be off
for other patients of the same kind; the networks, and how many seeds there are, stay as they are. The plain
(percentile) bootstrap is too short for few patients, in both cases.

A mean
------
Of a run with seeds the mean is that of the seeds' means, and a patient who is a query of several seeds is one patient
still. Two corrections mend the quantiles: BCa, for skewed values, and Hesterberg's, which takes wider ones as Student's
t does: ``normal(-sqrt(n / (n - 1)) * t)`` for n patients, with t that of n - 1 degrees of freedom. The interval never
leaves the range of the values.

How often the interval of 95 % holds the mean of n patients, over 2000 draws each (standard error .005): this one, the
percentile bootstrap (pct), and Student's t with the standard error over patients (t), as ``intervals`` has it for one
value each. This one is short only of six, and where a long tail is rarely seen; it does not leave 0 to 1, as t does.

=================================  ================  ================  ================  ================
values                             n = 6             n = 10            n = 20            n = 40
                                   this  pct   t     this  pct   t     this  pct   t     this  pct   t
=================================  ================  ================  ================  ================
normal                             .927  .851  .953  .946  .895  .947  .953  .922  .950  .954  .944  .955
nDCG near 1: beta(5, 1)            .920  .833  .909  .940  .880  .921  .946  .917  .935  .949  .933  .940
precision@5, mean .6               .934  .878  .920  .971  .922  .941  .972  .940  .945  .967  .955  .954
the same, 2.5 queries a patient    .935  .865  .902  .938  .896  .901  .936  .922  .927  .930  .927  .928
success, .9                        1     .968  .997  .999  .996  .996  .998  .998  .998  .995  .929  .929
exponential                        .902  .816  .889  .931  .865  .900  .932  .891  .904  .940  .923  .933
=================================  ================  ================  ================  ================

Success is 0 or 1. Where a sample has nothing but 1 there is no interval: so it is for half of the samples of six at .9,
which the table leaves out.

A score
-------
AUROC and its kin are one number for all images, from 0 to 1, and most of interest near an end. There the quantiles of
the draws are of little use: of 20 images, half of them positive, whose AUROC is .96 in truth, a draw often has 1, and a
sample never hears of what it did not see. So the draws give the standard error alone, and the interval is Student's
around the logit of the score, which keeps it between 0 and 1.

How often the interval of 95 % holds the score of as many patients, over 500 draws each (standard error .01): this one
and the percentile bootstrap (pct), of two normal distributions. Samples whose score is 0 or 1 are left out:

==================================  ===========  ===========  ===========
score, half of the images positive  n = 20       n = 50       n = 150
                                    this   pct   this   pct   this   pct
==================================  ===========  ===========  ===========
AUROC of .86                        .988   .915  .972   .932  .952   .922
AUROC of .96                        .992   1     .974   .893  .916   .904
AUPRC of .85                        .977   .870  .928   .882  .938   .908
AUPRC of .96                        .978   .987  .949   .873  .912   .872
F1 of .77                           .992   .936  .968   .936  .946   .926
F1 of .89                           .989   .980  .968   .924  .960   .930
sensitivity@95specificity of .44    .935   .803  .938   .900  .948   .942
sensitivity@95specificity of .80    1      .997  .973   .925  .962   .942
==================================  ===========  ===========  ===========

Not for the calibration error: a draw holds images twice, which look less calibrated than they are, and no quantile
makes up for that. A score's file says ``BOOTSTRAP = False`` where this is so.

Reference
---------
B. Efron. Better bootstrap confidence intervals. Journal of the American Statistical Association 82, 1987.
T. C. Hesterberg. What teachers should know about the bootstrap. The American Statistician 69, 2015 (section 4.3).
C. A. Field, A. H. Welsh. Bootstrapping clustered data. Journal of the Royal Statistical Society B 69, 2007.
M. S. Pepe. The Statistical Evaluation of Medical Tests for Classification and Prediction. Oxford, 2003 (intervals of
areas on the scale of the logit).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.intervals import FEWEST

DRAWS = 10_000
"""Samples of patients; fewer, but never below ``FEWEST_DRAWS``, where patients are thousands."""

FEWEST_DRAWS = 2000
SCORES = 1000
"""Samples of patients for a score of a whole set."""

FEWEST_OF_SCORE = 10
"""Patients that the interval of a score needs: of fewer each draw is much the same."""

_CELLS = 20_000_000
_BLOCK = 1_000_000
_SAME = 1e-12


def of_mean(
    values: ArrayLike, clusters: ArrayLike, weights: ArrayLike | None = None, *, level: float = 0.95, seed: int = 1
) -> tuple[float, float] | None:
    """Interval of a mean of values that hang together in clusters.

    Parameters
    ----------
    values : array (N,) of float
        One a query.
    clusters : array (N,) of int or str
        Queries of one patient have the same.
    weights : array (N,) of float, above 0, optional
        How much each counts in the mean; all the same by default.
    level : float
        How often it is to hold the mean.
    seed : int
        Of the samples. The interval depends on it and on values, not on their order or on the names of clusters.

    Returns
    -------
    tuple of float or None
        Within the range of the values. None for less than six clusters, or if all have the same mean.

    Raises
    ------
    ShapeError
        If values are not (N,) and finite, or the others are not as many.
    """
    found, names = np.asarray(values, np.float64), np.asarray(clusters)
    share = np.ones_like(found) if weights is None else np.asarray(weights, np.float64)
    if found.ndim != 1 or not found.shape == names.shape == share.shape:
        raise ShapeError(f"expected values, clusters, weights (N,), found {found.shape}, {names.shape}, {share.shape}")
    if not (np.isfinite(found).all() and np.isfinite(share).all() and (share > 0).all()):
        raise ShapeError("expected finite values, and weights above 0")
    unique, codes = np.unique(names, return_inverse=True)
    if len(unique) < FEWEST:
        return None
    order = np.argsort(found, kind="stable")  # sums do not depend on the order of queries
    sums = np.bincount(codes[order], (found * share)[order])
    sizes = np.bincount(codes[order], share[order])
    return _corrected(sums / sizes.mean(), sizes / sizes.mean(), level, np.random.default_rng(seed))


def of_score(
    score: Callable[[NDArray[Any], NDArray[np.float64]], float | None],
    truth: NDArray[Any],
    predicted: NDArray[np.float64],
    patients: Sequence[str] | NDArray[np.str_],
    *,
    level: float = 0.95,
    draws: int = SCORES,
    seed: int = 1,
) -> tuple[float, float] | None:
    """Interval of a score of all images.

    Parameters
    ----------
    score : callable
        Gives the score of truth (M,) and predictions (M,), or None where it is not defined; from 0 to 1.
    truth, predicted : ndarray (N,)
    patients : sequence of str, (N,)
        Images without one, an empty text, count as patients of their own.
    level : float
        How often the interval is to hold the score of all patients there are.
    draws, seed : int

    Returns
    -------
    tuple of float or None
        Around the score, between 0 and 1. None for less than ten patients, where the score is 0 or 1, which says
        nothing of how near it is, where it is not defined for the images or for one draw in twenty, or if all draws
        have the same.

    Raises
    ------
    ShapeError
        If lengths differ.
    """
    from scipy.special import expit, logit, stdtrit

    if not len(truth) == len(predicted) == len(patients):
        raise ShapeError(f"expected arrays of one length, found {len(truth)}, {len(predicted)} and {len(patients)}")
    number = patient_numbers(patients)
    lengths = np.bincount(number)
    rows, starts, count = np.argsort(number, kind="stable"), lengths.cumsum() - lengths, len(lengths)
    whole = score(truth, predicted) if count >= FEWEST_OF_SCORE else None
    if whole is None or not 0 < whole < 1:
        return None
    rng = np.random.default_rng(seed)
    chosen = (rows[_members(rng.integers(0, count, count), starts, lengths)] for _ in range(draws))
    found = [value for drawn in chosen if (value := score(truth[drawn], predicted[drawn])) is not None]
    if len(found) < 0.95 * draws or not np.ptp(found):
        return None
    error = np.std(found, ddof=1) * np.sqrt(count / (count - 1)) / (whole * (1 - whole))  # of the logit
    half = stdtrit(count - 1, (1 + level) / 2) * error
    return float(expit(logit(whole) - half)), float(expit(logit(whole) + half))


def patient_numbers(patients: Sequence[str] | NDArray[np.str_]) -> NDArray[np.int64]:
    """Return a number for each patient, (N,); images without one are patients of their own."""
    names = np.asarray(patients, dtype=np.str_)
    number = np.unique(names, return_inverse=True)[1]
    alone = names == ""
    number[alone] = number.max(initial=0) + 1 + np.arange(alone.sum())
    return np.asarray(np.unique(number, return_inverse=True)[1])


def _members(chosen: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of all members of some clusters, one cluster after the other."""
    many = lengths[chosen]
    ends = many.cumsum()
    return np.asarray(np.arange(ends[-1]) + np.repeat(starts[chosen] - (ends - many), many))


def _corrected(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], level: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    from scipy.special import ndtr, ndtri, stdtrit

    order = np.lexsort((sizes, sums))
    sums, sizes, number = sums[order], sizes[order], len(sums)
    mean = sums.sum() / sizes.sum()
    pull = sums - mean * sizes  # how far each cluster pulls the mean, but for a factor
    same = _SAME * max(1.0, abs(mean))
    if np.abs(pull).max() <= same:
        return None
    drawn = _means(sums, sizes, rng)
    below = ((drawn < mean - same).mean() + (drawn <= mean + same).mean()) / 2
    bias = ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    skew = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    wide = stdtrit(number - 1, (1 + level) / 2) * np.sqrt(number / (number - 1))
    places = [ndtr(bias + (bias + z) / (1 - skew * (bias + z))) for z in (-wide, wide)]
    low, high = np.quantile(drawn, places)
    return float(low), float(high)


def _means(sums: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Mean of each sample of clusters, (draws,)."""
    number = len(sums)
    draws = int(np.clip(_CELLS // number, FEWEST_DRAWS, DRAWS))
    equal = np.ptp(sizes) <= _SAME
    means = np.empty(draws)
    step = max(1, _BLOCK // number)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        chosen = rng.integers(0, number, (rows, number), dtype=np.int32)
        total = sums[chosen].sum(axis=1)
        means[start : start + rows] = total / (number if equal else sizes[chosen].sum(axis=1))
    return means
