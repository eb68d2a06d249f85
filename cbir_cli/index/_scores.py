"""Scores of rows by matrix products in float32, with a bound of their error."""

import numpy as np
from numpy import ndarray

from cbir_cli.index._blocks import Block

_UNIT = 2.0**-24  # unit roundoff of float32
_TINY = float(np.finfo(np.float32).tiny)  # bounds what is lost where a product underflows
_SHORTEST = 1e-37  # of a vector: below it an inverse norm could overflow, and the bound is above any cosine anyway


class Scores:
    """Scores of queries and rows: with the query's offset, |q|^2 or 1, what is searched for::

        l2      |x|^2 - 2 q.x
        cosine  -(q/|q|).x/|x|

    Parameters
    ----------
    vectors : ndarray (N, D), float32
    norms : ndarray (N,), float64
        Their lengths.
    cosine : bool
    scaled : bool
        Vectors are divided by their length already.
    rounded : float
        By how much a vector may be off, as a share of its length.
    """

    def __init__(
        self, vectors: ndarray, norms: ndarray, *, cosine: bool, scaled: bool = False, rounded: float = 0.0
    ) -> None:
        self._vectors, self._norms, self._cosine = vectors, norms, cosine
        self._scaled, self._rounded = scaled, rounded

    def probes(self, queries: ndarray, lengths: ndarray) -> ndarray:
        """What rows are multiplied with, (Q, D) float32: -2 q (an exact scaling), or -q/|q|."""
        if not self._cosine:
            return (queries * -2).astype(np.float32, copy=False)
        return (queries / -np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)

    def of(self, probes: ndarray, lengths: ndarray, block: Block) -> tuple[ndarray, ndarray]:
        """Return the scores (Q, M) float32 of a block, and the bound of their error (Q,) float64."""
        scores = probes @ self._vectors[block.place].T
        norms = self._norms[block.place]
        if not self._cosine:
            scores += np.square(norms).astype(np.float32)
        elif not self._scaled:  # a zero vector scores 0, which is distance 1
            scores *= np.where(norms > 0, 1 / np.maximum(norms, _SHORTEST), 0).astype(np.float32)
        return scores, self._error(lengths, norms)

    def _error(self, lengths: ndarray, norms: ndarray) -> ndarray:
        """Bound of ``|score + offset - value|`` over rows of these norms, (Q,) float64.

        The product is off by gamma_D |q||x| (Cauchy-Schwarz on Higham's bound). The few roundings besides (of norms,
        of the probe, of the last sum or scaling) each cost one u of a term they touch; eight more terms cover them.
        What underflows is below D times the smallest normal number, times what it is multiplied with. Where both
        vectors are off by a share r of their length, their product is by 2 r and a little more.
        """
        terms = self._vectors.shape[1] + 8
        gamma = terms * _UNIT / (1 - terms * _UNIT) + 2.5 * self._rounded
        if self._cosine:
            shortest = 1.0 if self._scaled else norms.min(initial=1.0, where=norms > 0)
            return np.full(len(lengths), gamma + 2 * terms * _TINY / shortest)
        longest = norms.max()
        products = 2 * gamma * lengths * longest
        return products + 4 * _UNIT * (lengths**2 + longest**2) + 2 * terms * _TINY * (1 + lengths + longest)
