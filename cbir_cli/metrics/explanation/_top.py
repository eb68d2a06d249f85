"""The most relevant pixels of a map, how many of them lie in a lesion, and how many would by chance."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.metrics.explanation._check import lesion as checked


def share(values: NDArray[Any], lesion: NDArray[np.bool_], size: int) -> float:
    """Return the share of the ``size`` most relevant pixels that lie in the lesion; a tie counts by its mean.

    It is computed in whole numbers until the end, so that chance comes out exactly.

    Parameters
    ----------
    values : ndarray (P,), float
    lesion : ndarray (P,), bool
    size : int
        From 1 to P.
    """
    last = np.partition(values, -size)[-size]
    above, tied = values > last, values == last
    places, rivals = size - int(np.count_nonzero(above)), int(np.count_nonzero(tied))
    found = int(np.count_nonzero(above & lesion)) * rivals + places * int(np.count_nonzero(tied & lesion))
    return found / (size * rivals)


def chance(masks: ArrayLike) -> "np.ma.MaskedArray":
    """Return the mean of ``share`` over all orders of the pixels, (N,): the lesion's share of the image."""
    lesions = checked(masks)
    sizes, pixels = lesions.sum(axis=(1, 2)), lesions.shape[1] * lesions.shape[2]
    return np.ma.MaskedArray(sizes / max(1, pixels), mask=sizes == 0)
