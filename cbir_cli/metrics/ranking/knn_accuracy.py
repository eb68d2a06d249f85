"""kNN accuracy@k: whether most of the first k results are of the query's class.

From 0 to 1; the mean over queries is the accuracy of a k-nearest-neighbour classifier whose training set is the
catalogue. Each of the first k results has one vote, whatever its distance.

Ties of votes: the class with the lowest number wins, as in scikit-learn's KNeighborsClassifier. Labels are numbered in
their order, and no label comes last: of one label, an even k therefore favours the images that have it, where
scikit-learn, given 0 and 1, favours those without. Take an odd one.
Ties: the order within the first k does not matter; which results are among them does.
Empty: 0 for an empty list, and where no result has a class; never masked.
Beyond the list: the results that there are vote. scikit-learn refuses a training set of fewer than k images.
Not to be confused with: ``precision``, the share of votes that are right; ``success``, one right vote. For two classes
and odd k it is 1 exactly where precision@k is above .5.

Reference
---------
K. K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. arXiv:2207.04812, section 5.2 (ACC, k = 5).

Differs from the authors' code
------------------------------
No. They use KNeighborsClassifier with its defaults: equal votes, Euclidean distance.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.metrics.ranking._check import counts, cutoff

RELEVANCE = "classes"

MOST_VOTES = 500
"""More voters than this have no ``expected``: their numbers would be too large for floats."""


def score(classes: ArrayLike, query_class: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """KNN accuracy@k of each query.

    Parameters
    ----------
    classes : array (Q, K) of int
        Class of each result, best result first, numbered from 0; -1 for a result without a class, which takes a place
        and votes for none.
    query_class : array (Q,) of int
        Class of each query.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        0 or 1, nothing masked.

    Raises
    ------
    ShapeError
        If classes are not (Q, K) and (Q,) integers, of at least -1 and 0, or k is no positive integer.
    """
    voters, k = _classes(classes), cutoff(k)
    wanted = counts(query_class, "query_class", len(voters))
    voters = voters[:, :k]
    votes = np.zeros((len(voters), 1 + max(voters.max(initial=0), wanted.max(initial=0))), dtype=np.int64)
    for place in voters.T:
        stated = np.flatnonzero(place >= 0)
        votes[stated, place[stated]] += 1
    right = (votes.argmax(axis=1) == wanted) & votes.any(axis=1)
    return np.ma.MaskedArray(right.astype(np.float64), mask=np.zeros(len(voters), dtype=bool))


def expected(class_sizes: ArrayLike, query_class: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of kNN accuracy@k over all orders of the catalogue.

    The first k are a random draw of min(k, N) images without replacement. For each number of votes v that the query's
    class may have, the draws are counted in which no other class has more (no class of a lower number as many); the
    counts are the coefficients of a product of polynomials. There is no closed form; the count is exact but for the
    rounding of floats.

    Parameters
    ----------
    class_sizes : array (Q, C) of int
        Images of each class in the catalogue of each query.
    query_class : array (Q,) of int
        Class of each query, below C.
    size : array (Q,) of int
        Images in the catalogue of each query, N; more than its classes have in sum where images have no class.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1; 0 for an empty catalogue. Masked where more than ``MOST_VOTES`` images vote: not computed.

    Raises
    ------
    ShapeError
        If shapes do not fit, a catalogue has fewer images than its classes, or k is no positive integer.
    """
    sizes, k = np.asarray(class_sizes), cutoff(k)
    if sizes.ndim != 2 or (sizes.size and (not np.issubdtype(sizes.dtype, np.integer) or sizes.min() < 0)):
        raise ShapeError(f"class_sizes: expected counts (queries, classes), found {sizes.dtype} {sizes.shape}")
    wanted = counts(query_class, "query_class", len(sizes))
    all_ = counts(size, "size", len(sizes))
    if wanted.max(initial=-1) >= sizes.shape[1] or (sizes.sum(axis=1) > all_).any():
        raise ShapeError("class_sizes: expected every query's class, and no more images than the catalogue has")
    voters = np.minimum(k, all_)
    rows = zip(sizes.tolist(), wanted.tolist(), all_.tolist(), voters.tolist(), strict=True)
    value = [_chance(tuple(row), mine, n, first) if first <= MOST_VOTES else 0.0 for row, mine, n, first in rows]
    return np.ma.MaskedArray(np.array(value, dtype=np.float64), mask=voters > MOST_VOTES)


@lru_cache(maxsize=4096)  # many queries have catalogues alike
def _chance(sizes: tuple[int, ...], mine: int, size: int, drawn: int) -> float:
    if not drawn:
        return 0.0
    # All numbers of draws are divided by powers of one unit, so that none is too large for a float.
    unit = math.exp((math.lgamma(size + 1) - math.lgamma(drawn + 1) - math.lgamma(size - drawn + 1)) / drawn)

    def draws(images: int) -> NDArray[np.float64]:
        """Ways to draw n of some images, for n = 0..drawn."""
        n = np.arange(drawn)
        return np.concatenate([[1.0], np.cumprod((images - n) / ((n + 1) * unit))])

    unstated, each, right = draws(size - sum(sizes)), [draws(images) for images in sizes], 0.0
    for votes in range(1, min(sizes[mine], drawn) + 1):
        others = drawn - votes
        ways = unstated[: others + 1]
        for other in range(len(sizes)):
            if other != mine:
                most = votes if other > mine else votes - 1
                ways = np.convolve(ways, each[other][: most + 1])[: others + 1]
        right += each[mine][votes] * ways[others]
    return float(min(1.0, right / draws(size)[drawn]))


def _classes(classes: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(classes)
    if array.ndim != 2 or (array.size and (not np.issubdtype(array.dtype, np.integer) or array.min() < -1)):
        found = f"{array.dtype} {array.shape}"
        raise ShapeError(f"classes: expected integers of at least -1 (queries, images), found {found}")
    return array.astype(np.int64)
