"""Perceptual hash of an image: 64 bits that survive re-encoding, and the search for images whose hashes are near.

The grey image is reduced to 32 x 32 pixels; of its discrete cosine transform the 64 coefficients of the frequencies 1
to 8 in both directions are compared with their median. The frequencies 0, which hold the mean and the plain bands from
edge to edge, are left out: radiographs have them in common.

Half of the bits are set (but for coefficients that are equal), so distances are even. A flat image has no hash.

How near is the same
--------------------
Measured for pairs of *different* patients, distance up to 2, 4, 6 and 8:

===========================================  =======  ====  ====  ====  ====
images                                         pairs     2     4     6     8
===========================================  =======  ====  ====  ====  ====
861 chest radiographs of adults (NIH)        369,623     0     0     1    15
467 chest radiographs of children (Kermany)  108,811     0     3    14    73
548 photographs of skin (ISIC 2017)          149,878     2     2     3    12
560 synthetic radiographs (cbir phantom)     155,742     4    11    48   144
===========================================  =======  ====  ====  ====  ====

Both pairs of the skin are the same photograph twice, and a pair of the children may be of one child. Of copies of the
861 and 467 radiographs the share that is *missed* at distance 4 is 0 for JPEG of quality 90 and 50, half the size, less
contrast and 15 % more light, up to 1 % for a gamma of .8, 7 to 10 % for 1 % cropped off each side, 46 to 62 % for a
white marker in a corner, and 39 to 82 % for histogram equalisation. Hence ``NEAR = 4``. Chance still grows with the
number of pairs: three in 10^5 of the children's pairs are many among the 10^10 of a large archive. So near images are a
reason to look, and no proof.

Turned, mirrored and inverted copies are not found.

Reference
---------
C. Zauner. Implementation and Benchmarking of Perceptual Image Hash Functions. Thesis, Hagenberg 2010, section 3.2.1
(DCT based hash). M. Norouzi, A. Punjani, D. Fleet. Fast Search in Hamming Space with Multi-Index Hashing. CVPR 2012.
arXiv:1307.2982 (proposition 2).
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli import images
from cbir_cli.errors import ShapeError, UsageError

NEAR = 4
"""Distance up to which two images count as nearly the same."""

_SIDE, _BITS, _BANDS = 32, 64, 4
_FLAT = 1e-4
"""A coefficient has to reach this, in units of a grey value of 1 per pixel: less is rounding."""
_AT_ONCE = 1 << 22
"""Pairs that are compared at a time: 200 MB."""

Hashes = NDArray[np.uint64]


def of(pixels: NDArray[np.float32]) -> str:
    """Return the hash of an image.

    Parameters
    ----------
    pixels : ndarray (H, W) or (H, W, 3), float
        In [0, 1]; of colour the luma counts.

    Returns
    -------
    str
        16 hexadecimal digits, the lowest frequency first; empty for a flat image.

    Raises
    ------
    ShapeError
        If the array is of another shape.
    """
    from scipy.fft import dctn

    if pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    if pixels.ndim != 2:
        raise ShapeError(f"expected pixels (H, W) or (H, W, 3), found {pixels.shape}")
    small = images.resize(pixels, _SIDE).astype(np.float64)
    low = dctn(small, norm="ortho")[1:9, 1:9].ravel()
    if np.abs(low).max() < _FLAT * _SIDE:
        return ""
    # Rounded, so that the last bits of one machine's transform do not turn a bit of the hash over.
    low = np.round(low, 6)
    return np.packbits(low > np.median(low)).tobytes().hex()


def parse(texts: ArrayLike) -> Hashes:
    """Return hashes as numbers, 0 for none.

    Parameters
    ----------
    texts : array (N,) of text
        As ``of`` returns them.

    Returns
    -------
    ndarray (N,), uint64
        No image has the hash 0: half of the bits are set.

    Raises
    ------
    ShapeError
        If a text is no hash.
    """
    try:
        return np.array([int(text or "0", 16) for text in np.asarray(texts).tolist()], dtype=np.uint64)
    except (ValueError, OverflowError) as error:
        raise ShapeError(f"no perceptual hash: {error}") from None


def nearest(first: Hashes, second: Hashes, distance: int = NEAR) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find for each hash of one set the nearest of another, as far as one is near.

    The search is exact. The 64 bits are four bands of 16. Two hashes whose distance is ``4 r + a`` at most (a from 0 to
    3) agree to within ``r`` bits in one of the first ``a + 1`` bands, or to within ``r - 1`` bits in one of the others:
    otherwise their distance were ``(a + 1) (r + 1) + (3 - a) r = 4 r + a + 1``. Up to 3 that is one equal band, up to 4
    one equal band or a single bit in the first. Only pairs that agree so far are compared, so 400,000 hashes against
    400,000 take 7 seconds on one core (distance 4), in memory that grows with their number and not with the pairs.

    Parameters
    ----------
    first, second : ndarray (N,) and (M,), uint64
        0 is no hash, and near to nothing.
    distance : int
        Bits in which two hashes may differ, from 0 to 15.

    Returns
    -------
    rows : ndarray (M,), int64
        For each of the second set the row of the nearest of the first, the lowest of several; -1 where none is near.
    distances : ndarray (M,), int64
        Bits that differ; -1 where none is near.

    Raises
    ------
    UsageError
        If the distance is out of range.
    """
    if not 0 <= distance < 16:
        raise UsageError(f"expected a distance of 0 to 15 bits, found {distance}")
    here, rows = np.unique(first, return_index=True)  # the lowest row of each hash
    asked, places = np.unique(second, return_inverse=True)
    here, rows = here[here > 0], rows[here > 0]
    none = distance + 1
    # Distance and row in one number, so that the least of these is the nearest, and of several the first.
    best = np.full(len(asked), none << 40, dtype=np.int64)
    for mine, yours in _candidates(here, asked, distance):
        bits = np.bitwise_count(here[mine] ^ asked[yours]).astype(np.int64)
        close = bits <= distance
        np.minimum.at(best, yours[close], (bits[close] << 40) + rows[mine[close]])
    best[asked == 0] = none << 40
    bits, found = best >> 40, best & ((1 << 40) - 1)
    there = bits <= distance
    return np.where(there, found, -1)[places], np.where(there, bits, -1)[places]


