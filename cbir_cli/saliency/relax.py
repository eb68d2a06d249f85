"""RELAX: which pixels an image's representation rests on; of any network, with outputs or without.

Needs neither labels nor a second image. Thousands of forward passes an image.

Reference
---------
K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. Computerized Medical Imaging and Graphics 107, 2023. arXiv:2207.04812. Section 4.1, Eq. 4.
K. K. Wickstrøm et al. RELAX: Representation Learning Explainability. IJCV 131, 2023. arXiv:2112.10161.

Differs from the authors' code
------------------------------
See ``cbir_cli/relax.py``. All images of a call get the same masks; theirs are drawn anew for each.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cbir_cli import relax
from cbir_cli.saliency import _output
from cbir_cli.vectors import checked, cosine_distances

EXPLAINS = "representation"

_BATCH = 16
"""Masked copies of one image that run together; always the same, as torch's last bits depend on it."""


def explain(
    model: nn.Module,
    images: Tensor,
    *,
    generator: torch.Generator,
    masks: int = 3000,
    cells: int = 7,
    probability: float = 0.5,
    mask_kind: str = "relax",
    fill: float = 0.0,
    normalisation: str = "code",
    tolerance: float = 0.0,
    shifted: bool = True,
    gamma: float = 0.0,
    average: str = "mean",
) -> Tensor:
    """Importance of every pixel for the representation of each image.

    Parameters
    ----------
    model : torch.nn.Module
        Maps (N, C, H, W) images to (N, D) vectors. It runs in evaluation mode and is handed back as it came, after an
        exception too.
    images : Tensor (N, C, H, W), float32 or float64
        Normalised as the model expects.
    generator : torch.Generator
        Only source of randomness: same state, same masks.
    masks : int
        Masks, the same for all images: one forward pass each for every image.
    cells : int
        Of the small grid, on each side; from 2 to the image's side.
    probability : float
        That a cell is kept, between 0 and 1.
    mask_kind : str
        ``relax``: as the authors' code makes them; ``rise``: as RISE does, which the paper says.
    fill : float
        What masks put in place of the image, in the units of ``images``; 0 as in the authors' code.
    normalisation : str
        ``code``, ``paper`` (Eq. 4) or ``package``; see ``cbir_cli/relax.py``.
    tolerance : float
        Stop when the standard error of a map is at most this share of its range, looked at every 250 masks; 0: never.
    shifted : bool
        Subtract the lowest value of each importance map. False: the values of the formula, which 16 bits hold badly.
    gamma : float
        U-RELAX: importance is 0 where the uncertainty is not below ``gamma`` times its average in the image. 0: off.
    average : str
        For ``gamma``: ``mean`` or ``median``.

    Returns
    -------
    Tensor (N, 1, H, W), of the images' dtype
        Larger means that the representation rests more on this pixel.

    Raises
    ------
    ShapeError
        If ``images`` is not 4-D, or the model gives no finite (N, D) vectors.
    UsageError
        If a parameter is out of range.
    """
    options = relax.Options(
        masks=masks,
        cells=cells,
        probability=probability,
        mask_kind=mask_kind,
        fill=fill,
        normalisation=normalisation,
        tolerance=tolerance,
        shifted=shifted,
        gamma=gamma,
        average=average,
    )
    return _explain(model, images, generator, options)[0]


def explain_with_uncertainty(
    model: nn.Module, images: Tensor, *, generator: torch.Generator, **parameters: Any
) -> tuple[Tensor, Tensor]:
    """Return what ``explain`` does with these parameters, and the uncertainty, (N, 1, H, W), at least 0."""
    return _explain(model, images, generator, relax.Options(**parameters))


def _explain(
    model: nn.Module, images: Tensor, generator: torch.Generator, options: relax.Options
) -> tuple[Tensor, Tensor]:
    _output.check(images)
    state = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
    drawn = options.draw((images.shape[2], images.shape[3]), state)

    def vectors(batch: Tensor) -> np.ndarray:
        return checked(model(batch).cpu().numpy(), len(batch))

    def distances(image: int, some: np.ndarray) -> np.ndarray:
        kept = torch.from_numpy(some)[:, None].to(pixels)
        return cosine_distances(originals[image], vectors(pixels[image] * kept + options.fill * (1 - kept)))

    with _output.undisturbed(model), torch.no_grad():
        pixels = images.detach().clone()
        originals = [vectors(image[None])[0] for image in pixels]
        stored, uncertainty = options.maps(distances, len(pixels), drawn, batch=_BATCH)
    made = (torch.from_numpy(values)[:, None].to(images) for values in (stored, uncertainty))
    return next(made), next(made)
