"""What the kinds that search by faiss share: vectors as faiss gets them, and its arrays as views of ours.

faiss compares in float32 by the squared Euclidean distance alone. Vectors for ``l2`` are divided by the longest of
them, so that squares neither overflow nor vanish; those for ``cosine`` by their own length. What comes back is only a
choice of rows: distances are measured on the stored vectors afterwards.

An index that is opened reads nothing at first: codes and links lie in the artifact, memory-mapped, and faiss looks
at them there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import CbirError, ShapeError
from cbir_cli.index._distances import directions

METRICS = ("l2", "cosine")

_WORK = 2**21  # numbers in flight where vectors are prepared: 16 MiB of float64
_FAR = 1e4  # times as long as the longest vector: all vectors look alike in float32


def library() -> Any:
    """Return the module faiss.

    Raises
    ------
    CbirError
        If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise CbirError("the index needs faiss: pip install faiss-cpu") from error
    return faiss


def nearest(index: Any, probes: ndarray, count: int, parameters: Any) -> ndarray:
    """Return the rows (Q, count) that an index finds with search parameters.

    Where another package has loaded ``faiss.contrib.torch_utils``, as pytorch-metric-learning does, a search without
    parameters stands in the place of faiss's own.
    """
    search = getattr(index, "search_numpy", index.search)
    return search(probes, count, params=parameters)[1]


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let faiss compute on so many threads within this block; None leaves it as it is."""
    faiss = library()
    before = faiss.omp_get_max_threads()
    if count is not None:
        faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class Space:
    """How vectors become what faiss compares.

    Parameters
    ----------
    metric : str
        ``l2`` or ``cosine``.
    longest : float
        Length of the longest vector of the index.
    width : int
        Numbers in a vector.
    padded : int, optional
        Numbers that faiss gets, zeros behind.
    """

    def __init__(self, metric: str, longest: float, width: int, padded: int | None = None) -> None:
        if not (np.isfinite(longest) and longest >= 0):
            raise ShapeError(f"expected the length of the longest vector, found {longest}")
        self._cosine, self._scale = metric == "cosine", 1 / longest if longest > 0 else 1.0
        self.width, self.padded = width, padded or width

    def prepare(self, vectors: ndarray) -> ndarray:
        """Return (n, padded) float32, contiguous, of vectors (n, width) float32; zero vectors stay zero."""
        prepared = np.zeros((len(vectors), self.padded), np.float32)
        values = directions(vectors) if self._cosine else vectors.astype(np.float64) * self._scale
        prepared[:, : self.width] = values
        return prepared

    def far(self, queries: ndarray) -> ndarray:
        """Return which queries (Q,) bool are so much longer than all vectors that float32 cannot rank for them."""
        if self._cosine:
            return np.zeros(len(queries), bool)
        return np.sqrt(np.square(queries, dtype=np.float64).sum(axis=1)) * self._scale > _FAR

    def blocks(self, vectors: ndarray, rows: ndarray) -> Iterator[tuple[int, int, ndarray]]:
        """Yield start, stop and the prepared vectors of a few of the rows at a time.

        The size of a block depends on nothing but the width, since what faiss builds may depend on it.
        """
        step = max(1, _WORK // self.padded)
        for start in range(0, len(rows), step):
            stop = min(start + step, len(rows))
            yield start, stop, self.prepare(vectors[rows[start:stop]])


def view(values: ndarray) -> Any:
    """Return contiguous values, of type uint8 or int32, as a vector of faiss that looks at the same memory.

    The caller keeps the array for as long as faiss uses the vector.
    """
    faiss = library()
    kind = {"u1": faiss.MaybeOwnedVectorUInt8, "i4": faiss.MaybeOwnedVectorInt32}[values.dtype.str[1:]]
    return kind.create_view(faiss.swig_ptr(values), values.size, kind().owner) if values.size else kind()


def flat(faiss: Any, points: ndarray) -> Any:
    """Return an index of faiss that holds points (n, D) float32 as they are."""
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return index


def span(lowest: ndarray, highest: ndarray) -> ndarray:
    """Return what 8-bit codes of faiss span in each of D numbers, (2, D) float32: lowest, and highest - lowest.

    Zeros where there is no vector.
    """
    found = np.stack([lowest, highest - lowest]).astype(np.float32)
    return np.where(np.isfinite(found), found, np.float32(0))


class Selector:
    """The vectors of a payload (P,) bool that may be named, as faiss asks for them."""

    def __init__(self, mask: ndarray) -> None:
        faiss = library()
        self._bits = np.packbits(mask, bitorder="little")  # faiss looks at them
        self.faiss = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(self._bits))
