"""RELAX: which pixels an image's representation rests on, and how sure that is; for any network that gives vectors.

An image is hidden by many random masks. A pixel is important when the representation stays the same under the masks
that keep it: ``s``, the cosine similarity of the representations of the whole and of the masked image, is averaged over
the masks ``M``, each weighted by what it keeps of the pixel. The uncertainty is how much ``s`` varies among them.

=========  ==========================  ===========================================
name       importance R                uncertainty U
=========  ==========================  ===========================================
paper      sum(s M) / N                sum((s - R)^2 M) / N
code       sum(s M) / sum(M)           sum((s - R)^2 M) / (sum(M) - 1)
package    sum(s M) / sum(M)           sum((s - R)^2 M)
=========  ==========================  ===========================================

``paper`` is Eq. 4 of Wickstrøm et al. 2022, with the uncertainty of the RELAX paper. Where all similarities are nearly
the same it shows how often a pixel happened to be kept, so the authors' code divides by that; ``code`` is what made the
figures of 2022, ``package`` is relax-xai 0.0.5.

Reference
---------
K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. Computerized Medical Imaging and Graphics 107, 2023. arXiv:2207.04812. Section 4.1, Eq. 4.
K. K. Wickstrøm et al. RELAX: Representation Learning Explainability. IJCV 131, 2023. arXiv:2112.10161.

Differs from the authors' code
------------------------------
Similarities are kept and masks are not: the sums come from weighted sums of the masks' cells, in float64 and at once,
where theirs go on mask by mask, in float32, starting from a weight of 1e-10. One set of masks serves all images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from cbir_cli import random_masks
from cbir_cli.errors import UsageError
from cbir_cli.random_masks import RandomMasks
from cbir_cli.registry import unknown

NORMALISATIONS = ("code", "paper", "package")
AVERAGES = ("mean", "median")

STEP = 250
"""Masks between two looks at the standard error; fixed, so that where a map stops does not depend on a batch."""


@dataclass(frozen=True)
class Options:
    """What can be set of RELAX, whatever network it explains; checked as soon as it is made.

    Attributes
    ----------
    masks : int
        Masks, the same for all images: one forward pass each for every image.
    cells : int
        Of the small grid, on each side; from 2 to the image's side.
    probability : float
        That a cell is kept, between 0 and 1.
    mask_kind : str
        One of ``random_masks.KINDS``.
    fill : float
        What masks put in place of the image, in units of the network's input; finite.
    normalisation : str
        One of ``NORMALISATIONS``.
    tolerance : float
        See ``explain``.
    shifted, gamma, average
        See ``shown``.

    Raises
    ------
    UsageError
        If something of this is out of range.
    """

    masks: int = 3000
    cells: int = 7
    probability: float = 0.5
    mask_kind: str = "relax"
    fill: float = 0.0
    normalisation: str = "code"
    tolerance: float = 0.0
    shifted: bool = True
    gamma: float = 0.0
    average: str = "mean"

    def __post_init__(self) -> None:
        """Refuse what there is no use for; what depends on the size of the image is looked at by ``maps``."""
        if self.normalisation not in NORMALISATIONS:
            raise unknown("normalisation of relax", self.normalisation, NORMALISATIONS)
        if self.average not in AVERAGES:
            raise unknown("average of relax", self.average, AVERAGES)
        if not 0 <= self.tolerance < 1:
            raise UsageError(f"tolerance of relax: expected from 0 to below 1, found {self.tolerance}")
        if not (self.gamma >= 0 and np.isfinite(self.gamma)):
            raise UsageError(f"gamma of relax: expected a finite number of at least 0, found {self.gamma}")
        random_masks.check_fill(self.fill)

    def draw(self, size: tuple[int, int], seed: int) -> RandomMasks:
        """Return the masks for images of one size; UsageError where they cannot be drawn."""
        return random_masks.draw(
            self.mask_kind, size, self.masks, cells=self.cells, probability=self.probability, seed=seed
        )

    def maps(
        self,
        distances: Callable[[int, ndarray], ndarray],
        count: int,
        masks: RandomMasks,
        *,
        batch: int,
        advance: Callable[[int], None] = lambda done: None,
    ) -> tuple[ndarray, ndarray]:
        """Return importance as it is stored, and uncertainty, (P, H, W) float64 each; arguments as of ``explain``."""
        importance, uncertainty = explain(
            distances,
            count,
            masks,
            normalisation=self.normalisation,
            tolerance=self.tolerance,
            batch=batch,
            advance=advance,
        )
        stored = shown(importance, uncertainty, shifted=self.shifted, gamma=self.gamma, average=self.average)
        return stored, uncertainty


def explain(
    distances: Callable[[int, ndarray], ndarray],
    count: int,
    masks: RandomMasks,
    *,
    normalisation: str = "code",
    tolerance: float = 0.0,
    batch: int = 32,
    advance: Callable[[int], None] = lambda done: None,
) -> tuple[ndarray, ndarray]:
    """Importance and uncertainty of every pixel of some images.

    Parameters
    ----------
    distances : callable
        Number of an image and masks (B, H, W) float32 to (B,) float64: 1 - cosine similarity of the representations of
        the image and of its masked copies.
    count : int
        P, images; all get the same masks.
    masks : RandomMasks
        N masks; of them, ``batch`` are large at a time.
    normalisation : str
        One of ``NORMALISATIONS``.
    tolerance : float
        An image is given no more masks once the standard error of its importance, its root mean square over the pixels,
        is at most this share of the range (highest less lowest value) of its map. It is estimated every ``STEP`` masks,
        for ``code`` and ``package`` without the error that all pixels share, which a map does not show. A map of
        nothing but noise is at about .2 whatever the number of masks. 0: every image gets all.
    batch : int
        Masks that ``distances`` is given at a time, at least 1.
    advance : callable
        Told how many masked images are done, those that need not be made among them.

    Returns
    -------
    importance, uncertainty : ndarray (P, H, W), float64

    Raises
    ------
    UsageError
        If ``batch`` is below 1, or for ``code`` the masks are so few that a pixel is kept by not more than one.
    """
    if batch < 1:
        raise UsageError(f"expected a batch of at least 1, found {batch}")
    total = len(masks)
    found = np.empty((count, total))
    used = np.full(count, total)
    left = list(range(count))
    for begin in range(0, total, STEP):
        end = min(begin + STEP, total)
        for start in range(begin, end, batch) if left else ():
            stop = min(start + batch, end)
            block = masks.block(start, stop)
            for image in left:
                found[image, start:stop] = distances(image, block)
                advance(stop - start)
        if tolerance and end < total:
            enough = {image for image in left if _error(masks, found[image, :end], normalisation) <= tolerance}
            used[sorted(enough)] = end
            left = [image for image in left if image not in enough]
            advance(len(enough) * (total - end))
    maps = np.empty((2, count, *masks.size))
    for image in range(count):
        maps[:, image] = _maps(masks, found[image, : used[image]], normalisation)
    return maps[0], maps[1]


def certain(importance: ndarray, uncertainty: ndarray, *, gamma: float = 1.0, average: str = "mean") -> ndarray:
    """U-RELAX: the importance, 0 where the uncertainty is not below ``gamma`` times its mean, or median, in the image.

    Parameters
    ----------
    importance, uncertainty : ndarray (..., H, W)
    gamma : float
    average : str
        One of ``AVERAGES``.
    """
    middle = np.mean if average == "mean" else np.median
    limit = gamma * middle(uncertainty, axis=(-2, -1), keepdims=True)
    return np.where(uncertainty < limit, importance, 0)


def shown(
    importance: ndarray, uncertainty: ndarray, *, shifted: bool = True, gamma: float = 0.0, average: str = "mean"
) -> ndarray:
    """Return importance as it is stored: less each map's lowest value if ``shifted``, then U-RELAX if ``gamma``.

    A map of 16-bit floats keeps eleven bits of similarities that may all lie between .98 and 1. A shift leaves the
    order of the pixels as it is, and keeps what tells them apart.
    """
    if shifted and importance.size:
        importance = importance - importance.min(axis=(-2, -1), keepdims=True)
    return certain(importance, uncertainty, gamma=gamma, average=average) if gamma else importance


def _sums(masks: RandomMasks, d: ndarray) -> tuple[float, ndarray, ndarray, ndarray]:
    """Mean of d = 1 - s, and sums of M, e M and e^2 M with e = d less its mean: s^2 would lose its digits."""
    mean = float(d.mean())
    kept, first, second = masks.sums(np.stack([np.ones_like(d), d - mean, (d - mean) ** 2]))
    return mean, kept, first, second


def _maps(masks: RandomMasks, d: ndarray, normalisation: str) -> tuple[ndarray, ndarray]:
    mean, kept, first, second = _sums(masks, d)
    if normalisation == "paper":
        importance = ((1 - mean) * kept - first) / len(d)
        away = 1 - mean - importance  # s - R = away - e
        return importance, np.maximum(away**2 * kept - 2 * away * first + second, 0) / len(d)
    if normalisation == "code" and (kept <= 1).any():
        raise UsageError(f"masks of relax: {len(d)} keep a pixel not more than once; take more, or normalisation=paper")
    average, spread = _weighted(kept, first, second)
    importance = np.where(kept > 0, 1 - mean - average, 0)
    return importance, spread / (kept - 1) if normalisation == "code" else spread


def _weighted(kept: ndarray, first: ndarray, second: ndarray) -> tuple[ndarray, ndarray]:
    """Weighted mean of e, and the weighted sum of squared differences from it."""
    average = first / np.where(kept > 0, kept, 1)
    return average, np.maximum(second - average * first, 0)


def _error(masks: RandomMasks, d: ndarray, normalisation: str) -> float:
    """Root mean square over the pixels of the importance's standard error, over the range of the map; 0 if flat.

    The variance over the masks of what one mask adds to the map: (e - R) M / sum(M), less e / N, which it adds to the
    level of all pixels. M^2 is taken as M times its usual share.
    """
    mean, kept, first, second = _sums(masks, d)
    count, share = len(d), masks.squares()
    if normalisation == "paper":
        similar = 1 - mean
        values = (similar * kept - first) / count
        squares = share * (similar**2 * kept - 2 * similar * first + second) / count - values**2
        squares = squares / count
    else:
        values, spread = _weighted(kept, first, second)
        divisor = np.where(kept > 0, kept, 1)
        common = 2 * (second - values * first) / (divisor * count) - np.square(d - mean).sum() / count**2
        squares = share * spread / divisor**2 - common
    extent = float(values.max() - values.min())
    return float(np.sqrt(np.maximum(squares, 0).mean())) / extent if extent else 0.0
