"""Distances as results have them: from the difference of two vectors in float64, one pair at a time.

Each is summed in an order that depends on nothing but the vectors' length, so it is the same whatever else is measured.
"""

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index._blocks import spans

LONGEST = 1e18
"""Of a vector: beyond it a float32 score could overflow."""

_WORK = 2**20  # float64 numbers in flight: 8 MiB


def squared_norms(vectors: ndarray, what: str) -> ndarray:
    """Squared Euclidean norms (N,) float64, computed a block at a time; ``what`` names a vector in the error.

    Raises
    ------
    ShapeError
        If a vector is not finite or is longer than 1e18.
    """
    norms = np.empty(len(vectors))
    for start, stop in spans(len(vectors), max(1, _WORK // vectors.shape[1])):
        norms[start:stop] = np.square(vectors[start:stop], dtype=np.float64).sum(axis=1)
    bad = np.flatnonzero(~(norms <= LONGEST**2))
    if bad.size:
        raise ShapeError(f"{what} {bad[0]} is not finite, or longer than {LONGEST:g} ({bad.size} such)")
    return norms


def directions(vectors: ndarray) -> ndarray:
    """Vectors (M, D) scaled to length 1, float64; a zero vector stays as it is."""
    return _scaled(vectors)[0]


def of_pairs(vectors: ndarray, queries: ndarray, asked: ndarray, rows: ndarray, *, cosine: bool) -> ndarray:
    """Distances of pairs of a query and a row.

    Parameters
    ----------
    vectors : ndarray (N, D), float32
    queries : ndarray (Q, D), float32
    asked, rows : ndarray (P,), int64
        Query and row of each pair.
    cosine : bool
        One minus the cosine, else the Euclidean distance.

    Returns
    -------
    ndarray (P,), float64
        Exactly 0 for a vector identical to the query; of cosines 1 where either is zero.
    """
    centres, stated = _scaled(queries) if cosine else (queries.astype(np.float64), None)
    found = np.empty(len(rows))
    for start, stop in spans(len(rows), max(1, _WORK // queries.shape[1])):
        some = asked[start:stop]
        part = vectors[rows[start:stop]]
        # Norms are taken afresh, not from a payload, so that equal vectors have bitwise equal directions.
        part, there = _scaled(part) if cosine else (part.astype(np.float64), None)
        part -= centres[some]
        squares = np.square(part, out=part).sum(axis=1)
        if there is None or stated is None:
            found[start:stop] = np.sqrt(squares)
        else:  # half the squared difference of unit vectors is 1 - cos without its cancellation
            found[start:stop] = np.where(there & stated[some], squares / 2, 1.0)
    return found


def of_one(vectors: ndarray, query: ndarray, rows: ndarray, *, cosine: bool) -> ndarray:
    """Distances (M,) float64 of one query (D,) to some rows (M,); as ``of_pairs``."""
    return of_pairs(vectors, query[None], np.zeros(len(rows), np.int64), rows, cosine=cosine)


def _scaled(vectors: ndarray) -> tuple[ndarray, ndarray]:
    """Return directions, and which vectors (M,) have one."""
    values = vectors.astype(np.float64)
    lengths = np.sqrt(np.square(values).sum(axis=1))
    values /= np.where(lengths > 0, lengths, 1.0)[:, None]
    return values, lengths > 0
