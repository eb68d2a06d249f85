"""Sparseness: how few pixels hold a map's relevance, by the Gini index.

With the magnitudes in rising order, ``G = sum_k (2k - n - 1) r_k / (n sum_k r_k)``. From 0 to 1: 0 where all pixels
are alike, ``1 - 1/n`` where one holds all. Sparse is easier to read, and says nothing about truth: a map that always
points at the same corner is sparse.

The order of the pixels does not matter, so there is no chance to compare with.

Ties: of no matter.
No relevance: masked, as a share of nothing.
Signed maps: ``sign="absolute"`` (default, as Quantus has it) takes magnitudes, ``"positive"`` counts what is below
zero as nothing.
Not to be confused with: the entropy of a map (complexity), which falls where sparseness rises.

Reference
---------
P. Chalasani, J. Chen, A. R. Chowdhury, S. Jha, X. Wu. Concise Explanations of Neural Networks using Adversarial
Training. ICML 2020. arXiv:1810.06583. (Section 5: Gini index.)
A. Hedström et al. Quantus: An Explainable AI Toolkit for Responsible Evaluation of Neural Network Explanations.
JMLR 24, 2023. (Sparseness; it adds 1e-7 to every magnitude, of maps divided by their largest, so that an all-zero map
gets 0.)
"""

import numpy as np
from numpy.typing import ArrayLike

from cbir_cli.metrics.explanation._check import stack

NEEDS = "maps"


def score(maps: ArrayLike, *, sign: str = "absolute") -> "np.ma.MaskedArray":
    """Gini index of each map.

    Parameters
    ----------
    maps : array (N, H, W) of float
        Relevance of every pixel, of any scale.
    sign : str
        What makes a pixel relevant: ``absolute``, its magnitude, or ``positive`` relevance.

    Returns
    -------
    masked array (N,) of float64
        From 0 to 1, masked where a map has no relevance.

    Raises
    ------
    ShapeError
        If maps are not (N, H, W), or one is not finite.
    UsageError
        If there is no such sign.
    """
    values = np.maximum(stack(maps, sign), 0)
    ranked = np.sort(values.reshape(len(values), values[:1].size).astype(np.float64), axis=1)
    count, total = ranked.shape[1], ranked.sum(axis=1)
    weights = 2 * np.arange(1, count + 1) - count - 1
    gini = np.divide(ranked @ weights, count * total, out=np.zeros(len(ranked)), where=total > 0)
    return np.ma.MaskedArray(np.clip(gini, 0, 1), mask=total == 0)
