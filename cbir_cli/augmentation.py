"""Small random rotations and shifts of training images.

What happens to an image is a function of seed, epoch and its number alone: the batch it is in, the order of the images
and the number of workers change nothing.

Reference
---------
Silva et al., Scientific Reports 2022, "small rotations and translations were used as data augmentation". The paper
gives no magnitudes; ours (up to 10 degrees, up to 5 % of the side) are about what the position of a patient varies by.

What a rotated or shifted image uncovers is filled with the nearest pixel of its edge, which is what Keras, in which the
paper was implemented, does by default: black corners would be a signal that real radiographs do not carry.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import ShapeError

_STREAM = 1
"""Keeps the draws apart from those of the sampler, which start from the same seed."""


def augment(
    pixels: NDArray[np.float32],
    indices: Sequence[int] | NDArray,
    *,
    rotation: float,
    shift: float,
    seed: int,
    epoch: int,
) -> NDArray[np.float32]:
    """Rotate and shift every image of a batch by its own random amounts.

    Parameters
    ----------
    pixels : array (B, S, S) or (B, S, S, 3), float32
        Images or maps; left untouched.
    indices : sequence of int, (B,)
        Number of each image in its data set.
    rotation : float
        Largest angle, degrees; angles are uniform in [-rotation, rotation].
    shift : float
        Largest shift along each axis as a fraction of the side; uniform in [-shift, shift].
    seed, epoch : int
        Together with the number of an image the only source of its amounts.

    Returns
    -------
    array, as ``pixels``
        The same array if both magnitudes are 0.
    """
    if not rotation and not shift:
        return pixels
    moved = np.empty_like(pixels)
    for image, index, out in zip(pixels, indices, moved, strict=True):
        draw = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAM, epoch, int(index))))
        )
        degrees, down, right = draw.uniform(-1, 1, 3) * (rotation, shift * image.shape[0], shift * image.shape[1])
        out[...] = move(image, degrees=degrees, down=down, right=right)
    return moved


def move(pixels: NDArray[np.float32], *, degrees: float = 0, down: float = 0, right: float = 0) -> NDArray[np.float32]:
    """Rotate one image about its centre, then shift it; bilinear, the edge continued outwards.

    Parameters
    ----------
    pixels : array (S, S) or (S, S, 3), float32
    degrees : float
        Counter-clockwise as seen, row 0 at the top.
    down, right : float
        Pixels; negative is up and left.

    Returns
    -------
    array, as ``pixels``

    Raises
    ------
    ShapeError
        If the image is not square.
    """
    from scipy.ndimage import affine_transform

    if pixels.ndim not in (2, 3) or pixels.shape[0] != pixels.shape[1]:
        raise ShapeError(f"expected a square image, found {pixels.shape}")
    if pixels.ndim == 3:
        planes = [move(pixels[..., c], degrees=degrees, down=down, right=right) for c in range(pixels.shape[2])]
        return np.stack(planes, axis=-1)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    back = np.array([[cos, sin], [-sin, cos]])  # where an output pixel comes from: the inverse rotation
    centre = (np.array(pixels.shape) - 1) / 2
    return affine_transform(pixels, back, centre - back @ (centre + np.array([down, right])), order=1, mode="nearest")
