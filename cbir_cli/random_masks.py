"""Random masks: small grids of cells that are kept or hidden, made smooth and as large as an image, and shifted.

A set of masks is held as its cells and shifts, 50 bytes a mask of 7 x 7 cells, and made large a block at a time. A mask
is ``rows @ cells @ columns.T``, with rows that depend on the shift alone; so a weighted sum of any number of masks is
the same product of weighted sums of cells, and needs no large mask at all.

Reference
---------
V. Petsiuk, A. Das, K. Saenko. RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018.
arXiv:1806.07421. Section 3.2, and the authors' code.
K. K. Wickstrøm, D. J. Trosten, S. Løkse, A. Boubekki, K. Ø. Mikalsen, M. C. Kampffmeyer, R. Jenssen. RELAX:
Representation Learning Explainability. IJCV 131, 2023. arXiv:2112.10161. The authors' code has other masks than RISE.
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from cbir_cli.errors import UsageError
from cbir_cli.registry import unknown

KINDS = ("relax", "rise")

_DRAWN = 1024  # masks at a time; the numbers drawn do not depend on it
_MOST = 10**6
"""Masks of a set: a hundred times what the papers take."""
_CELLS = 2**28
"""Cells of all masks of a set, a byte each: bounds memory where masks are fine."""


@dataclass(frozen=True)
class RandomMasks:
    """A set of masks.

    Attributes
    ----------
    cells : ndarray (N, c, c), bool
        True where an image is kept.
    shifts : ndarray (N, 2), int
        First row and first column that a mask has of its large grid.
    rows, columns : ndarray (at least H, c) and (at least W, c), float64
        Weight of each cell at each pixel of the large grid; each row sums to 1.
    size : tuple of int
        H, W.
    """

    cells: ndarray
    shifts: ndarray
    rows: ndarray
    columns: ndarray
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.cells)

    def block(self, start: int, stop: int) -> ndarray:
        """Return some masks, (stop - start, H, W) float32 from 0, hidden, to 1, kept."""
        height, width = self.size
        made = np.empty((stop - start, height, width), np.float32)
        for mask, cells, (y, x) in zip(made, self.cells[start:stop], self.shifts[start:stop], strict=True):
            mask[:] = self.rows[y : y + height] @ (cells @ self.columns[x : x + width].T)
        return made

    def sums(self, weights: ndarray) -> ndarray:
        """Return weighted sums of the first masks.

        Parameters
        ----------
        weights : ndarray (K, n), float64
            Of the first n masks, K times.

        Returns
        -------
        ndarray (K, H, W), float64
        """
        height, width = self.size
        count, side = weights.shape[1], self.cells.shape[1]
        cells, shifts = self.cells[:count].reshape(count, side**2), self.shifts[:count]
        total = np.zeros((len(weights), height, width))
        for y in np.unique(shifts[:, 0]):
            across = np.zeros((len(weights), side, width))
            at = np.flatnonzero(shifts[:, 0] == y)
            for x in np.unique(shifts[at, 1]):
                some = at[shifts[at, 1] == x]
                small = (weights[:, some] @ cells[some].astype(np.float64)).reshape(-1, side, side)
                across += small @ self.columns[x : x + width].T
            total += self.rows[y : y + height] @ across
        return total

    def squares(self) -> ndarray:
        """Return the mean of M^2 over that of M at each pixel, (H, W) float64, from the variance of the cells."""
        kept = self.cells.mean()
        sides = []
        for weights, shifts, side in zip((self.rows, self.columns), self.shifts.T, self.size, strict=True):
            each = np.square(weights).sum(axis=1)
            sides.append(sum(n * each[s : s + side] for s, n in enumerate(np.bincount(shifts))) / len(shifts))
        return kept + (1 - kept) * np.outer(*sides)


def draw(kind: str, size: tuple[int, int], count: int, *, cells: int, probability: float, seed: int) -> RandomMasks:
    """Draw masks.

    Parameters
    ----------
    kind : str
        ``rise``: the grid is stretched to one cell more than the image has on each side, and shifted by up to a cell.
        ``relax``: it is stretched to the image, mirrored at the border by half as many *pixels* as there are cells, and
        shifted within those; so, for 7 cells on 224 pixels, by at most 6 pixels where a cell has 32.
    size : tuple of int
        H, W of the images.
    count : int
        Masks, at most a million, and fewer where they have more than 16 cells on each side: all cells together are at
        most 2^28. Those of a smaller count are the first of those of a larger.
    cells : int
        Cells on each side, from 2 to the image's side.
    probability : float
        That a cell is kept, between 0 and 1.
    seed : int
        At least 0; same seed, same masks.

    Raises
    ------
    UsageError
        If a value is out of range.
    """
    if kind not in KINDS:
        raise unknown("generator of masks", kind, KINDS)
    if not 2 <= cells <= min(size):
        raise UsageError(f"cells: expected from 2 to the {min(size)} pixels of an image, found {cells}")
    most = min(_MOST, _CELLS // cells**2)
    if not 1 <= count <= most:
        raise UsageError(f"masks: expected from 1 to {most} of {cells} x {cells} cells, found {count}")
    if not 0 < probability < 1:
        raise UsageError(f"probability: expected between 0 and 1, found {probability}")
    if seed < 0:
        raise UsageError(f"expected a seed of at least 0, found {seed}")
    if kind == "rise":
        steps = [-(-side // cells) for side in size]
        rows, columns = (_mirrored(cells, (cells + 1) * step) for step in steps)
    else:
        steps = [cells, cells]
        rows, columns = (_padded(cells, side, cells // 2) for side in size)
    # One stream each, so that the first masks do not depend on how many follow.
    for_cells, for_shifts = np.random.default_rng(seed).spawn(2)
    kept = np.empty((count, cells, cells), bool)
    for start in range(0, count, _DRAWN):
        part = kept[start : start + _DRAWN]
        part[:] = for_cells.random(part.shape) < probability
    shifts = for_shifts.integers(0, steps, (count, 2))
    return RandomMasks(kept, shifts.astype(np.int32), rows, columns, size)


def check_fill(fill: float) -> None:
    """Refuse what a mask cannot put in place of an image; UsageError."""
    if not abs(fill) <= float(np.finfo(np.float32).max):
        raise UsageError(f"fill: expected a finite number of 32 bits, found {fill}")


def _mirrored(cells: int, length: int) -> ndarray:
    """Weights (length, cells) of linear interpolation that mirrors at the middle of the outermost cells (RISE)."""
    place = np.abs((np.arange(length) + 0.5) * cells / length - 0.5)
    return _between(cells, np.where(place > cells - 1, 2 * (cells - 1) - place, place))


def _padded(cells: int, length: int, border: int) -> ndarray:
    """Weights (length + 2 border, cells) of linear interpolation, flat beyond the outermost, with a mirrored border."""
    inner = _between(cells, np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1))
    return np.pad(inner, ((border, border), (0, 0)), mode="reflect")


def _between(cells: int, place: ndarray) -> ndarray:
    left = np.minimum(place.astype(int), cells - 2)
    weights = np.zeros((len(place), cells))
    at = np.arange(len(place))
    weights[at, left] = 1 - (place - left)
    weights[at, left + 1] = place - left
    return weights
