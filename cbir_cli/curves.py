"""Insertion and deletion curves: how alike two images are while one appears, or vanishes, by the order of a map.

Deletion takes the pixels of an image away, the most important first; insertion puts them into a blurred copy. After
each step the image is embedded, and compared with the other image of the pair, which stays whole. Pairs that share an
image and its map share the steps: an image under a map is embedded once, and compared with any number of others.

Reference
---------
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Section 3.5: similarity is the cosine,
cut at 0, equation 2.)
V. Petsiuk, A. Das, K. Saenko. RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018.
arXiv:1806.07421.

Two variants
------------
``code``: what the authors' code does. A step is as many pixels as the image has rows: 224 steps, 225 points, for an
image of 224 pixels. What is deleted becomes 0 after normalisation, in each channel: in a grey image a colour near to
grey. The blur is a Gaussian with sigma sqrt(50), cut to 51 x 51, of the normalised image, whose outside is 0.
``paper``: what the paper says, and no more: what is deleted becomes grey, the mean of the three channel means; the
blurred image is a blurred image, whose outside is its mirror image. Steps and sigma are as in the code.

Differs from the authors' code
------------------------------
Pixels of equal importance change row by row from the top left; theirs change as the sorting of the day leaves them,
mostly from the bottom right. In the code that we have read the image lies on the GPU and what is changed is its copy on
the CPU, so that the curve is flat; here the image changes. Images of other sizes than 224 have steps of their own side,
and the same sigma in pixels.
"""

from collections.abc import Callable

import numpy as np
from numpy import ndarray

from cbir_cli import vectors
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.registry import unknown

WHATS = ("insertion", "deletion")
VARIANTS = ("code", "paper")
SIGMA = 50**0.5
_WIDEST = 1000.0
"""Largest sigma, in pixels: its kernel has ten times the side of the images that networks take."""
_RADIUS = 25 / SIGMA  # of the kernel, in units of sigma: 51 pixels across


def fractions(size: int, step: int | None = None) -> ndarray:
    """Return the share of the pixels that have changed after each step, (T,) float64, from 0 to 1.

    Parameters
    ----------
    size : int
        Side of the image.
    step : int, optional
        Pixels that change in a step; as many as the image has rows by default.
    """
    pixels, step = size**2, _at_a_time(size, step)
    return np.minimum(np.arange(-(-pixels // step) + 1) * step, pixels) / pixels


def _at_a_time(size: int, step: int | None) -> int:
    """Return how many pixels change in a step."""
    if step is not None and step < 1:
        raise UsageError(f"expected a step of at least 1 pixel, found {step}")
    return size if step is None else min(step, size**2)


def curve(
    encode: Callable[[ndarray], ndarray],
    image: ndarray,
    importance: ndarray,
    anchors: ndarray,
    what: str,
    spec: InputSpec,
    *,
    variant: str = "code",
    step: int | None = None,
    sigma: float = SIGMA,
    batch: int = 64,
    advance: Callable[[int], None] = lambda count: None,
) -> ndarray:
    """Similarity of an image with others while it appears or vanishes.

    Parameters
    ----------
    encode : callable
        Pixels (B, S, S, 3) float32 in [0, 1] to vectors (B, D).
    image : ndarray (S, S) or (S, S, 3), float32
        What is changed, pixels in [0, 1].
    importance : ndarray (S, S), float
        Of each pixel; the largest changes first.
    anchors : ndarray (A, D), float
        Vectors of the other, whole images, of one pair each.
    what : str
        ``insertion`` or ``deletion``.
    spec : InputSpec
        How the network normalises, which says what is grey.
    variant : str
        ``code`` or ``paper``.
    step : int, optional
        Pixels that change in a step; as many as the image has rows by default.
    sigma : float
        Of the blur, in pixels, above 0 and at most 1000.
    batch : int
        Images embedded at once; bounds memory.
    advance : callable
        Told how many images have been embedded.

    Returns
    -------
    ndarray (A, T), float32
        From 0 to 1; the first before any step, the last after all of them. 0 where a vector is 0. A row does not depend
        on the other anchors.

    Raises
    ------
    ShapeError
        If image and importance do not fit together, or a value or vector is not finite.
    UsageError
        If there is no such curve or variant, or step, sigma or batch is out of range.
    """
    if what not in WHATS:
        raise unknown("curve", what, WHATS)
    if batch < 1:
        raise UsageError(f"expected a batch of at least 1, found {batch}")
    if image.shape[:2] != importance.shape or not np.isfinite(importance).all():
        raise ShapeError(f"expected a finite map of an image {image.shape}, found {importance.shape}")
    times = np.arange(len(fractions(len(image), step)))
    whole = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    blurred, gone = endings(whole, spec, variant, sigma)
    start, end = (blurred, whole) if what == "insertion" else (whole, gone)
    when = order(importance) // _at_a_time(len(image), step)
    anchors = vectors.checked(anchors, len(anchors))
    found = np.empty((len(anchors), len(times)), np.float32)
    for some in np.split(times, times[batch::batch]):
        changed = np.where((when < some[:, None, None])[..., None], end, start)
        made = vectors.checked(encode(changed), len(some))
        if made.shape[1] != anchors.shape[1]:
            raise ShapeError(f"expected vectors of {anchors.shape[1]} numbers from the model, found {made.shape[1]}")
        for curve_of, anchor in zip(found, anchors, strict=True):
            curve_of[some] = np.clip(1 - vectors.cosine_distances(anchor, made), 0, 1)
        advance(len(some))
    return found


def order(importance: ndarray) -> ndarray:
    """Return the place of each pixel, (S, S) int, in the order of importance: 0 for the first that changes."""
    flat = importance.ravel()
    places = np.empty(flat.size, np.int64)
    places[np.argsort(-flat.astype(np.float64), kind="stable")] = np.arange(flat.size)
    return places.reshape(importance.shape)


def endings(image: ndarray, spec: InputSpec, variant: str, sigma: float = SIGMA) -> tuple[ndarray, ndarray]:
    """Return what an image (S, S, 3) is blurred to, and what it is deleted to, both (S, S, 3) float32.

    Raises
    ------
    UsageError
        If there is no such variant, or sigma is not above 0 and at most 1000.
    """
    from scipy.ndimage import correlate1d, gaussian_filter1d

    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    if not 0 < sigma <= _WIDEST:
        raise UsageError(f"expected a sigma above 0 and at most {_WIDEST:g} pixels, found {sigma}")
    mean = np.asarray(spec.mean, np.float64)
    radius = max(1, round(_RADIUS * sigma))
    kernel = gaussian_filter1d(np.eye(1, 2 * radius + 1, radius)[0], sigma)  # as theirs: what is cut off is folded in
    grey = mean if variant == "code" else np.full(3, mean.mean())
    border = "constant" if variant == "code" else "reflect"
    blurred = image.astype(np.float64) - mean
    for axis in (0, 1):
        blurred = correlate1d(blurred, kernel, axis=axis, mode=border)
    gone = np.broadcast_to(grey, image.shape)
    return (blurred + mean).astype(np.float32), gone.astype(np.float32)
