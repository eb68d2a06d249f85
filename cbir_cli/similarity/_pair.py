"""What every method for pairs of images checks first, and shares between pairs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.vectors import check_similarity


def check(queries: ndarray, results: ndarray) -> tuple[ndarray, ndarray]:
    """Return queries and results as two equal stacks, (P, H, W) or (P, H, W, 3) float32.

    Raises
    ------
    ShapeError
        If they are not finite images of one size, one result a query, all grey or all in colour.
    """
    grey = queries.ndim == 3
    if not (grey or (queries.ndim == 4 and queries.shape[3] == 3)) or queries.shape != results.shape:
        raise ShapeError(f"expected two stacks of images of one size, found {queries.shape} and {results.shape}")
    pairs = np.asarray(queries, dtype=np.float32), np.asarray(results, dtype=np.float32)
    if not all(np.isfinite(images).all() for images in pairs):
        raise ShapeError("an image of a pair holds values that are not finite")
    return pairs


def distinct(images: ndarray) -> tuple[ndarray, ndarray]:
    """Return the distinct images (U, ...) in order, and the place of each image among them, (P,) int.

    A query is in as many pairs as it has results: what does not depend on the other image is computed once.
    """
    places: dict[bytes, int] = {}
    inverse = np.array([places.setdefault(image.tobytes(), len(places)) for image in images], dtype=np.intp)
    first = np.unique(inverse, return_index=True)[1]
    return images[first], inverse


def each(compute: Callable[[ndarray], ndarray], queries: ndarray, results: ndarray) -> tuple[ndarray, ndarray]:
    """Return what ``compute`` makes of queries and of results; each distinct image is computed once."""
    images, inverse = distinct(np.concatenate([queries, results]))
    made = compute(images)[inverse]
    return made[: len(queries)], made[len(queries) :]


def both(queries: ndarray, results: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Return the distinct images (U, ...) of all pairs, and the place of each query and of each result among them."""
    images, places = distinct(np.concatenate([queries, results]))
    return images, places[: len(queries)], places[len(queries) :]


def pull(vector: Any, other: Any, similarity: str) -> Any:
    """Return what each number of a vector is multiplied by to give its part in the similarity to another vector.

    The parts, ``vector * pull``, add up to the similarity to the other vector, less that of a vector of zeros:
    ``v.w / (|v| |w|)`` for ``cosine``, and ``|w|^2 - |v - w|^2 = sum_d v_d (2 w_d - v_d)`` for ``l2``. Each number has
    exactly the part that is lost when it is set to 0 (for ``cosine`` at the same length).

    Parameters
    ----------
    vector, other : Tensor (D,) or ndarray (D,)
    similarity : str
        ``cosine`` or ``l2``.

    Returns
    -------
    Tensor (D,) or ndarray (D,)
        For ``cosine`` zero where a vector is zero.

    Raises
    ------
    UsageError
        If the similarity is another one.
    """
    check_similarity(similarity)
    if similarity == "l2":
        return 2 * other - vector
    lengths = float((vector * vector).sum()) ** 0.5 * float((other * other).sum()) ** 0.5
    return other / (lengths or np.inf)
