"""A first pass over few coordinates that no near row can slip through.

With Q an orthonormal basis of r directions, and w_x the part of a vector x that is orthogonal to them, the vector::

    a(x) = (Q'x, |w_x|)        |a(q) - a(x)| <= |q - x|

since | |w_q| - |w_x| | <= |w_q - w_x|. So distances of reduced vectors are lower bounds: rows whose lower bound is
above the distance of k rows that are known cannot be among the k nearest, and need not be read. a(x) is as long as x,
so the same matrix product gives lower bounds of 1 - cos, of vectors of length 1.

Q holds the directions in which the vectors of the index are largest. Vectors of networks lie near few directions:
of 1,400 images embedded by a DenseNet-121 (1024 numbers) the first pass leaves 19 with r = 63, of which 12 are
the nearest. Where vectors fill all directions it leaves most, so nothing is kept if a trial says so.

Reference
---------
C. Faloutsos, M. Ranganathan, Y. Manolopoulos. Fast Subsequence Matching in Time-Series Databases. SIGMOD 1994: lower
bounds by some coefficients of an orthonormal transform lose no answer (lemma 1). Y. Hwang, B. Han, H.-K. Ahn. A Fast
Nearest Neighbor Search Algorithm by Nonlinear Embedding. CVPR 2012: the length of the rest as one more coordinate.
"""

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index._blocks import spans
from cbir_cli.index._distances import directions

_SAMPLE = 8192  # rows that the directions are taken from
_WIDEST = 8192  # vectors: beyond, the directions cost more than they save
_MOST = 100
_SHARE = 4
_LEAST = 2**21  # numbers in all vectors: below, reading all of them takes a millisecond
_TRIED = 64  # rows that ask in the trial, for 10 nearest
_TOO_MANY = 1 / 64  # share of rows that the first pass may leave
_WORK = 2**20  # float64 numbers in flight
ROUNDED = 1e-5
"""Bound of what rounding changes in a reduced vector, as a share of its length. Each number is rounded to float32,
2**-24. The length of the rest is the root of a difference in float64: with r < 100 and D of at most 8192 that is off
by 2 D 2**-53 sqrt(r) |x|^2 (Higham's bound on the r products) and r 1e-13 |x|^2 (of the basis, see ``check``), which
is 3e-11 |x|^2 in all: its root by 6e-6 |x|."""


def build(vectors: ndarray, coordinates: int, *, cosine: bool) -> dict[str, ndarray]:
    """Return ``basis`` (D, R - 1) float64 and ``reduced`` (N, R) float32, or nothing where they would not help.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
    coordinates : int
        R, at most a quarter of D and 100; 0 for no first pass.
    cosine : bool
        Reduce vectors divided by their length.
    """
    count, width = vectors.shape
    coordinates = min(coordinates, width // _SHARE, _MOST)
    if coordinates < 2 or width > _WIDEST or count * width < max(_LEAST, 1):
        return {}
    from scipy.linalg import eigh
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # sums of matrix products depend on the number of threads
        sample = _values(vectors[_spread(count, _SAMPLE)], cosine)
        basis = eigh(sample.T @ sample, subset_by_index=[width - coordinates + 1, width - 1])[1]
        if not _orthonormal(basis):  # LAPACK's vectors of eigenvalues that are nearly equal
            basis = np.linalg.qr(basis)[0]
        reduced = np.empty((count, coordinates), np.float32)
        for start, stop in spans(count, max(1, _WORK // width)):
            reduced[start:stop] = reduce(_values(vectors[start:stop], cosine), basis)
        asked = _spread(count, _TRIED)
        every = sample @ _values(vectors[asked], cosine).T
        few = reduced[_spread(count, _SAMPLE)].astype(np.float64) @ reduced[asked].astype(np.float64).T
    lengths = np.square(sample).sum(axis=1)[:, None]
    nearest = np.partition(lengths - 2 * every, min(10, len(sample) - 1), axis=0)[min(10, len(sample) - 1)]
    if (lengths - 2 * few <= nearest).mean() > _TOO_MANY:
        return {}
    return {"basis": basis, "reduced": reduced}


def reduce(vectors: ndarray, basis: ndarray) -> ndarray:
    """Return a(x) (M, R) float64 of vectors (M, D) float64."""
    inside = vectors @ basis
    rest = np.square(vectors).sum(axis=1) - np.square(inside).sum(axis=1)
    return np.concatenate([inside, np.sqrt(np.maximum(rest, 0))[:, None]], axis=1)


def check(basis: ndarray, reduced: ndarray, shape: tuple[int, ...]) -> None:
    """Refuse arrays that do not belong to vectors of a shape.

    Raises
    ------
    ShapeError
    """
    if (
        reduced.dtype != np.float32
        or basis.dtype != np.float64
        or reduced.shape != (shape[0], basis.shape[-1] + 1)
        or basis.shape[:-1] != shape[1:]
        or not _orthonormal(basis)
    ):
        raise ShapeError(f"reduced vectors do not belong to {shape[0]} vectors of {shape[1]}")


def _orthonormal(basis: ndarray) -> bool:
    return bool(np.abs(basis.T @ basis - np.eye(basis.shape[1])).max(initial=0) < 1e-13)


def _spread(count: int, most: int) -> ndarray:
    """Return at most ``most`` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _values(vectors: ndarray, cosine: bool) -> ndarray:
    """Return vectors in float64; for cosine divided by their length."""
    return directions(vectors) if cosine else vectors.astype(np.float64)
