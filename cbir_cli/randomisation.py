"""Does a saliency map depend on what the network has learnt? Its weights are drawn anew, and the maps compared.

A map that hardly changes when layers lose what they have learnt shows the image, not the network.

Reference
---------
J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt, B. Kim. Sanity Checks for Saliency Maps. NeurIPS 2018.
arXiv:1810.03292. (Section 3: cascading and independent randomisation; rank correlation with and without the sign.)
B. Hu, B. Vasu, A. Hoogs. X-MIR: EXplainable Medical Image Retrieval. WACV 2022. (Section 3.4 asks for it.)

Differs from the authors' code
------------------------------
Theirs draws a layer's weights from a truncated normal distribution; here they are those of the same network freshly
made, batch norms and their statistics included. A layer is what the second dot of a weight's name ends: a whole block
in a DenseNet or ResNet.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.registry import unknown

WAYS = ("cascade", "independent")

Weights = Mapping[str, NDArray]


def layers(names: Iterable[str]) -> list[str]:
    """Return the layers that weights belong to, the one nearest to the output first.

    Examples
    --------
    >>> layers(["features.conv0.weight", "features.norm0.weight", "features.norm0.bias", "classifier.weight"])
    ['classifier', 'features.norm0', 'features.conv0']
    """
    return list(dict.fromkeys(layer_of(name) for name in reversed(list(names))))


def layer_of(name: str) -> str:
    """Return the layer that a weight belongs to."""
    parts = name.split(".")[:-1]
    return ".".join(parts[:2])


def networks(weights: Weights, fresh: Weights, way: str) -> Iterator[tuple[str, dict[str, NDArray]]]:
    """Yield each layer with the weights of the network that has lost it.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Of the trained network, in the order of its layers.
    fresh : mapping of str to ndarray
        Of the same network before training.
    way : str
        ``cascade``: this layer and all above it are drawn anew; ``independent``: this layer alone.

    Raises
    ------
    UsageError
        If there is no such way.
    """
    for layer, lost in losses(layers(weights), way):
        yield layer, without(weights, fresh, lost)


def losses(layers: Sequence[str], way: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each layer, of those that begin with the one nearest to the output, with all that are lost by then.

    Raises
    ------
    UsageError
        If there is no such way.
    """
    check_way(way)
    for place, layer in enumerate(layers):
        yield layer, frozenset(layers[: place + 1] if way == "cascade" else [layer])


def without(weights: Weights, fresh: Weights, lost: Collection[str] | None) -> dict[str, NDArray]:
    """Return the weights of a network that lost some layers, or all of them: there they are the fresh ones."""
    return {name: fresh[name] if lost is None or layer_of(name) in lost else value for name, value in weights.items()}


def check_way(way: str) -> None:
    """Refuse what is none of ``WAYS``; UsageError."""
    if way not in WAYS:
        raise unknown("way to randomise", way, WAYS)


def check_seed(seed: int) -> None:
    """Refuse what weights cannot be drawn from; UsageError."""
    if not 0 <= seed < 2**64:
        raise UsageError(f"expected a seed from 0 to below 2^64, found {seed}")


def correlation(maps: NDArray, others: NDArray, *, sign: bool = True) -> NDArray[np.float64]:
    """Spearman's rank correlation of each map with another, over its pixels.

    Parameters
    ----------
    maps, others : ndarray (N, ...), float
    sign : bool
        Whether to rank the values or, without their sign, the magnitudes.

    Returns
    -------
    ndarray (N,), float64
        From -1 to 1; NaN where all values of a map are equal, which has no ranks.

    Raises
    ------
    ShapeError
        If the two differ in shape.
    """
    from scipy.stats import rankdata

    if maps.shape != others.shape:
        raise ShapeError(f"expected maps of one shape, found {maps.shape} and {others.shape}")
    centred = []
    for values in (maps, others):
        flat = np.asarray(values, np.float64).reshape(len(values), math.prod(values.shape[1:]))
        ranks = rankdata(flat if sign else np.abs(flat), axis=1)
        centred.append(ranks - ranks.mean(axis=1, keepdims=True))
    lengths = np.prod([np.sqrt((one**2).sum(axis=1)) for one in centred], axis=0)
    products = (centred[0] * centred[1]).sum(axis=1)
    return np.divide(products, lengths, out=np.full(len(maps), np.nan), where=lengths > 0)
