"""Random changes of training images: rotation, shift, crop, mirroring, colour and blur.

What happens to an image is a function of seed, epoch, its number and its view alone: the batch it is in, the order of
the images and the number of workers change nothing. An image that an epoch shows more than once gets another number
each time (``batches.showings``). What one setting draws does not depend on which others are on.

In this order: rotation and shift, crop, then in a random order brightness, contrast, saturation and hue, then grey
copy, blur, mirroring. Saturation, hue and grey copy do nothing to grey pixels. All but ``PLACE`` are for pixels in
[0, 1], not for saliency maps.

Reference
---------
Silva et al., Scientific Reports 2022, "small rotations and translations were used as data augmentation". The paper
gives no magnitudes; ours (up to 10 degrees, up to 5 % of the side) are about what the position of a patient varies by.
Hu, Vasu, Hoogs, X-MIR, WACV 2022, section 3.3: "random resized crop to 224 x 224 pixels, and random horizontal flip".
Wickstrøm et al. 2023, section 3.2: crop, flip, colour and grey copy. Chen, He, SimSiam, CVPR 2021, and its official
code, which blurs as well. Crop and colour follow the rules of torchvision, in which the last three are implemented.

Differs from the authors' code
------------------------------
What a rotated or shifted image uncovers is filled with the nearest pixel of its edge, which is what Keras, in which
Silva et al. work, does by default: black corners would be a signal that real radiographs do not carry. The others work
on bytes, we on floats: nothing is rounded in between. Their blur is Pillow's three box filters, ours a Gaussian.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_cli import colour
from cbir_cli.errors import ShapeError
from cbir_cli.images import resize

PLACE = ("rotation", "shift", "crop", "flip")
"""Settings that move pixels: for images and for maps."""
SETTINGS = (*PLACE, "brightness", "contrast", "saturation", "hue", "jitter", "greyscale", "blur")

SIGMA = (0.1, 2.0)
"""Smallest and largest blur, in pixels of an image of 224; scaled with the side."""

_STREAM = 1
"""Keeps the draws apart from those of the sampler, which start from the same seed."""
_TRIES = 10
_ASPECT = (3 / 4, 4 / 3)

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """What happens to one image.

    Attributes
    ----------
    degrees, down, right : float
        Of ``move``.
    box : tuple of 4 int, or None
        Top, left, height and width of the part that is kept.
    colours : tuple of (str, float)
        Functions of ``colour`` and their factors, in order.
    grey, mirrored : bool
    sigma : float
        Of the blur, in pixels; 0 for none.
    """

    degrees: float
    down: float
    right: float
    box: tuple[int, int, int, int] | None
    colours: tuple[tuple[str, float], ...]
    grey: bool
    sigma: float
    mirrored: bool


def augment(
    pixels: Image,
    indices: Sequence[int] | NDArray,
    *,
    seed: int,
    epoch: int,
    size: int | None = None,
    rotation: float = 0.0,
    shift: float = 0.0,
    crop: float = 0.0,
    flip: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    jitter: float = 1.0,
    greyscale: float = 0.0,
    blur: float = 0.0,
) -> Image:
    """Change every image of a batch, and each of its views, by its own random amounts.

    Parameters
    ----------
    pixels : array (B, S, S), (B, S, S, 3), (B, 2, S, S) or (B, 2, S, S, 3), float32
        Images or maps, or two views of each; left untouched.
    indices : sequence of int, (B,)
        Number of each image in its data set.
    seed, epoch : int
        Together with the numbers of an image and of its view the only source of its amounts.
    size : int, optional
        Side of what a crop is resized to; that of the pixels where not given. Without crop nothing is resized.
    rotation : float
        Largest angle, degrees; angles are uniform in [-rotation, rotation].
    shift : float
        Largest shift along each axis as a fraction of the side; uniform in [-shift, shift].
    crop : float
        Smallest share of the area that is kept; uniform in [crop, 1]. The aspect ratio is from 3/4 to 4/3, uniform in
        its logarithm. 0 for no crop.
    flip : float
        Probability of mirroring left and right.
    brightness, contrast, saturation : float
        Factors are uniform in [1 - value, 1 + value], never below 0.
    hue : float
        Turns are uniform in [-hue, hue], in parts of the circle.
    jitter : float
        Probability of the four above, together.
    greyscale, blur : float
        Probability of a grey copy, and of a blur with sigma uniform in ``SIGMA``.

    Returns
    -------
    array, as ``pixels``, of side ``size`` where it crops
        The same array if nothing is on.
    """
    # Of the settings above, by name.
    given = {name: value for name, value in locals().items() if name in SETTINGS}
    if not crop and not any(given[name] for name in SETTINGS if name != "jitter"):
        return pixels
    views = pixels if two_views(pixels) else pixels[:, None]
    side = views.shape[2]
    out = (size or side) if crop else side
    changed = np.empty((*views.shape[:2], out, out, *views.shape[4:]), np.float32)
    for shown, index, results in zip(views, indices, changed, strict=True):
        for view, (image, result) in enumerate(zip(shown, results, strict=True)):
            change = draw(seed, epoch, int(index), view, side=side, out=out, **given)
            result[...] = apply(image, change, out)
    return changed if views is pixels else changed[:, 0]


def two_views(pixels: NDArray) -> bool:
    """Whether a batch of pixels holds (B, 2, S, S) or (B, 2, S, S, 3) and not (B, S, S) or (B, S, S, 3)."""
    return pixels.ndim == 5 or (pixels.ndim == 4 and pixels.shape[2] == pixels.shape[3] and pixels.shape[1] == 2)


def draw(seed: int, epoch: int, index: int, view: int = 0, *, side: int, out: int, **settings: float) -> Change:
    """Return what happens to an image of a side that becomes one of side ``out``, under the settings of ``augment``."""
    key = (_STREAM, epoch, index, view) if view else (_STREAM, epoch, index)
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
    degrees, down, right = generator.uniform(-1, 1, 3) * (
        settings["rotation"],
        settings["shift"] * side,
        settings["shift"] * side,
    )
    mirrored, jittered, grey, blurred = generator.random(4) < [
        settings[name] for name in ("flip", "jitter", "greyscale", "blur")
    ]
    sigma = generator.uniform(*SIGMA) * out / 224
    amounts, order = generator.random(4), generator.permutation(4)
    colours: list[tuple[str, float]] = []
    for name, amount in zip(("brightness", "contrast", "saturation", "hue"), amounts, strict=True):
        strength, centre = settings[name], 0.0 if name == "hue" else 1.0
        low = centre - strength if name == "hue" else max(centre - strength, 0)
        colours.append((name, low + amount * (centre + strength - low)))
    return Change(
        degrees=degrees,
        down=down,
        right=right,
        box=_box(generator, side, settings["crop"]) if settings["crop"] else None,
        colours=tuple(colours[i] for i in order if jittered and settings[colours[i][0]]),
        grey=bool(grey),
        sigma=sigma if blurred else 0.0,
        mirrored=bool(mirrored),
    )


def _box(generator: np.random.Generator, side: int, smallest: float) -> tuple[int, int, int, int]:
    """Return a random part of a square; torchvision's rule: the first of ten draws that fits, else the whole."""
    for _ in range(_TRIES):
        area = side * side * generator.uniform(smallest, 1)
        aspect = math.exp(generator.uniform(*np.log(_ASPECT)))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= side and 0 < height <= side:
            top, left = generator.integers(side - height + 1), generator.integers(side - width + 1)
            return int(top), int(left), height, width
    return 0, 0, side, side


def apply(image: Image, change: Change, size: int) -> Image:
    """Return one image (S, S) or (S, S, 3) changed, a crop resized to a side."""
    if change.degrees or change.down or change.right:
        image = move(image, degrees=change.degrees, down=change.down, right=change.right)
    if change.box:
        top, left, height, width = change.box
        image = resize(image[top : top + height, left : left + width], size)
    for name, factor in change.colours:
        image = getattr(colour, name)(image, factor)
    if change.grey:
        image = colour.greyscale(image)
    if change.sigma:
        image = colour.blur(image, change.sigma)
    return image[:, ::-1] if change.mirrored else image


def move(pixels: Image, *, degrees: float = 0, down: float = 0, right: float = 0) -> Image:
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
