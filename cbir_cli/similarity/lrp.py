"""Relevance of the similarity: what each pixel brings to it, handed down layer by layer from the two vectors.

The parts that the numbers of a vector have in the similarity are the relevance that layer-wise relevance propagation
starts with, ``v_d (2 w_d - v_d)`` for the squared distance of v to w and ``v_d w_d / (|v| |w|)`` for the cosine; its
rules hand them down to the pixels, of each image in turn. BiLRP splits the product of two vectors over all pairs of
pixels; since propagation is linear in what it starts with, the map of one image is the sum of BiLRP over the pixels of
the other, where that conserves relevance, at the price of one pass in place of one a dimension.

Reference
---------
O. Eberle, J. Büttner, F. Kräutli, K.-R. Müller, M. Valleriani, G. Montavon. Building and Interpreting Deep Similarity
Models. IEEE TPAMI 44 (3), 2022. arXiv:2003.05431. (Sections 3 and 4: BiLRP.)
G. Montavon et al. Explaining nonlinear classification decisions with deep Taylor decomposition. Pattern Recognition 65,
2017. arXiv:1512.02479. (z+ rule.)
S. Bach et al. On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation. PLOS
ONE 10(7), 2015. (Equation 58: epsilon rule.)

Differs from the authors' code
------------------------------
Theirs returns pairs of places and uses the gamma rule below the top; here the pairs are summed, and convolutions have
the z+ rule, the limit of a large gamma. Theirs explains a product of vectors; the squared distance is ours.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from cbir_cli.errors import CbirError
from cbir_cli.registry import unknown
from cbir_cli.similarity import _pair

if TYPE_CHECKING:
    from torch import Tensor

    from cbir_cli.propagation import Rules

MAPS = "both"

SAYS = (
    "How much of the similarity each pixel accounts for, traced back through the network; where values fall "
    "below zero, the pixel makes the two less similar."
)

RULES = ("epsilon", "z-plus")

_EPSILON = 1e-7


def explain(encoder: Any, queries: ndarray, results: ndarray, *, rule: str = "z-plus") -> tuple[ndarray, ndarray]:
    """Relevance of each pixel for the similarity of its image to the other one.

    Parameters
    ----------
    encoder : object
        Has ``similarity`` (``l2`` or ``cosine``) and ``opened``, which returns its network (``cbir_cli.opened``).
    queries, results : ndarray (P, S, S) or (P, S, S, 3), float32
        Pixels in [0, 1], one result a query.
    rule : str
        Of convolutions. ``z-plus``: relevance goes where the activation comes from; batch norms hand it on. Smooth, and
        what is lost on the way is little. ``epsilon``: in proportion to input times weight, also through batch norms,
        of which the bias takes its share; near to gradient times input, and noisy in deep networks. Dense layers have
        the epsilon rule in either case.

    Returns
    -------
    query_maps, result_maps : ndarray (P, S, S), float32
        Summed over the network's input channels. Positive makes the two alike, negative sets them apart. Without
        biases, the pixels add up to the cosine of the vectors, or for ``l2`` to how much nearer the image is to the
        other, in squared distance, than a vector of zeros.

    Raises
    ------
    ShapeError
        If the images are not two stacks of finite images of one shape.
    UsageError
        If there is no such rule, or the encoder has another similarity or no network.
    CbirError
        If the network uses operations that the rules are not defined for, such as attention or another activation than
        ReLU, or the relevance is not finite.
    """
    rules = _rules(rule)
    queries, results = _pair.check(queries, results)
    maps = np.zeros((2, *queries.shape[:3]), dtype=np.float32)
    if not len(queries):
        return maps[0], maps[1]
    import torch

    opened = encoder.opened()
    images, *places = _pair.both(queries, results)
    inputs = opened.inputs(images)

    def vector(image: int) -> "Tensor":
        with torch.inference_mode(False), torch.no_grad():
            return opened.module(inputs[image : image + 1])[0]

    vectors = opened.spread(vector, len(images))

    def propagate(image: int) -> None:
        from cbir_cli.propagation import Propagation

        with torch.inference_mode(False), torch.enable_grad():
            given = inputs[image : image + 1].detach().clone().requires_grad_()
            with Propagation(rules, f"lrp of {opened.name}"):
                output = opened.module(given)
            # The forward pass is shared by all pairs that the image is in.
            for side in (0, 1):
                for pair in np.flatnonzero(places[side] == image):
                    other = vectors[places[1 - side][pair]]
                    start = vectors[image] * _pair.pull(vectors[image], other, encoder.similarity)
                    (relevance,) = torch.autograd.grad(output, given, start[None], retain_graph=True)
                    maps[side, pair] = relevance[0].sum(0).cpu().numpy()

    opened.spread(propagate, len(images), "lrp")
    if not np.isfinite(maps).all():
        raise CbirError("lrp: a map is not finite; the network's weights or the images are damaged")
    return maps[0], maps[1]


def _rules(rule: str) -> "Rules":
    from cbir_cli import propagation_rules as known
    from cbir_cli.propagation import Rules, passed
    from cbir_cli.propagation_rules import Layer

    if rule not in RULES:
        raise unknown("rule of lrp", rule, RULES)
    epsilon = known.epsilon(_EPSILON)
    if rule == "epsilon":
        return Rules(kernel=epsilon, norm=epsilon, relu=passed, fused_relu=passed, average=epsilon, add=known.add)

    def kernel(layer: Layer, inputs: "Tensor", relevance: "Tensor") -> "Tensor":
        # After the last convolution a number of either sign is explained by what gives it that sign.
        return (epsilon if layer.kind == "dense" else known.z_plus)(layer, inputs, relevance)

    return Rules(
        kernel=kernel,
        norm=passed,
        relu=passed,
        fused_relu=passed,
        average=known.positive_average,
        add=known.positive_add,
    )
