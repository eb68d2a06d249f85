"""Random patterns that look the same at any size: clouds, and cells that touch like a honeycomb's."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]


def clouds(rng: Generator, shape: tuple[int, int], waves: float, octaves: int = 3, fall: float = 0.55) -> Array:
    """Return smooth noise (H, W) of mean 0 and deviation about 1.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
        Height and width; the pattern is the same for any size of the same proportions.
    waves : float
        Coarsest bumps along the shorter side.
    octaves : int
        Further layers, each twice as fine.
    fall : float
        Strength of a layer relative to the one before.
    """
    from PIL import Image

    total, strength, weight = np.zeros(shape, np.float32), 1.0, 0.0
    short = min(shape)
    for _ in range(octaves):
        knots = tuple(max(2, round(waves * side / short)) + 3 for side in shape)
        coarse = Image.fromarray(rng.standard_normal(knots, np.float32))
        # The outer knots lie outside: the filter would repeat them.
        inside = (1.0, 1.0, knots[1] - 1.0, knots[0] - 1.0)
        fine = coarse.resize(shape[::-1], Image.Resampling.BICUBIC, box=inside)
        total += np.float32(strength) * np.asarray(fine)
        weight += strength**2
        waves, strength = 2 * waves, fall * strength
    return total / np.float32(0.75 * np.sqrt(weight))


def cells(rng: Generator, u: Array, v: Array, jitter: float = 0.75) -> tuple[Array, Array, Array]:
    """Return the distances of points to the nearest and second nearest seed of a jittered grid, and the seed's number.

    Parameters
    ----------
    rng : Generator
    u, v : ndarray (H, W), float32
        Coordinates in units of a cell.
    jitter : float
        0 is a square grid, 1 no order at all.

    Returns
    -------
    first, second : ndarray (H, W), float32
        Their difference is 0 on the walls between cells.
    tone : ndarray (H, W), float32
        Uniform in [0, 1], one value a cell.
    """
    left, top = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    first_column, first_row = int(left.min()) - 1, int(top.min()) - 1
    rows, columns = int(top.max()) - first_row + 2, int(left.max()) - first_column + 2
    seeds = (0.5 + jitter * (rng.random((rows, columns, 2), np.float32) - 0.5)).astype(np.float32)
    tones = rng.random((rows, columns), np.float32)
    first, second = np.full(u.shape, 9, np.float32), np.full(u.shape, 9, np.float32)
    tone = np.zeros(u.shape, np.float32)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            row, column = top + i - first_row, left + j - first_column
            seed = seeds[row, column]
            off = np.hypot(left + j + seed[..., 0] - u, top + i + seed[..., 1] - v)
            nearer = off < first
            second = np.where(nearer, first, np.minimum(second, off))
            tone = np.where(nearer, tones[row, column], tone)
            first = np.where(nearer, off, first)
    return first, second, tone
