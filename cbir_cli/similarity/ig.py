"""Interpretability-guided maps of both images: where the network looked when it compared them.

A model fine-tuned on saliency maps compares images by their maps, and so the maps themselves are its explanation.

Reference
---------
W. Silva, A. Poellinger, J. S. Cardoso, M. Reyes. Interpretability-Guided Content-Based Medical Image Retrieval.
MICCAI 2020. Section 2.2 and Fig. 4.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import ShapeError
from cbir_cli.similarity import _pair

MAPS = "both"

SHOWS = "saliency"
"""Which network of an IG model it looks at: the one that makes the maps. Methods without this look at both."""

SAYS = (
    "Saliency of each image by itself, whatever it is compared with: brighter pixels speak more for what the network "
    "was trained to see."
)


def explain(encoder: Any, queries: ndarray, results: ndarray) -> tuple[ndarray, ndarray]:
    """Saliency of each image for the model's own output; no map depends on the other image of its pair.

    Parameters
    ----------
    encoder : object
        Has ``maps``: pixels (N, S, S) or (N, S, S, 3) to saliency (N, S, S) float32, scaled to a largest magnitude
        of 1.
    queries, results : ndarray (P, S, S) or (P, S, S, 3), float32
        Pixels in [0, 1], one result a query.

    Returns
    -------
    query_maps, result_maps : ndarray (P, S, S), float32
        In [-1, 1]; larger means more support for the output.

    Raises
    ------
    ShapeError
        If the images are not two stacks of finite images of one shape, or the encoder's maps do not fit them.
    UsageError
        Raised by an encoder that has no saliency.
    """
    queries, results = _pair.check(queries, results)

    def maps(images: ndarray) -> ndarray:
        found = np.asarray(encoder.maps(images), dtype=np.float32)
        if found.shape != images.shape[:3] or not np.isfinite(found).all():
            raise ShapeError(
                f"expected finite saliency maps of shape {images.shape[:3]} from the model, found {found.shape}"
            )
        return found

    return _pair.each(maps, queries, results)
