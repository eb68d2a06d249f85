"""Where an image's pixels lie in the body, and how thin structures (ribs, vessels, tubes) are drawn into it.

Everything is in centimetres: ``x`` to the viewer's right (the patient's left), ``y`` downwards, origin in the middle of
the thorax. Thick organs are closed formulas of the pixel grids; thin ones are clouds of points that each carry a little
mass, spread over the pixels, so that density adds up where a rib turns along the beam, as on a film.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Cloud = tuple[Array, Array]
"""Points (M, 2) in cm, and their mass (M,) in cm of water times cm squared."""


@dataclass(frozen=True)
class Canvas:
    """Position of the detector with respect to the body.

    Attributes
    ----------
    size : int
        Side in pixels.
    field : float
        Side in cm, at the body: a smaller field is a larger magnification.
    angle : float
        Rotation of the body in the image, in radians.
    shift : tuple of float
        Where the body's origin lies from the image's centre, in cm.
    """

    size: int
    field: float = 40.0
    angle: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def pixel(self) -> float:
        """Side of a pixel in cm."""
        return self.field / self.size

    def grid(self) -> tuple[Array, Array]:
        """Return body coordinates ``x`` and ``y`` of the pixel centres, each (size, size) float32, in cm."""
        steps = ((np.arange(self.size) + 0.5) / self.size - 0.5) * self.field
        u, v = steps[None, :] - self.shift[0], steps[:, None] - self.shift[1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return (cos * u + sin * v).astype(np.float32), (cos * v - sin * u).astype(np.float32)

    def place(self, points: Array) -> tuple[Array, Array]:
        """Return pixel coordinates (columns, rows) of body points (M, 2); 0 is the centre of the first pixel."""
        cos, sin = np.float32(np.cos(self.angle) / self.pixel), np.float32(np.sin(self.angle) / self.pixel)
        x, y = points[:, 0], points[:, 1]
        middle = (self.size - 1) / 2
        across, down = (np.float32(v / self.pixel + middle) for v in self.shift)
        return cos * x - sin * y + across, sin * x + cos * y + down

    def splat(self, clouds: Sequence[Cloud]) -> Array:
        """Return the thickness (size, size), in cm of water, of clouds of points, each shared by its four pixels."""
        n = self.size
        if not clouds:
            return np.zeros((n, n), np.float32)
        column, row = self.place(np.concatenate([c[0] for c in clouds]))
        # One pixel of border takes what lies across the edge.
        inside = np.minimum(column, row) > -0.999
        inside &= np.maximum(column, row) < n - 0.001
        column, row = column[inside] + 1, row[inside] + 1
        mass = np.concatenate([c[1] for c in clouds])[inside]
        left, up = column.astype(np.int32), row.astype(np.int32)
        right, down = column - left, row - up
        corner = up * (n + 2) + left
        below = mass * down
        above = mass - below
        total = np.zeros((n + 2) ** 2)
        for step, part in (
            (0, above * (1 - right)),
            (1, above * right),
            (n + 2, below * (1 - right)),
            (n + 3, below * right),
        ):
            total += np.bincount(corner + step, part, minlength=len(total))
        return (total.reshape(n + 2, n + 2)[1:-1, 1:-1] / self.pixel**2).astype(np.float32)


def curve(control: Sequence[Sequence[float]], count: int) -> NDArray[np.float64]:
    """Return ``count`` points (count, 2) of the Bezier curve of some control points."""
    points = np.repeat(np.asarray(control, float)[:, None], count, axis=1)  # (K, count, 2)
    t = np.linspace(0, 1, count)[None, :, None]
    while len(points) > 1:  # de Casteljau
        points = points[:-1] * (1 - t) + points[1:] * t
    return points[0]


def ribbon(
    path: NDArray[np.float64],
    half_width: NDArray[np.float64] | float,
    peak: NDArray[np.float64] | float,
    pitch: float,
    *,
    hollow: float = 0.0,
    depth: NDArray[np.float64] | None = None,
) -> Cloud:
    """Turn centre lines into points with mass.

    Parameters
    ----------
    path : ndarray (..., P, 2)
        Centre lines, in cm, their points about a ``pitch`` apart.
    half_width, peak : ndarray broadcastable to (..., P), or float
        Half the width in cm; thickness at the centre in cm of water.
    pitch : float
        Distance between points across the width in cm: a pixel, so that the points close up to a surface.
    hollow : float
        0 is a solid cylinder; 1 has all its mass in the wall, as the cortex of a rib or the wall of a tube.
    depth : ndarray (..., P), optional
        Position along the beam in cm. A stretch that runs along the beam gains density.
    """
    step = np.gradient(path, axis=-2)
    along = np.hypot(step[..., 0], step[..., 1])  # (..., P)
    normal = np.stack([-step[..., 1], step[..., 0]], axis=-1) / np.maximum(along, 1e-9)[..., None]
    if depth is not None:
        along = np.hypot(along, np.gradient(depth, axis=-1))
    across = max(2, int(np.ceil(2 * np.max(half_width) / pitch)))
    t = (np.arange(across) + 0.5) / across * 2 - 1
    chord = np.sqrt(1 - t**2)
    profile = (1 - hollow) * chord + hollow * np.minimum(0.45 / chord, 1.2)
    half_width, peak = np.broadcast_to(half_width, along.shape), np.broadcast_to(peak, along.shape)
    points = path[..., None, :] + normal[..., None, :] * (half_width[..., None] * t)[..., None]
    mass = (peak * along * half_width * (2 / across))[..., None] * profile
    return points.reshape(-1, 2).astype(np.float32), mass.ravel().astype(np.float32)
