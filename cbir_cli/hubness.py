"""Hubness: whether few vectors are among the nearest of many others, and many among those of none.

With N_k(x) the number of vectors that have x among their k nearest, itself not counted, the skewness of its
distribution over all n vectors is

    S = E[(N_k - mean)^3] / standard deviation^3        (mean = k)

0 for a symmetric distribution. It grows with the intrinsic dimension of the vectors. Far above 1 a few hubs answer many
queries, whatever was asked, and antihubs, the vectors with N_k = 0, answer none. Moments are those of the vectors
given, divided by n. S is 0 where all N_k are equal.

Reference
---------
M. Radovanovic, A. Nanopoulos, M. Ivanovic. Hubs in Space: Popular Nearest Neighbors in High-Dimensional Data. Journal
of Machine Learning Research 11 (2010). Equation 1; k = 10 as there. Antihubs: the same authors, Reverse Nearest
Neighbors in Unsupervised Distance-Based Outlier Detection, IEEE TKDE 27 (2015).
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError


@dataclass(frozen=True)
class Hubness:
    """How unevenly neighbours are spread over n vectors.

    Attributes
    ----------
    skewness : float
        Of N_k; 0 where all are equal.
    antihubs : float
        Share of the vectors that are among the k nearest of none, from 0 to 1.
    largest : int
        The largest N_k, from k to n - 1.
    k, vectors : int
    """

    skewness: float
    antihubs: float
    largest: int
    k: int
    vectors: int


def occurrences(rows: ndarray, count: int) -> ndarray:
    """How many lists each vector is in: N_k, (count,) int64.

    Parameters
    ----------
    rows : ndarray (Q, k), int64
        The nearest vectors of each query, each once; -1 where there are fewer.
    count : int
        Number of vectors.

    Raises
    ------
    ShapeError
        If a row is not one of them.
    """
    if rows.ndim != 2 or (rows.size and (rows.min() < -1 or rows.max() >= count)):
        raise ShapeError(f"expected rows (Q, k) from -1 to {count - 1}, found {rows.shape}")
    return np.bincount(rows[rows >= 0], minlength=count)


def measure(rows: ndarray) -> Hubness:
    """Measure how unevenly neighbours are spread.

    Parameters
    ----------
    rows : ndarray (n, k), int64
        For each of n vectors its k nearest among the others.

    Raises
    ------
    ShapeError
        If there is no vector, or a row is not one of them.
    """
    if not rows.size:
        raise ShapeError(f"expected rows (n, k) of at least one vector, found {rows.shape}")
    found = occurrences(rows, len(rows))
    off = found - found.mean()
    spread = np.square(off).mean()
    return Hubness(
        skewness=float((off**3).mean() / spread**1.5) if spread else 0.0,
        antihubs=float((found == 0).mean()),
        largest=int(found.max()),
        k=rows.shape[1],
        vectors=len(rows),
    )
