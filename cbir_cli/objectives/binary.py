"""Binary cross-entropy on one logit, rare classes weighted up: disease or not.

For an image with target y (0 or 1) and logit z, p = sigmoid(z)::

    L = -w[y] (y ln p + (1 - y) ln(1 - p))        mean over the images of a batch
    w[c] = N / (2 N[c])                           N training images, N[c] of them of class c

Both classes then weigh the same in sum, and an image weighs 1 on average, so the learning rate keeps its meaning.

Reference
---------
Silva et al., Scientific Reports 2022, equation 4, and "misclassifications were weighted with the inverse of the
frequency of the respective class" (pleural effusion). Silva et al., MICCAI 2020, section 2.2: the same without weights.

Differs from the authors' code
------------------------------
Theirs (2020) ends in a sigmoid and takes the logarithm of a clipped probability; the logit form has the same value and
an exact gradient for confident predictions. As in Keras, a weighted batch is divided by its images, not by its weights.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import CbirError, ShapeError, UsageError
from cbir_cli.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

SIMILARITY = "l2"
VIEWS = 1
WHOLE_BATCH = False
CLASS_WEIGHTS = ("balanced", "none")


def outputs(names: Sequence[str]) -> int:
    """Return the number of logits: 1.

    Raises
    ------
    UsageError
        If the task has several outputs.
    """
    if len(names) != 1:
        raise UsageError(f"the objective binary has one output, the task has {len(names)}: {', '.join(names)}")
    return 1


def class_weights(targets: ArrayLike, scheme: str = "balanced") -> NDArray[np.float32]:
    """Weight of each class.

    Parameters
    ----------
    targets : array (N,) of int
        0 or 1: the training images.
    scheme : str
        ``balanced``: N / (2 N[c]), as scikit-learn's. ``none``: 1 for both.

    Returns
    -------
    array (2,), float32

    Raises
    ------
    ShapeError
        If targets are not a row of 0 and 1.
    CbirError
        If only one class is there: nothing can be learned.
    UsageError
        If there is no such scheme.
    """
    true = np.asarray(targets)
    if true.ndim != 1 or not ((true == 0) | (true == 1)).all():
        raise ShapeError("targets: expected a row of 0 and 1")
    if scheme not in CLASS_WEIGHTS:
        raise unknown("class_weights", scheme, CLASS_WEIGHTS)
    counts = np.bincount(true.astype(np.int64), minlength=2)
    if not counts.all():
        raise CbirError(f"training needs images of both classes: found {counts[1]} positive and {counts[0]} negative")
    return (len(true) / (2 * counts) if scheme == "balanced" else np.ones(2)).astype(np.float32)


def loss(outputs: "Tensor", targets: "Tensor", *, weights: "Tensor | None" = None) -> "Tensor":
    """Weighted cross-entropy of a batch.

    Parameters
    ----------
    outputs : Tensor (B, 1), float
        Logits.
    targets : Tensor (B,), int64
        0 or 1.
    weights : Tensor (2,), optional
        Weight of the negative and of the positive class; 1 where not given.

    Returns
    -------
    Tensor (), float
        Mean over the batch, in nats.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    return binary_cross_entropy_with_logits(
        outputs[:, 0],
        targets.to(outputs.dtype),
        weight=None if weights is None else weights.to(outputs.dtype)[targets],
    )


def probability(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability of the positive class, (N, 1) logits to (N,) in [0, 1]."""
    # tanh form: never overflows.
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)[:, 0]))
