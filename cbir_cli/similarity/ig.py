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


def explain(encoder: Any, query: ndarray, result: ndarray) -> tuple[ndarray, ndarray]:
    """Saliency of each image for the model's own output; neither map depends on the other image.

    Parameters
    ----------
    encoder : object
        Has ``maps``: pixels (N, S, S) or (N, S, S, 3) to saliency (N, S, S) float32, scaled to a largest magnitude
        of 1.
    query, result : ndarray (S, S) or (S, S, 3), float32
        Pixels in [0, 1].

    Returns
    -------
    query_map, result_map : ndarray (S, S), float32
        In [-1, 1]; larger means more support for the output.

    Raises
    ------
    ShapeError
        If the images are not finite arrays of one shape, or the encoder's maps do not fit them.
    UsageError
        Raised by an encoder that has no saliency.
    """
    pair = _pair.stack(query, result)
    maps = np.asarray(encoder.maps(pair), dtype=np.float32)
    if maps.shape != pair.shape[:3] or not np.isfinite(maps).all():
        raise ShapeError(f"expected finite saliency maps of shape {pair.shape[:3]} from the model, found {maps.shape}")
    return maps[0], maps[1]
