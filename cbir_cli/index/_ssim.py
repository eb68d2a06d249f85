"""SSIM of 8-bit images: mean structural similarity over windows of 7 x 7 pixels, distance 1 - SSIM.

Sums over windows are whole numbers, so they are kept and compared as such: a window's pixel sum, and its spread
n sum(x^2) - sum(x)^2, are stored for every image of the index, and only the cross term sum(x y) is left to compute for
a pair. All products and sums of 8-bit values over 49 pixels stay below 2**24, where float32 still counts exactly;
what goes beyond is done in float64. Two equal images therefore have an SSIM of exactly 1.

With n = 49 and C1, C2 of the paper, numerator and denominator of equation 13 are multiplied by n^3 (n - 1) to get rid
of the fractions, covariances being sample covariances.

Reference
---------
Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli. Image Quality Assessment: From Error Visibility to Structural
Similarity. IEEE Transactions on Image Processing 13 (2004). Equation 13.

Differs from the authors' code
------------------------------
Window of 7 x 7 equal weights and sample covariance, the defaults of scikit-image that the retrieval papers used, in
place of 11 x 11 Gaussian weights. As there, windows that reach over the border are left out.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.index._blocks import spans
from cbir_cli.index._nearest import Nearest

_SIDE = 7  # of a window
_COUNT = _SIDE**2
# C1 scaled by n^2 and C2 scaled by n (n - 1), to the nearest 2**-22 (a relative change of 1e-11): added to whole
# numbers below 2**30 they leave all sums exact, so that the fraction of two equal images is 1 in whatever order.
_C1 = round((0.01 * 255 * _COUNT) ** 2 * 2**22) / 2**22
_C2 = round((0.03 * 255) ** 2 * _COUNT * (_COUNT - 1) * 2**22) / 2**22
_WORK = 2**16  # pixels taken at once: what is computed on them stays in the cache of one core


def build(vectors: ndarray) -> dict[str, ndarray]:
    """Window sums and spreads of every image.

    Returns
    -------
    dict
        ``window_sums`` (N, W) uint16 and ``window_spreads`` (N, W) uint32, W = (S - 6)^2 windows in row order. The
        mean of a window is sum / 49, its sample variance spread / (49 * 48).

    Raises
    ------
    ShapeError
        If vectors are not square images of at least 7 x 7 whole pixel values from 0 to 255.
    """
    windows = (_size(vectors) - _SIDE + 1) ** 2
    sums = np.empty((len(vectors), windows), dtype=np.uint16)
    spreads = np.empty((len(vectors), windows), dtype=np.uint32)
    step = max(1, 16 * _WORK // vectors.shape[1])
    for start in range(0, len(vectors), step):
        part = slice(start, start + step)
        _check(vectors[part], "row", start)
        sums[part], spreads[part] = _windows(vectors[part])
    return {"window_sums": sums, "window_spreads": spreads}


class Windows:
    """Search by SSIM, for the metric ``ssim``."""

    def __init__(self, vectors: ndarray, payload: dict[str, ndarray]) -> None:
        shape = (len(vectors), (_size(vectors) - _SIDE + 1) ** 2)
        self._sums, self._spreads = payload["window_sums"], payload["window_spreads"]
        if self._sums.shape != shape or self._spreads.shape != shape:
            raise ShapeError(f"window sums do not belong to {len(vectors)} images of {vectors.shape[1]} pixels")
        self._vectors = vectors

    def check(self, queries: ndarray) -> None:
        """Refuse queries that are not whole pixel values from 0 to 255."""
        _check(queries, "query", 0)

    def scan(self, queries: ndarray, nearest: Nearest, only: ndarray | None, without: Sequence[ndarray]) -> None:
        """Put the nearest rows of each query into ``nearest``; arguments as for matrix products.

        Every pair is measured in full: window sums give no bound that would leave many out.
        """
        sums, spreads = (values.astype(np.float64) for values in _windows(queries))
        if only is None:
            only = np.arange(len(self._vectors))
        for start, stop in spans(len(only), max(1, _WORK // queries.shape[1])):
            rows = only[start:stop]
            images = _Images(self._vectors[rows], self._sums[rows], self._spreads[rows])
            for query in range(len(queries)):
                wanted = np.flatnonzero(~np.isin(rows, without[query], assume_unique=True))
                if wanted.size:
                    similarity = images.similarity(queries[query], sums[query], spreads[query], wanted)
                    nearest.add_to(query, np.maximum(1 - similarity, 0), rows[wanted])


class _Images:
    """Some images of the index, with all about them that every query needs."""

    def __init__(self, pixels: ndarray, sums: ndarray, spreads: ndarray) -> None:
        self._pixels = pixels  # (M, D) float32
        self._sums = sums.astype(np.float64)  # (M, W)
        self._lights = np.square(self._sums) + _C1
        self._spreads = spreads + _C2

    def similarity(self, pixels: ndarray, sums: ndarray, spreads: ndarray, wanted: ndarray) -> ndarray:
        """Mean SSIM (M,) float64 of one image, given by pixels (D,) and windows (W,), with the wanted ones."""
        # Doubled at once here: both numerators use twice the product.
        crosses = _boxes(self._pixels[wanted] * (2 * pixels)).astype(np.float64)
        numerator = self._sums[wanted] * (2 * sums)
        numerator += _C1
        crosses *= _COUNT
        crosses -= numerator
        crosses += _C1 + _C2
        numerator *= crosses
        denominator = self._lights[wanted] + np.square(sums)
        denominator *= self._spreads[wanted] + spreads
        numerator /= denominator
        return numerator.mean(axis=1)


def _windows(vectors: ndarray) -> tuple[ndarray, ndarray]:
    """Window sums and spreads of images, each (M, W) float64 and whole."""
    sums = _boxes(vectors).astype(np.float64)
    return sums, _boxes(np.square(vectors)).astype(np.float64) * _COUNT - np.square(sums)


def _boxes(values: ndarray) -> ndarray:
    """Sums (M, W) over all windows of images (M, D); float32, exact below 2**24."""
    side = math.isqrt(values.shape[1])
    images = values.reshape(-1, side, side)
    columns = _seven(images.swapaxes(0, 1)).swapaxes(0, 1)
    return _seven(columns.swapaxes(0, 2)).swapaxes(0, 2).reshape(len(values), -1)


def _seven(values: ndarray) -> ndarray:
    """Sums of seven neighbours along the first axis, as 4 + 2 + 1."""
    twos = values[:-1] + values[1:]
    fours = twos[:-2] + twos[2:]
    return fours[:-3] + twos[4:-1] + values[6:]


def _size(vectors: ndarray) -> int:
    side = math.isqrt(vectors.shape[1])
    if side**2 != vectors.shape[1] or side < _SIDE:
        raise ShapeError(f"ssim needs square images of at least 7 x 7 pixels, found {vectors.shape[1]} values a vector")
    return side


def _check(vectors: ndarray, what: str, first: int) -> None:
    good = ((vectors >= 0) & (vectors <= 255) & (vectors == np.rint(vectors))).all(axis=1)
    if not good.all():
        raise ShapeError(f"{what} {first + np.flatnonzero(~good)[0]}: ssim needs whole pixel values from 0 to 255")
