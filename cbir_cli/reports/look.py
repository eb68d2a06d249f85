"""What one explainer says of one image: importance, how certain it is, and whether it was found to be true.

Reference
---------
K. Wickstrom et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. 2022. Uncertainty and U-RELAX as in: RELAX: Representation Learning Explainability. arXiv:2112.10161.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cbir_cli.errors import ShapeError
from cbir_cli.reports.curves import Curves


@dataclass(frozen=True, eq=False)
class Look:
    """What one explainer says of one image.

    Parameters
    ----------
    map : ndarray (h, w), float, or None
        Importance, any finite scale and any size; stretched over the image.
    uncertainty : ndarray (h, w), float, or None
        Of the importance, of the same shape, in the method's own unit.
    curves : Curves or None
        Insertion and deletion of this map.
    remarks : sequence of str
        Warnings said below the picture, beside that of the curves.

    Raises
    ------
    ShapeError
        If a map cannot be coloured, or uncertainty stands without its importance or has another shape.
    """

    map: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    curves: Curves | None = None
    remarks: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_map(self.map, "map")
        check_map(self.uncertainty, "uncertainty")
        if self.uncertainty is not None and (self.map is None or self.map.shape != self.uncertainty.shape):
            raise ShapeError("uncertainty: expected the shape of its map")

    @property
    def warnings(self) -> list[str]:
        """All that a reader has to be warned of."""
        verdict = self.curves.verdict if self.curves else ""
        return [*([verdict] if verdict else []), *self.remarks]

    @property
    def certain(self) -> np.ndarray | None:
        """Importance where its uncertainty is below the median of the image, zero elsewhere; None without uncertainty.

        U-RELAX with gamma 1 and the median.
        """
        if self.map is None or self.uncertainty is None:
            return None
        median = np.median(self.uncertainty.astype(np.float64))  # of float16 it would be rounded
        return np.where(self.uncertainty < median, self.map, 0).astype(self.map.dtype)


def check_map(values: np.ndarray | None, name: str) -> None:
    """Refuse a map that cannot be coloured.

    Raises
    ------
    ShapeError
        If it is not a finite, non-empty, two-dimensional array of real numbers.
    """
    if values is None:
        return
    if values.ndim != 2 or values.size == 0 or not np.issubdtype(values.dtype, np.floating):
        raise ShapeError(f"{name}: expected a (H, W) floating-point map, found {values.dtype} {values.shape}")
    if not np.isfinite(values).all():
        raise ShapeError(f"{name}: the map has values that are not finite")
