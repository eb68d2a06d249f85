"""RELAX: which pixels the representation of each of two images rests on, and how uncertain that is.

No map depends on the other image of its pair: it says what the network looks at before it compares anything.

Reference
---------
K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. Computerized Medical Imaging and Graphics 107, 2023. arXiv:2207.04812. Section 4.1, Eq. 4, and Figs. 8 to 11.
K. K. Wickstrøm et al. RELAX: Representation Learning Explainability. IJCV 131, 2023. arXiv:2112.10161.

Differs from the authors' code
------------------------------
See ``cbir_cli/relax.py``. The same masks serve all images; theirs are drawn anew for each.
"""

from contextlib import closing
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli import relax
from cbir_cli.progress import Progress
from cbir_cli.similarity import _pair
from cbir_cli.similarity._masked import Masked
from cbir_cli.vectors import cosine_distances

MAPS = "both"

SAYS = (
    "Brighter where showing the image, under random masks, keeps what the network makes of it; each image by "
    "itself, whatever it is compared with."
)


def explain(
    encoder: Any,
    queries: ndarray,
    results: ndarray,
    *,
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
    seed: int = 0,
    batch: int = 32,
) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Importance of every pixel of both images for their own representations, and its uncertainty.

    Parameters
    ----------
    encoder : object
        Has ``input``, an ``InputSpec``, and ``encode``: pixels (N, S, S) or (N, S, S, 3) to vectors (N, D) float32.
        Vectors are compared by cosine, whatever the encoder is searched by, as in the paper.
    queries, results : ndarray (P, S, S) or (P, S, S, 3), float32
        Pixels in [0, 1], one result a query. An image that is in several pairs is explained once.
    masks : int
        Masks, the same for all images: one forward pass each for every image.
    cells : int
        Of the small grid, on each side; from 2 to S.
    probability : float
        That a cell is kept, between 0 and 1.
    mask_kind : str
        ``relax``: as the authors' code makes them; ``rise``: as RISE does, which the paper says.
    fill : float
        What masks put in place of the image, in units of the network's input, as in the authors' code, which multiplies
        that input by the mask. 0 is black for a model without normalisation (task ``liver``), and ImageNet's mean
        colour for one with ImageNet's.
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
    seed : int
        Of the masks.
    batch : int
        Masked images encoded at once; bounds memory, and means nothing to the map where vectors do not depend on it.

    Returns
    -------
    query_maps, result_maps : ndarray (P, S, S), float32
        Importance; larger means that the representation rests more on this pixel.
    query_uncertainty, result_uncertainty : ndarray (P, S, S), float32
        At least 0; how much the similarity varies among the masks that keep a pixel.

    Raises
    ------
    ShapeError
        If the images are not two stacks of finite images of one shape, or the encoder's vectors are not finite.
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
    queries, results = _pair.check(queries, results)
    drawn = options.draw((queries.shape[1], queries.shape[2]), seed)

    def both(images: ndarray) -> ndarray:
        masked = Masked(encoder, images, fill)
        originals = [masked.vector(image) for image in range(len(images))]
        with closing(Progress(len(images) * masks, "relax")) as progress:
            found = options.maps(
                lambda image, some: cosine_distances(originals[image], masked.vectors(image, some)),
                len(images),
                drawn,
                batch=batch,
                advance=progress.advance,
            )
        return np.stack(found, axis=1).astype(np.float32)

    on_queries, on_results = _pair.each(both, queries, results)
    return on_queries[:, 0], on_results[:, 0], on_queries[:, 1], on_results[:, 1]