def _candidates(first: Hashes, second: Hashes, distance: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield rows of both sets that agree well enough in one band; a pair may come more than once."""
    radius, more = divmod(distance, _BANDS)
    for band in range(_BANDS):
        reach = radius if band <= more else radius - 1
        if reach < 0:
            continue
        mine, yours = _band(first, band), _band(second, band)
        order = np.argsort(mine, kind="stable")
        sorted_ = mine[order]
        for flip in _flips(reach):
            probe = yours ^ flip
            start = np.searchsorted(sorted_, probe, "left")
            count = np.searchsorted(sorted_, probe, "right") - start
            yield from _pairs(order, start, count)


def _pairs(
    order: NDArray[np.int64], start: NDArray[np.int64], count: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows ``order[start:start + count]`` with each asked row, so many at a time as memory allows."""
    ends = np.cumsum(count)
    low = 0
    while low < len(count):
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + _AT_ONCE, "right")))
        many = count[low:high]
        yours = np.repeat(np.arange(low, high), many)
        offset = np.arange(len(yours)) - np.repeat(np.cumsum(many) - many, many)
        if len(yours):
            yield order[np.repeat(start[low:high], many) + offset], yours
        low = high


def _band(hashes: Hashes, band: int) -> NDArray[np.uint16]:
    """Return every fourth bit: high and low frequencies in each band, for the low ones alone are much alike."""
    bits = np.unpackbits(hashes.byteswap().view(np.uint8).reshape(len(hashes), 8), axis=1)[:, band::_BANDS]
    return np.packbits(bits, axis=1).view(np.uint16).ravel() if len(hashes) else np.empty(0, np.uint16)


def _flips(reach: int) -> list[np.uint16]:
    return [
        np.uint16(sum(1 << bit for bit in bits))
        for n in range(reach + 1)
        for bits in itertools.combinations(range(16), n)
    ]
