"""From thickness to an 8-bit radiograph: absorption, scatter, noise, the machine's processing, shutters, markers."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cbir_cli.phantom._canvas import Array, Canvas

ABSORPTION = 0.19
"""Effective linear attenuation of water at chest energies, per cm."""


@dataclass(frozen=True)
class Exposure:
    """How the film was taken and processed; all of it independent of disease.

    Attributes
    ----------
    scatter : float
        Scattered over primary radiation.
    dose : float
        Quanta per pixel of 1 mm in air.
    window : pair of float
        Room left below the thinnest and above the thickest parts, as fractions of the range between them.
    gamma, toe : float
        Display curve: exponent, and strength of the S shape.
    bright, contrast : float
        Shift and stretch of the grey values.
    edges : float
        Local contrast enhancement, 0 for none.
    shutter : tuple of float
        Borders darkened by collimation: left, top, right, bottom, as fractions of the side; negative is outside.
    shutter_angle, shutter_grey : float
        Rotation of the shutter in radians; its grey value.
    """

    scatter: float
    dose: float
    window: tuple[float, float]
    gamma: float
    toe: float
    bright: float
    contrast: float
    edges: float
    shutter: tuple[float, float, float, float]
    shutter_angle: float
    shutter_grey: float


def draw_exposure(rng: Generator, view: str) -> Exposure:
    """Draw an exposure: bedside (AP) films scatter more, and are noisier and flatter."""
    bedside = view == "AP"
    shuttered = rng.random(4) < 0.4
    return Exposure(
        scatter=float(rng.uniform(0.5, 1.1) if bedside else rng.uniform(0.15, 0.5)),
        dose=float(np.exp(rng.normal(9.0 if bedside else 9.7, 0.5))),
        window=(float(rng.uniform(0.04, 0.32)), float(rng.uniform(-0.1, 0.12))),
        gamma=float(np.exp(np.clip(rng.normal(0, 0.3), -0.5, 0.5))),
        toe=float(rng.uniform(0, 0.6)),
        bright=float(rng.normal(0, 0.07)),
        contrast=float(np.exp(rng.normal(-0.12 if bedside else -0.02, 0.11))),
        edges=float(rng.uniform(0.0, 0.9)),
        shutter=tuple(float(v) for v in np.where(shuttered, rng.uniform(0.01, 0.07, 4), -1)),  # type: ignore[arg-type]
        shutter_angle=float(rng.normal(0, 0.015)),
        shutter_grey=float(rng.choice([0.0, 0.03, 1.0], p=[0.75, 0.15, 0.1])),
    )


def expose(thickness: Array, canvas: Canvas, exposure: Exposure, rng: Generator) -> Array:
    """Return the radiograph (size, size) float32 in [0, 1], dense is white, without shutter and markers."""
    from scipy.ndimage import gaussian_filter

    primary = np.exp(-ABSORPTION * thickness)
    # Scatter is smooth, so a coarse image of it is enough.
    block = max(1, canvas.size // 64)
    coarse = _shrink(primary, block)
    blurred = gaussian_filter(coarse, 3.0 / (canvas.pixel * block), mode="nearest")
    beam = primary + exposure.scatter * _enlarge(blurred, canvas.size)
    quanta = exposure.dose * (canvas.pixel / 0.1) ** 2
    noise = gaussian_filter(rng.standard_normal(beam.shape, np.float32), 0.45)
    beam = np.maximum(beam + np.sqrt(beam / quanta) * noise, 1e-3)
    density = gaussian_filter(-np.log(beam), 0.5)

    inner = density[canvas.size // 12 : -canvas.size // 12 : 3, canvas.size // 12 : -canvas.size // 12 : 3]
    if exposure.edges > 0:
        smooth = gaussian_filter(_shrink(density, block), 2.2 / (canvas.pixel * block), mode="nearest")
        density = density + exposure.edges * (density - _enlarge(smooth, canvas.size))
    low, high = np.percentile(inner[inner > 0.12 * inner.max()], (1.0, 97.0))
    low, high = low - exposure.window[0] * (high - low), high + exposure.window[1] * (high - low)
    grey = np.clip((density - low) / max(high - low, 0.2), 0, 1)
    curve = grey * grey * (3 - 2 * grey)
    grey = ((1 - exposure.toe) * grey + exposure.toe * curve) ** np.float32(exposure.gamma)
    return np.clip((grey - 0.5) * exposure.contrast + 0.5 + exposure.bright, 0, 1).astype(np.float32)


def _shrink(image: Array, block: int) -> Array:
    n = image.shape[0] // block
    return image[: n * block, : n * block].reshape(n, block, n, block).mean(axis=(1, 3))


def _enlarge(image: Array, size: int) -> Array:
    """Return a smooth coarse image at (size, size), bilinear."""
    at = np.clip((np.arange(size) + 0.5) * image.shape[0] / size - 0.5, 0, image.shape[0] - 1)
    low = np.minimum(at.astype(np.int64), image.shape[0] - 2)
    part = (at - low).astype(np.float32)
    rows = image[low] * (1 - part)[:, None] + image[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def close_shutter(image: Array, exposure: Exposure) -> Array:
    """Return the image with its collimated borders."""
    n = image.shape[0]
    steps = (np.arange(n, dtype=np.float32) + 0.5) / n - 0.5
    cos, sin = np.float32(np.cos(exposure.shutter_angle)), np.float32(np.sin(exposure.shutter_angle))
    u = cos * steps[None, :] + sin * steps[:, None] + 0.5
    v = cos * steps[:, None] - sin * steps[None, :] + 0.5
    left, top, right, bottom = exposure.shutter
    inside = np.minimum(np.minimum(u - left, 1 - right - u), np.minimum(v - top, 1 - bottom - v))
    open_ = np.clip(inside * n / 1.5 + 0.5, 0, 1)
    return image * open_ + np.float32(exposure.shutter_grey) * (1 - open_)


_GLYPHS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "B": "11110 10001 10001 11110 10001 10001 11110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "T": "11111 00100 00100 00100 00100 00100 00100",
}
"""Capital letters, five dots wide and seven high."""


def stamp(image: Array, text: str, at: tuple[float, float], height: float, grey: float = 1.0) -> None:
    """Draw letters into an image in place; ``at`` (left, top) and ``height`` are fractions of the side."""
    n = image.shape[0]
    rows = [" ".join(_GLYPHS[c].split()[r] + "0" for c in text).replace(" ", "") for r in range(7)]
    dots = np.array([[float(v) for v in row[:-1]] for row in rows], np.float32)
    scale = max(height * n / 7, 1.0)
    size = (max(round(7 * scale), 7), max(round(dots.shape[1] * scale), dots.shape[1]))
    big = dots[(np.arange(size[0]) * 7 // size[0])[:, None], (np.arange(size[1]) * dots.shape[1] // size[1])[None]]
    left, top = (int(np.clip(v * n, 0, n - s)) for v, s in zip(at, size[::-1], strict=True))
    area: NDArray[np.float32] = image[top : top + size[0], left : left + size[1]]
    area += (np.float32(grey) - area) * big[: area.shape[0], : area.shape[1]]
