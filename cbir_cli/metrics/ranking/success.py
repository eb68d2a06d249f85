"""success@k: whether a relevant image is among the first k results.

From 0 to 1; the mean over queries is the share of queries that are answered, also called the hit rate.

Ties: the order within the first k does not matter.
Empty: 0 for an empty list, and 0 where nothing in the catalogue is relevant; never masked.
Beyond the list: places that the list does not have count as not relevant.
Not to be confused with: ``recall``, the share of the relevant images that are found, though the literature on metric
learning calls this number Recall@K and X-MIR's code prints it as R@K; ``precision``, the share of the first k results.

Chance is high where many images are relevant: .97 at 5 where half of them are.

Reference
---------
H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese. Deep Metric Learning via Lifted Structured Feature Embedding. CVPR 2016.
arXiv:1511.06452, section 6 (as Recall@K).
"""

import functools
import math

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.ranking._check import binary, catalogues, cutoff

RELEVANCE = "binary"

ALIASES = ("hit-rate",)


def score(relevance: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """success@k of each query.

    Parameters
    ----------
    relevance : array (Q, K) of float64, 0 or 1
        Relevance of the results, best result first.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        0 or 1, nothing masked.

    Raises
    ------
    ShapeError
        If ``relevance`` is not 2-D or holds anything but 0 and 1, or k is no positive integer.
    """
    found = binary(relevance)[:, : cutoff(k)].max(axis=1, initial=0.0)
    return np.ma.MaskedArray(found, mask=np.zeros(len(found), dtype=np.bool_))


def expected(relevant: ArrayLike, size: ArrayLike, k: int) -> "np.ma.MaskedArray":
    """Exact mean of success@k over all orders of the catalogue: ``1 - C(N - R, k) / C(N, k)``.

    Parameters
    ----------
    relevant : array (Q,) of int
        Relevant images in the catalogue of each query, R.
    size : array (Q,) of int
        Images in the catalogue of each query, N.
    k : int
        Results that count.

    Returns
    -------
    masked array (Q,) of float64
        From 0 to 1, nothing masked.

    Raises
    ------
    ShapeError
        If there are more relevant images than images, or k is no positive integer.
    """
    (few, all_), k = catalogues(relevant, size), cutoff(k)
    values = [_chance(*pair, k) for pair in zip(few.tolist(), all_.tolist(), strict=True)]
    return np.ma.MaskedArray(np.array(values, dtype=np.float64), mask=np.zeros(len(values), dtype=bool))


@functools.lru_cache(maxsize=4096)
def _chance(relevant: int, size: int, k: int) -> float:
    first = min(k, size)
    # A product of ratios: the binomials themselves have thousands of digits in large catalogues.
    return 1.0 - math.prod((size - relevant - i) / (size - i) for i in range(first))
