"""Binary cross-entropy of several labels, each weighted by its own rarity; labels that are not known are left out.

For image i and label k with target y (0 or 1), logit z and p = sigmoid(z)::

    L = -1 / (B K)  sum over i, k that are known  w[k, y] (y ln p + (1 - y) ln(1 - p))
    w[k, 1] = N[k] / (P[k] + N[k])      w[k, 0] = P[k] / (P[k] + N[k])

with P[k] positive and N[k] negative training images of label k (``balanced``). Both sides of a label then weigh the
same in sum. An entry that is ``label_policy.IGNORED`` is counted nowhere, and neither its loss nor its gradient is.

The sum is divided by all B K entries, ignored ones included. The loss is so a mean over images: what an image
contributes does not depend on how much is known of its neighbours in the batch, and the mean over parts of a batch is
that of the batch.

A label of which all known training images are positive, or all negative, has nothing to tell apart: it gets weight 0 in
every scheme, and its output stays untrained.

Reference
---------
Haq et al., A deep community based approach for large scale content based X-ray image retrieval, section 2: "The weights
were defined as the ratio of positive and negative samples over the total number of samples"; section 3: "while updating
the gradient during training we ignored the uncertain labels". Rajpurkar et al., CheXNet, arXiv:1711.05225, section 2.2,
for the formula.

Differs from the authors' code
------------------------------
There is none. Read word for word the sentence on the weights gives w[k, 1] = P[k] / (P[k] + N[k]), which makes rare
findings rarer still, against its own purpose ("to handle the class imbalance"). The default is CheXNet's formula, which
has the same two ratios the other way round; ``as-printed`` is the sentence. What the mean is divided by is not said.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import CbirError, ShapeError
from cbir_cli.label_policy import IGNORED
from cbir_cli.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("cbir")

SIMILARITY = "cosine"
VIEWS = 1
WHOLE_BATCH = False
CLASS_WEIGHTS = ("balanced", "as-printed", "none")


def outputs(names: Sequence[str]) -> int:
    """Return the number of logits: one a label."""
    return len(names)


def class_weights(targets: ArrayLike, scheme: str = "balanced") -> NDArray[np.float32]:
    """Weight of the negative and of the positive side of each label.

    Parameters
    ----------
    targets : array (N, K) of int
        0, 1 or ``label_policy.IGNORED``: the training images.
    scheme : str
        ``balanced``: P / (P + N) for negatives and N / (P + N) for positives, of a label with P positive and N negative
        images. ``as-printed``: the other way round. ``none``: 1 for both.

    Returns
    -------
    array (K, 2), float32
        From 0 to 1; both 0 for a label that has only one side.

    Raises
    ------
    ShapeError
        If targets are not a table of 0, 1 and ``IGNORED``.
    CbirError
        If no label has both sides: nothing can be learned.
    UsageError
        If there is no such scheme.
    """
    true = np.asarray(targets)
    if true.ndim != 2 or not ((true == 0) | (true == 1) | (true == IGNORED)).all():
        raise ShapeError(f"targets: expected a table of 0, 1 and {IGNORED}")
    if scheme not in CLASS_WEIGHTS:
        raise unknown("class_weights", scheme, CLASS_WEIGHTS)
    counts = np.stack([(true == side).sum(axis=0) for side in (0, 1)], axis=1)  # (K, 2)
    whole: NDArray[np.bool_] = np.asarray((counts > 0).all(axis=1))
    if not whole.any():
        raise CbirError("training needs images with and without a finding: no label has both")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    weights = {"balanced": share[:, ::-1], "as-printed": share, "none": np.ones_like(share)}[scheme]
    return np.where(whole[:, None], weights, 0).astype(np.float32)


def loss(outputs: "Tensor", targets: "Tensor", *, weights: "Tensor | None" = None) -> "Tensor":
    """Weighted cross-entropy of the known labels of a batch.

    Parameters
    ----------
    outputs : Tensor (B, K), float
        Logits.
    targets : Tensor (B, K), int64
        0, 1 or ``label_policy.IGNORED``.
    weights : Tensor (K, 2), optional
        Weight of the negative and of the positive side of each label; 1 where not given.

    Returns
    -------
    Tensor (), float
        In nats; the sum over known labels divided by B K. 0 where no label is known.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    known = targets != IGNORED
    sides = targets[known]
    chosen = None
    if weights is not None:
        chosen = weights.to(outputs.dtype)[known.nonzero(as_tuple=True)[1], sides]
    total = binary_cross_entropy_with_logits(outputs[known], sides.to(outputs.dtype), weight=chosen, reduction="sum")
    return total / targets.numel()


def probability(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability of each label, (N, K) logits to (N, K) in [0, 1]."""
    # tanh form: never overflows.
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))
