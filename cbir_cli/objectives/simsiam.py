"""SimSiam: two views of an image tell each other's place, without labels and without negatives.

The network f makes h = f(x) of each view x, the projector z = g(h), the predictor p = q(z). With D the negative cosine
similarity and the second argument held constant (no gradient)::

    L = 1/2 D(p1, z2) + 1/2 D(p2, z1)         D(p, z) = -p . z / (|p| |z|)

Without the constant both views would agree best by all vectors being the same. h is the vector that is searched;
projector and predictor are trained with it and thrown away. The labels are not looked at.

The projector has three linear layers of the width of h, each followed by batch normalisation (the last without scale
and shift), the predictor two with a hidden layer a quarter as wide: 2048 and 512 for ResNet-50, as published, and in
the same proportion for other networks.

What is shown while it trains: ``spread``, the standard deviation of the coordinates of z / |z| over the batch, times
sqrt(D). 0 is collapse, all images at one point; about 1 is what vectors in all directions have.

Reference
---------
Wickstrøm et al., A clinically motivated self-supervised approach for content-based image retrieval of CT liver images,
2023 (arXiv:2207.04812), equations 1 to 3. Chen, He, Exploring Simple Siamese Representation Learning, CVPR 2021
(arXiv:2011.10566), algorithm 1 and section 4.1.

Differs from the authors' code
------------------------------
The same network and loss as the official code of Chen and He, whose forward Wickstrøm et al. use. The paper's equations
write z for what the predictor gives and h for what the projector gives, and equation 1 is not what is trained; the code
is followed. Their log shows (L + 1) / 2; ours shows L, from -1 to 1.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from cbir_cli.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

SIMILARITY = "l2"
VIEWS = 2
WHOLE_BATCH = False
LABELLED = False
"""Images without a label are trained on as well."""
FIXED_RATE = ("predictor.",)
"""Weights whose learning rate stays as it is at the start, as in the official code (``fix_pred_lr``)."""
CLASS_WEIGHTS = ("none",)


def outputs(names: Sequence[str]) -> int:
    """Return the number of logits: none, the network's vector itself is trained."""
    return 0


def class_weights(targets: ArrayLike, scheme: str = "none") -> None:
    """Return nothing: labels play no part.

    Raises
    ------
    UsageError
        If the scheme is not ``none``.
    """
    if scheme not in CLASS_WEIGHTS:
        raise unknown("class_weights", scheme, CLASS_WEIGHTS)


def attach(module: "nn.Module", width: int, *, statistics: str = "all") -> "nn.Module":
    """Return the network with projector and predictor, freshly initialised by PyTorch's global generator.

    Parameters
    ----------
    module : Module
        (B, 3, S, S) to (B, width).
    width : int
        At least 4.
    statistics : str
        Of which view batch norms keep the mean and variance that the network has when it embeds: ``first``, which
        has the window that is searched, or ``all``, as in the authors' code. The loss and its gradient are the same.

    Returns
    -------
    Module
        (B, 2, 3, S, S) to (B, 4, width): p1, p2, z1 and z2. The network is its part ``backbone``. Each view goes
        through it by itself, so that batch normalisation never mixes the two.

    Raises
    ------
    ShapeError
        If the vector is narrower than 4.
    """
    from cbir_cli.objectives._siamese import Siamese

    return Siamese(module, width, statistics)


def loss(outputs: "Tensor", targets: "Tensor | None" = None, *, weights: "Tensor | None" = None) -> "Tensor":
    """Negative cosine similarity of each view's prediction and the other view, equation 3.

    Parameters
    ----------
    outputs : Tensor (B, 4, D), float
        p1, p2, z1 and z2, as the attached network gives them.
    targets, weights
        Not used.

    Returns
    -------
    Tensor (), float
        From -1 (the views agree) to 1; mean over the batch. No gradient passes z.
    """
    from torch.nn.functional import cosine_similarity

    p1, p2, z1, z2 = outputs.unbind(dim=1)
    first, second = cosine_similarity(p1, z2.detach(), dim=1), cosine_similarity(p2, z1.detach(), dim=1)
    return -(first.mean() + second.mean()) / 2


def monitor(outputs: "Tensor") -> "dict[str, Tensor]":
    """Return ``spread``, a tensor () from 0 (collapse) to about 1; see above.

    Parameters
    ----------
    outputs : Tensor (B, 4, D), float
        As for ``loss``.
    """
    from torch.nn.functional import normalize

    views = normalize(outputs.detach()[:, 2:], dim=2)
    # Population form: defined, and 0, for a batch of one image too.
    return {"spread": views.std(dim=0, correction=0).mean() * views.shape[2] ** 0.5}
