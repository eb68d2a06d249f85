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

from cbir_cli.label_policy import IGNORED

PLACES = 5
NAMES = (f"mean-precision@{PLACES}", f"knn-accuracy@{PLACES}")

QUERIES = 2048

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
        One of no known class, below 0, or of no known label is left out; one without a positive label does not ask.
        At most ``QUERIES`` ask, evenly spread over the rows.
    owners : sequence of str, (N,)
        Patient of each image.
    similarity : str
        ``l2`` or ``cosine``.

    Returns
    -------
    dict of str to float or None
        ``mean-precision@5``: the mean over the queries of the mean of precision@1 to @5 (equation 5 of the paper, which
        calls it MAP). ``knn-accuracy@5``: the share of queries whose class is that of most of the 5 nearest, the
        smaller number in a tie; None for several labels. Equal distances are ordered by row. None where no image has
        5 others to be found, in [0, 1] else.
    """
    known = targets >= 0 if targets.ndim == 1 else (targets != IGNORED).any(axis=1)
    if known.sum() <= PLACES:
        return dict.fromkeys(NAMES)
    owner = np.unique(np.asarray(owners)[known], return_inverse=True)[1]
    vectors, targets = np.asarray(vectors, np.float64)[known], targets[known]
    if similarity == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    squares = np.square(vectors).sum(axis=1)
    asked = np.arange(len(vectors)) if targets.ndim == 1 else np.flatnonzero((targets == 1).any(axis=1))
    if len(asked) > QUERIES:
        asked = asked[np.linspace(0, len(asked) - 1, QUERIES).astype(np.int64)]
    precision, right = [], []
    for start in range(0, len(asked), _TOGETHER):
        rows = asked[start : start + _TOGETHER]
        distance = squares - 2 * vectors[rows] @ vectors.T  # of each row up to a constant
        distance[owner[rows, None] == owner] = np.inf
        nearest = _nearest(distance)
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


def _nearest(distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the columns (Q, PLACES) of the smallest distances of each row, those of equal ones from the left."""
    furthest = np.partition(distance, PLACES - 1, axis=1)[:, PLACES - 1]
    found = np.empty((len(distance), PLACES), np.int64)
    for row, (values, limit) in enumerate(zip(distance, furthest, strict=True)):
        near = np.flatnonzero(values <= limit)
        found[row] = near[np.argsort(values[near], kind="stable")[:PLACES]]
    return found
