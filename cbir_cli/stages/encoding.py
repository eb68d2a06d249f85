"""What embeds pixels, and where and how its networks run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts.embeddings import Space
from cbir_cli.artifacts.partial import Fields
from cbir_cli.errors import UsageError
from cbir_cli.images import InputSpec

COMPATS = ("none", "silva2020")
"""Errors of released code that can be repeated.

``silva2020``: the 2020 authors' script multiplies the catalogue's maps by 255, for Keras to divide them by 255 again,
and by a slip multiplies a wrong variable where it should the query's map. So the query's map reaches the network 255
times smaller than those it is compared with.
"""


class Encoder(Protocol):
    """What embeds pixels.

    Attributes
    ----------
    input : InputSpec
        How a file becomes pixels.
    space : Space
        What the vectors mean.
    width : int
        D, the length of a vector.
    task : dict
        What the model was trained to, as it stores it; empty for a built-in.
    """

    input: InputSpec
    space: Space
    width: int
    task: dict[str, Any]

    @property
    def fields(self) -> Fields:
        """Shape and dtype of each row that ``rows`` returns."""

    def rows(self, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return ``X`` (N, D) and, where the model classifies, ``logits`` (N, C) of pixels, as ``input`` loads them."""

    @property
    def libraries(self) -> list[str]:
        """Names of the libraries that the vectors come from, for the history."""

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Return saliency maps (N, S, S) float32 of pixels (N, S, S), to be shown; UsageError where there are none."""


@dataclass
class Settings:
    """Where and how networks run.

    Attributes
    ----------
    engine : str
        ``auto`` (ONNX Runtime on CPU, PyTorch on GPU), ``onnxruntime`` or ``torch``.
    device : str
    threads : int or None
    compat : str
        One of ``COMPATS``.
    """

    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    compat: str = "none"


def check_compat(compat: str, name: str, *, guided: bool) -> None:
    """Refuse what is none of ``COMPATS``, or is about maps where a network is fed images (``guided`` is false).

    Raises
    ------
    UsageError
    """
    if compat not in COMPATS:
        raise registry.unknown("compat", compat, COMPATS)
    if compat != "none" and not guided:
        raise UsageError(
            f"compat={compat} is about maps: it goes with an IG or CNN(IG) model, and {name} is fed images"
        )
