"""Vectors of an image and of its copies under masks."""

from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli.random_masks import check_fill
from cbir_cli.vectors import checked


class Masked:
    """Encodes images as they are, or as masks leave them.

    A mask works on what the network is fed, as in the authors' code of RISE and RELAX: ``M X + (1 - M) fill``. An
    encoder takes pixels, so it is given ``M pixels + (1 - M) colour`` with the colour that its input turns into the
    fill; for ImageNet's channels that is no grey, and grey images become coloured ones. Of an IG model it is the image
    that is masked, and its map that is made of what is left.

    Parameters
    ----------
    encoder : object
        Has ``encode`` and ``input``, an ``InputSpec``.
    images : ndarray (N, H, W) or (N, H, W, 3), float32
    fill : float
        Of every channel, in units of the network's input.

    Raises
    ------
    UsageError
        If ``fill`` is not finite.
    """

    def __init__(self, encoder: Any, images: ndarray, fill: float) -> None:
        check_fill(fill)
        self._encoder, self._images = encoder, images
        colour = np.array([m + fill * s for m, s in zip(encoder.input.mean, encoder.input.std, strict=True)])
        if images.ndim == 3 and (colour == colour[0]).all():
            colour = colour[0]
        elif images.ndim == 3:
            self._images = images[..., None]  # becomes three channels beside a colour
        self._colour = colour.astype(np.float32)
        self._originals = images

    def vector(self, image: int) -> ndarray:
        """Return the vector (D,) of one image."""
        return checked(self._encoder.encode(self._originals[image][None]), 1)[0]

    def vectors(self, image: int, masks: ndarray) -> ndarray:
        """Return the vectors (B, D) of one image under masks (B, H, W) float32."""
        hidden = (self._images[image] - self._colour) * (masks[..., None] if self._images.ndim == 4 else masks)
        hidden += self._colour
        return checked(self._encoder.encode(hidden), len(hidden))
