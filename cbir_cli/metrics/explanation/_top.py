"""The most relevant pixels of a map, and how many of them lie in a lesion."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
