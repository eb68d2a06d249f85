"""Paired permutation test: whether two methods differ on the same patients.

If they do not, a patient's difference might as well have had the other sign. The p-value is how often the sum of the
differences is at least as far from zero as the observed one, over all choices of signs. It assumes nothing about the
differences but that those of different patients are independent; the queries of a patient are summed first and flip
together.

For up to 20 patients who differ all choices are counted and p is exact; the smallest that n patients can give is
``2 / 2**n``, which for five is .0625. For more they are drawn from a seed: 100,000 for up to 2000 patients, 20,000 for
10,000, and ``p = (b + 1) / (m + 1)`` for b of m as far off, with a standard error of ``sqrt(p (1 - p) / m)``.

Reference
---------
R. A. Fisher. The Design of Experiments. 1935, section 21.
M. D. Smucker, J. Allan, B. Carterette. A comparison of statistical significance tests for information retrieval
evaluation. CIKM 2007.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbir_cli.errors import ShapeError

EXACT = 20
"""Most differences whose signs are counted out: 2**20 choices."""

_CELLS = 200_000_000
_DRAWS = (10_000, 100_000)
_BITS = 8
_STEP = 10_000
_SAME = 1e-9


def p_value(differences: ArrayLike, *, seed: int = 1) -> float:
    """Two-sided p of the hypothesis that differences have no sign to speak of.

    Parameters
    ----------
    differences : array (N,) of float
        One a patient: the sum, or weighted sum, over his queries. Those that are zero change nothing.
    seed : int
        Of signs that are drawn. p depends on the differences and not on their order.

    Returns
    -------
    float
        Above 0 to 1; 1 if all are zero.

    Raises
    ------
    ShapeError
        If differences are not (N,) and finite.
    """
    found = np.asarray(differences, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ShapeError(f"expected finite differences (N,), found {found.shape}")
    sizes = np.sort(np.abs(found))
    same = _SAME * sizes.sum()
    sizes = sizes[sizes > same / max(1, len(sizes))]
    if not len(sizes):
        return 1.0
    observed = abs(found.sum()) - same
    if len(sizes) <= EXACT:
        return float((np.abs(_sums(sizes)) >= observed).mean())
    draws = int(np.clip(_CELLS // len(sizes), *_DRAWS))
    rng = np.random.default_rng(seed)
    # Eight signs are a byte, and a byte's sum is looked up.
    padded = np.append(sizes, np.zeros(-len(sizes) % _BITS))
    table = np.array([_sums(part) for part in padded.reshape(-1, _BITS)])
    beyond = 0
    for start in range(0, draws, _STEP):
        sums = np.zeros(min(_STEP, draws - start))
        for row in table:
            sums += row[rng.integers(0, 2**_BITS, len(sums), dtype=np.uint8)]
        beyond += int((np.abs(sums) >= observed).sum())
    return (beyond + 1) / (draws + 1)


def _sums(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum under each choice of signs, (2**N,)."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums
