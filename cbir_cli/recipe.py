"""The values of a training run that a paper states, or leaves open."""

from dataclasses import dataclass, fields

import numpy as np

from cbir_cli import batches, windows
from cbir_cli.errors import UsageError
from cbir_cli.registry import unknown

OPTIMIZERS = {
    "adadelta": ("lr", "rho", "eps", "weight_decay"),
    "adam": ("lr", "betas", "eps", "weight_decay"),
    "sgd": ("lr", "momentum", "weight_decay"),
}
"""Optimisers, and the values of a recipe that each one uses."""

SCHEDULES = ("constant", "cosine", "plateau")
LR_SCALINGS = ("none", "batch/256")
VIEW_STATISTICS = ("all", "first")
SELECTIONS = ("f1", "auroc", "mean-precision@5", "knn-accuracy@5", "loss", "last")


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are those of the 2022 paper for pleural effusion; ``tasks/`` has the sources.

    Attributes
    ----------
    epochs : int
        0 leaves the initial weights as they are.
    batch_size : int
        Images a step, at least 2: batch normalisation needs company.
    optimizer : str
        A key of ``OPTIMIZERS``.
    lr, rho, betas, eps
        Of the optimiser; Keras' values by default, not PyTorch's. Adadelta: Keras 2.2.4 has lr 1, rho .95, eps 1e-7,
        PyTorch 1, .9, 1e-6. Adam: eps is 1e-7 in Keras, 1e-8 in PyTorch.
    momentum : float
        Of ``sgd``, without Nesterov's correction: v = momentum v + gradient, weight -= lr v (PyTorch's form; in Keras
        lr is within v, which is the same while lr is constant).
    weight_decay : float
        Times a weight is added to its gradient, for all weights, biases and normalisation included (PyTorch's
        coupled form; Keras' ``decay`` is another thing, a schedule of lr).
    class_weights : str
        A scheme of the objective.
    sampler : str
        ``permutation`` (every image once an epoch), ``bootstrap`` (drawn with replacement), ``balanced`` or
        ``balanced-rarest`` (as many of each class); see ``batches.order``.
    per_class : int
        Images of a class in a batch of the last two; 0 shares the batch among all classes.
    rotation, shift : float
        Largest angle in degrees and largest shift as a fraction of the side; 0 for none.
    crop, flip, brightness, contrast, saturation, hue, jitter, greyscale, blur : float
        Of ``augmentation.augment``.
    view_windows : str
        The two Hounsfield windows of an objective that compares views, as ``liver-wide/liver-narrow``; empty for two
        views through the task's own.
    view_scaling : str
        ``shared`` or ``own``; see ``windows.views``.
    view_statistics : str
        ``first`` or ``all``: views that batch norm's running statistics follow; see ``objectives.simsiam.attach``.
    lr_scaling : str
        ``none``, or ``batch/256``: lr is for a batch of 256 and is multiplied by batch_size / 256.
    schedule : str
        ``constant``; ``cosine``: from lr towards 0 over the epochs, along half a cosine; ``plateau``: lr times
        plateau_factor whenever the validation loss (without validation images, the training loss) has not fallen for
        more than plateau_patience epochs.
    plateau_factor : float
    plateau_patience : int
    clip : float
        Largest norm of the gradient of all weights together; longer ones are shortened to it. 0 for no limit.
    accumulate : int
        Parts that a batch is cut into, one after the other, where it does not fit in memory; the step is taken after
        the last. Batch normalisation sees one part at a time.
    patience : int
        Epochs without a better one after which training stops; 0 for never.
    selection : str
        Which epoch is kept: that with the highest value of a validation metric (``f1``, ``auroc``), of
        the retrieval of validation images (``mean-precision@5``, ``knn-accuracy@5``), with the lowest validation
        ``loss``, or the ``last``.

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
    # What follows came later: see NEWER.
    momentum: float = 0.9
    weight_decay: float = 0.0
    lr_scaling: str = "none"
    schedule: str = "constant"
    plateau_factor: float = 0.1
    plateau_patience: int = 2
    clip: float = 0.0
    accumulate: int = 1
    patience: int = 0
    per_class: int = 0
    crop: float = 0.0
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter: float = 1.0
    greyscale: float = 0.0
    blur: float = 0.0
    view_windows: str = ""
    view_scaling: str = "shared"
    view_statistics: str = "all"

    def __post_init__(self) -> None:
        for name, known in (
            ("optimizer", OPTIMIZERS),
            ("sampler", batches.SAMPLERS),
            ("schedule", SCHEDULES),
            ("lr_scaling", LR_SCALINGS),
            ("view_statistics", VIEW_STATISTICS),
            ("selection", SELECTIONS),
        ):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        windows.views(self.view_windows, self.view_scaling, None)
        for names, sound, rule in _RULES:
            for name in names.split():
                if not sound(getattr(self, name)):
                    raise UsageError(f"{name}={getattr(self, name)}: expected {rule}")
        if self.per_class and self.batch_size % self.per_class:
            raise UsageError(f"batch_size={self.batch_size}: expected a multiple of per_class={self.per_class}")
        if self.patience and self.selection == "last":
            raise UsageError(f"patience={self.patience}: with selection=last there is no better epoch to wait for")
        if 2 * self.accumulate > self.batch_size:
            raise UsageError(f"accumulate={self.accumulate}: leaves fewer than 2 of {self.batch_size} images a part")


_RULES = (
    ("epochs patience plateau_patience per_class", lambda v: v >= 0, "0 or more"),
    ("batch_size", lambda v: v >= 2, "2 or more"),
    ("accumulate", lambda v: v >= 1, "1 or more"),
    ("lr", lambda v: 0 < v <= 1e6, "a number above 0, and no more than a million"),
    ("weight_decay clip", lambda v: 0 <= v < np.inf, "a number, 0 or more"),
    ("rho momentum", lambda v: 0 <= v < 1, "from 0 to below 1"),
    ("betas", lambda v: len(v) == 2 and all(0 <= b < 1 for b in v), "two from 0 to below 1"),
    ("eps", lambda v: 0 < v < 1, "above 0"),
    ("plateau_factor", lambda v: 0 < v < 1, "above 0 and below 1"),
    ("rotation", lambda v: 0 <= v <= 180, "from 0 to 180 degrees"),
    ("shift", lambda v: 0 <= v < 1, "from 0 to below 1"),
    ("crop flip brightness contrast saturation jitter greyscale blur", lambda v: 0 <= v <= 1, "from 0 to 1"),
    ("hue", lambda v: 0 <= v <= 0.5, "from 0 to 0.5"),
)

_FIRST = "epochs batch_size optimizer lr rho betas eps class_weights sampler rotation shift selection".split()

NEWER = {f.name: f.default for f in fields(Recipe) if f.name not in _FIRST}
"""Values, with their defaults, that models made before they were there do not have: stored only where they differ."""
