"""How well a network retrieves held-out images: each asks for the others, those of its own patient left out.

Reference
---------
Wickstrøm et al., A clinically motivated self-supervised approach for content-based image retrieval of CT liver images,
2022, section 4 and Figs. 6 and 7: retrieval of test images after some epochs.

Differs from the authors' code
------------------------------
Theirs counts precision at 1 to 4 for a MAP of 5, and images of the same patient as results.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PLACES = 5
NAMES = (f"mean-precision@{PLACES}", f"knn-accuracy@{PLACES}")

_TOGETHER = 256


def scores(
    vectors: NDArray[np.floating], targets: NDArray[np.int64], owners: Sequence[str], *, similarity: str
) -> dict[str, float | None]:
    """Return the retrieval quality of a set of images that ask for each other.

    Parameters
    ----------
    vectors : array (N, D), float32
    targets : array (N,) or (N, K), int64
        Class of each image, or K labels: an image is relevant if it is of the same class, or shares a positive label.
        One of no known class, below 0, is left out.
    owners : sequence of str, (N,)
        Patient of each image.
    similarity : str
        ``l2`` or ``cosine``.

    Returns
    -------
    dict of str to float or None
        ``mean-precision@5``: the mean over the queries of the mean of precision@1 to @5 (equation 5 of the paper, which
        calls it MAP). ``knn-accuracy@5``: the share of queries whose class is that of most of the 5 nearest, the
        smaller number in a tie; None for several labels. None where no image has 5 others to be found, in [0, 1] else.
    """
    known = targets >= 0 if targets.ndim == 1 else np.ones(len(targets), bool)
    if known.sum() <= PLACES:
        return dict.fromkeys(NAMES)
    owner = np.unique(np.asarray(owners)[known], return_inverse=True)[1]
    vectors, targets = np.asarray(vectors, np.float64)[known], targets[known]
    if similarity == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    squares = np.square(vectors).sum(axis=1)
    precision, right = [], []
    for start in range(0, len(vectors), _TOGETHER):
        rows = np.arange(start, min(start + _TOGETHER, len(vectors)))
        distance = squares - 2 * vectors[rows] @ vectors.T  # of each row up to a constant
        distance[owner[rows, None] == owner] = np.inf
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :PLACES]
        full = np.isfinite(np.take_along_axis(distance, nearest, axis=1)).sum(axis=1) == PLACES
        rows, nearest = rows[full], nearest[full]
        if targets.ndim == 2:
            relevant = ((targets[rows, None] == 1) & (targets[nearest] == 1)).any(axis=2)
        else:
            relevant = targets[nearest] == targets[rows, None]
            votes = np.stack([(targets[nearest] == c).sum(axis=1) for c in range(int(targets.max()) + 1)], axis=1)
            right += (votes.argmax(axis=1) == targets[rows]).tolist()
        precision += (relevant.cumsum(axis=1) / np.arange(1, PLACES + 1)).mean(axis=1).tolist()
    means = [float(np.mean(values)) if values else None for values in (precision, right)]
    return dict(zip(NAMES, means, strict=True))
