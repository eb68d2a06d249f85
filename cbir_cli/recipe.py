"""The values of a training run that a paper states, or leaves open."""

from dataclasses import dataclass

import numpy as np

from cbir_cli import batches
from cbir_cli.errors import UsageError
from cbir_cli.registry import unknown

OPTIMIZERS = {"adadelta": ("lr", "rho", "eps"), "adam": ("lr", "betas", "eps")}
"""Optimisers, and the values of a recipe that each one uses."""


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are those of the 2022 paper for pleural effusion; ``tasks/`` has the sources.

    Attributes
    ----------
    epochs : int
        0 leaves the initial weights as they are.
    batch_size : int
        At least 2: batch normalisation needs company.
    optimizer : str
        A key of ``OPTIMIZERS``.
    lr, rho, betas, eps
        Of the optimiser; Keras' values by default, not PyTorch's.
    class_weights : str
        A scheme of the objective.
    sampler : str
        ``permutation`` (every image once an epoch) or ``bootstrap`` (drawn with replacement).
    rotation, shift : float
        Largest angle in degrees and largest shift as a fraction of the side; 0 for none.
    selection : str
        Which epoch is kept: that with the highest value of a validation metric, with the lowest validation ``loss``, or
        the ``last``.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """

    epochs: int = 10
    batch_size: int = 32
    optimizer: str = "adadelta"
    lr: float = 1.0
    rho: float = 0.95
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-7
    class_weights: str = "balanced"
    sampler: str = "permutation"
    rotation: float = 10.0
    shift: float = 0.05
    selection: str = "f1"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.sampler not in batches.SAMPLERS:
            raise unknown("sampler", self.sampler, batches.SAMPLERS)
        for name, sound, rule in (
            ("epochs", self.epochs >= 0, "0 or more"),
            ("batch_size", self.batch_size >= 2, "2 or more"),
            ("lr", 0 < self.lr < np.inf, "a number above 0"),
            ("rho", 0 <= self.rho < 1, "from 0 to below 1"),
            ("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two from 0 to below 1"),
            ("eps", 0 < self.eps < 1, "above 0"),
            ("rotation", 0 <= self.rotation <= 180, "from 0 to 180 degrees"),
            ("shift", 0 <= self.shift < 1, "from 0 to below 1"),
        ):
            if not sound:
                raise UsageError(f"{name}={getattr(self, name)}: expected {rule}")
