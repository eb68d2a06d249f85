"""Boxes that slide over an image to hide its parts, one at a time.

Reference
---------
B. Dong, R. Collins, A. Hoogs. Explainability for Content-Based Image Retrieval. CVPR Workshops 2019 (sliding boxes).
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. Section 3.4: boxes of 24 x 24 pixels
every 5; that they begin outside the border is in the authors' code only.
"""

from collections.abc import Iterator

import numpy as np
from numpy import ndarray

from cbir_cli.errors import UsageError


def sliding(height: int, width: int, *, box: int, stride: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes that slide over an image, row by row, cut off at its border.

    The first box begins at ``stride - box``, so that ``stride`` pixels of it are inside, and the last begins before
    the border: pixels at the border are covered about as often as those in the middle.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    box : int
        Side of a box, in pixels; at most twice the longer side of the image, or 64: such a box hides all of it in most
        places.
    stride : int
        From one box to the next, in pixels; at most ``box``, so that every pixel is covered.

    Returns
    -------
    iterator of (y0, y1, x0, x1)
        Box ``image[y0:y1, x0:x1]``, never empty. 2,401 boxes for 224 x 224 pixels, box 24, stride 5.

    Raises
    ------
    UsageError
        If ``box`` is not from 1 to that, or ``stride`` not from 1 to ``box``.

    Examples
    --------
    >>> list(sliding(2, 3, box=2, stride=2))
    [(0, 2, 0, 2), (0, 2, 2, 3)]
    """
    most = max(64, 2 * height, 2 * width)
    if not 1 <= box <= most:
        raise UsageError(f"expected a box from 1 to {most} pixels, found {box}")
    rows, columns = _spans(height, box, stride), _spans(width, box, stride)
    return ((*row, *column) for row in rows for column in columns)


def coverage(height: int, width: int, *, box: int, stride: int) -> ndarray:
    """How many sliding boxes cover each pixel, (height, width) int64, at least 1; arguments as for ``sliding``."""
    counts = []
    for size in (height, width):
        count = np.zeros(size, dtype=np.int64)
        for start, stop in _spans(size, box, stride):
            count[start:stop] += 1
        counts.append(count)
    return np.outer(*counts)


def _spans(size: int, box: int, stride: int) -> list[tuple[int, int]]:
    if not 1 <= stride <= box:
        raise UsageError(f"expected a stride from 1 to the box's {box} pixels, found {stride}")
    return [(max(start, 0), min(start + box, size)) for start in range(stride - box, size, stride)]
