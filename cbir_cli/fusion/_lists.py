"""Adding up what several lists give to their results."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError


def check(lists: Sequence[tuple[ndarray, ndarray]], weights: Sequence[float]) -> None:
    """Refuse lists that are none, and weights that are not theirs.

    Raises
    ------
    ShapeError
    """
    if len(lists) != len(weights) or not len(lists) or not all(0 < weight < np.inf for weight in weights):
        raise ShapeError(f"expected a weight above 0 for each of {len(lists)} lists, found {[*weights]}")
    for numbers, distances in lists:
        if numbers.shape != distances.shape or numbers.ndim != 1 or len(np.unique(numbers)) < len(numbers):
            raise ShapeError("expected lists of different numbers, with a distance for each")


def add(lists: Iterable[tuple[ndarray, ndarray]]) -> tuple[ndarray, ndarray]:
    """Add up scores (M,) of numbered results; return the numbers (R,), each once and ascending, and their sums."""
    pairs = [*lists]
    numbers, places = np.unique(np.concatenate([numbers for numbers, _ in pairs]), return_inverse=True)
    sums = np.bincount(places, np.concatenate([scores for _, scores in pairs]), minlength=len(numbers))
    return numbers, sums


def ranked(numbers: ndarray, distances: ndarray) -> tuple[ndarray, ndarray]:
    """Sort results by their distance, equal ones by their number; distances become float32."""
    distances = distances.astype(np.float32)
    order = np.lexsort((numbers, distances))
    return numbers[order], distances[order]
