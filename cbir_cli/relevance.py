"""Expert ranks or class labels turned into the relevance that ranking metrics score.

Graded relevance comes from an expert who ranked the whole catalogue of a query; binary relevance says whether a result
has the class of the query.

Reference
---------
Interpretability-guided content-based medical image retrieval (MICCAI 2020), section 2.3: "relevance values were
assigned from 1 to 5.5, being 1 the least similar image"; precision: "relevant images are the ones that belong to the
class of the test image".
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError
from cbir_cli.records import NEGATIVE, POSITIVE


def from_ranks(ranks: ArrayLike, size: int) -> NDArray[np.float64]:
    """Graded relevance ``((size + 1) - rank) / 2 + 0.5`` of images that an expert ranked.

    Two neighbouring ranks differ by 0.5. With ten images this is the paper's 5.5 (rank 1) to 1 (rank 10); the authors'
    code has the same formula for any number of images, and the largest relevance then grows with the catalogue.

    Parameters
    ----------
    ranks : array of float, any shape
        Ranks, 1 for the most similar image. Images that are tied have the mean of their places, so their relevance is
        the mean of what these would have.
    size : int
        Length of the expert's full ranking. It is not the number of images retrieved.

    Returns
    -------
    ndarray of float64, shape of ``ranks``
        From 1 (rank ``size``) to ``(size + 1) / 2`` (rank 1).

    Raises
    ------
    ShapeError
        If a rank is no number from 1 to ``size``.
    """
    given = np.asarray(ranks)
    if given.size and not np.issubdtype(given.dtype, np.number):
        raise ShapeError(f"ranks: expected numbers, found {given.dtype}")
    if given.size and not (given.min() >= 1 and given.max() <= size):
        raise ShapeError(f"ranks: expected 1 to {size}, found {given.min()} to {given.max()}")
    return ((size + 1) - given.astype(np.float64)) / 2 + 0.5


def stated(labels: ArrayLike) -> NDArray[np.bool_]:
    """Say where a label is positive or negative, and not uncertain or missing.

    Parameters
    ----------
    labels : array of int, any shape
        Raw label codes.

    Returns
    -------
    ndarray of bool, shape of ``labels``
    """
    codes = np.asarray(labels)
    return (codes == POSITIVE) | (codes == NEGATIVE)


def from_labels(query: ArrayLike, results: ArrayLike) -> NDArray[np.float64]:
    """Binary relevance: 1 where a result has the same stated label as its query, else 0.

    A negative query is answered by negative images. A result whose label is uncertain or missing agrees with nothing,
    so it counts as not relevant.

    Parameters
    ----------
    query : array (Q,) of int
        Label codes of the queries, each positive or negative.
    results : array (Q, K) of int
        Raw label codes of their results, in any order.

    Returns
    -------
    ndarray (Q, K) of float64
        0 or 1.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or a query's label is uncertain or missing: nothing is relevant or irrelevant to such
        a query, so it is left out before.
    """
    wanted, found = np.asarray(query), np.asarray(results)
    if wanted.ndim != 1 or found.ndim != 2 or len(wanted) != len(found):
        raise ShapeError(f"labels: expected (Q,) and (Q, K), found {wanted.shape} and {found.shape}")
    if not stated(wanted).all():
        raise ShapeError("labels: a query whose label is uncertain or missing has no relevant images")
    return (wanted[:, None] == found).astype(np.float64)
