"""The SSIM baseline: an encoder without a network."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.partial import Fields
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec

if TYPE_CHECKING:
    from cbir_cli.opened import Opened


class Ssim:
    """The SSIM baseline: the vector is the image itself, in 8-bit levels, and the comparison is the structure.

    Parameters
    ----------
    spec : InputSpec
        Its size and window; the image is grey.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.input = spec
        self.width = spec.size**2
        self.task: dict[str, Any] = {}
        window = " {:g},{:g}".format(*spec.window) if spec.window else ""
        self.space = Space(
            "ssim",
            f"ssim {spec.size}{window}",
            "ssim",
            model_name="ssim",
            model_fingerprint="ssim",
            input=self.input.to_dict(),
        )

    @property
    def similarity(self) -> str:
        """How the vectors are compared."""
        return self.space.similarity

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Raise: there is no network whose vectors an explainer could watch."""
        raise UsageError("ssim has no network to be explained; use --method none")

    def rows(self, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        """See ``Encoder.rows``."""
        levels = np.rint(pixels * 255).astype(np.float32)
        return {"X": levels.reshape(len(pixels), -1)}

    @property
    def fields(self) -> Fields:
        """See ``Encoder.fields``."""
        return {"X": ((self.width,), "<f4")}

    @property
    def libraries(self) -> list[str]:
        """See ``Encoder.libraries``."""
        return ["numpy"]

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Raise: SSIM has no saliency maps."""
        raise UsageError("ssim has no saliency maps; use --method none")

    def opened(self) -> "Opened":
        """Raise: SSIM has no network."""
        raise UsageError("ssim has no network to look into; use --method none")
