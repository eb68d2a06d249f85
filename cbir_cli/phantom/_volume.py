"""A volume of Hounsfield units that organs are painted into, one over the other, with soft edges.

Everything is in centimetres: ``x`` to the patient's left, ``y`` to his back, ``z`` to his head. Arrays are (Z, Y, X).
An organ is a depth: how far inside of its surface a point lies, in cm, negative outside. Only the box around it is
computed, so a volume costs what its organs fill.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Depth = Callable[[Array, Array, Array], Array]
"""Maps x, y, z, which broadcast to (Z, Y, X), to the depth below a surface (Z, Y, X) in cm."""
Within = Callable[..., Depth]
"""Maps a depth, and a distance to keep, to what of it lies in the belly."""
Point = tuple[float, float, float]


@dataclass
class Volume:
    """Voxels, and where they lie.

    Attributes
    ----------
    x, y, z : ndarray (1, 1, X), (1, Y, 1), (Z, 1, 1), float32
        Coordinates of the voxels in cm.
    hu : ndarray (Z, Y, X), float32
        Hounsfield units; air at first.
    label : ndarray (Z, Y, X), uint8
        Class of each voxel; 0 at first.
    """

    x: Array
    y: Array
    z: Array
    hu: Array = field(init=False)
    label: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.z.size, self.y.size, self.x.size)
        self.hu = np.full(shape, -1000, np.float32)
        self.label = np.zeros(shape, np.uint8)

    @property
    def edge(self) -> float:
        """Width of a soft edge in cm: a pixel."""
        return float(self.x.ravel()[1] - self.x.ravel()[0])

    def box(self, low: Point, high: Point) -> tuple[slice, slice, slice]:
        """Return the slices (Z, Y, X) of the voxels between two corners, a voxel of border included."""
        cut = []
        for axis, a, b in zip((self.z, self.y, self.x), low[::-1], high[::-1], strict=True):
            line = axis.ravel()
            cut.append(
                slice(max(0, int(np.searchsorted(line, a)) - 1), min(line.size, int(np.searchsorted(line, b)) + 1))
            )
        return cut[0], cut[1], cut[2]

    def paint(
        self,
        depth: Depth,
        value: float | Depth,
        low: Point = (-99.0, -99.0, -99.0),
        high: Point = (99.0, 99.0, 99.0),
        *,
        label: int | None = None,
        soft: float = 0.0,
    ) -> int:
        """Fill what lies inside of a surface.

        Parameters
        ----------
        depth : callable
            Depth below the surface.
        value : float or callable
            Hounsfield units, of all points or of each.
        low, high : tuple of float
            Corners of a box that holds the organ.
        label : int, optional
            Class that voxels with half of their volume inside get.
        soft : float
            Width of the edge in cm, if it is wider than a pixel.

        Returns
        -------
        int
            Voxels that got the label, or that are half inside.
        """
        z, y, x = box = self.box(low, high)
        grid = self.x[:, :, x], self.y[:, y], self.z[z]
        share = np.clip(depth(*grid) / np.float32(max(soft, self.edge)) + np.float32(0.5), 0, 1)
        if not share.any():
            return 0
        hu = self.hu[box]
        hu += share * ((value(*grid) if callable(value) else np.float32(value)) - hu)
        inside = share >= 0.5
        if label is not None:
            self.label[box][inside] = label
        return int(inside.sum())


def blob(centre: Point, axes: Point, turn: float = 0.0, lumps: Array | None = None) -> tuple[Depth, Point, Point]:
    """Return an ellipsoid, turned by ``turn`` radians about z, as depth and the corners of its box.

    ``lumps`` (L, 5) bends its surface by waves: three wave numbers in units of the axes, a phase, and a height as a
    share of the radius.
    """
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    a, b, c = (np.float32(v) for v in axes)
    scale = np.float32((axes[0] * axes[1] * axes[2]) ** (1 / 3))

    def depth(x: Array, y: Array, z: Array) -> Array:
        p, q = x - np.float32(centre[0]), y - np.float32(centre[1])
        u, v, w = (cos * p + sin * q) / a, (cos * q - sin * p) / b, (z - np.float32(centre[2])) / c
        radius = np.sqrt(u * u + v * v + w * w)
        for k, l, m, phase, height in lumps if lumps is not None else ():  # noqa: E741
            radius = radius * (1 + height * np.sin(k * u + l * v + m * w + phase))
        return ((1 - radius) * scale).astype(np.float32)

    swell = 1.05 + (0.0 if lumps is None else float(np.abs(lumps[:, 4]).sum()))
    wide, long = swell * max(axes[:2]), swell * axes[2]
    low = (centre[0] - wide, centre[1] - wide, centre[2] - long)
    return depth, low, (centre[0] + wide, centre[1] + wide, centre[2] + long)


def lumps(rng: np.random.Generator, count: int, height: float, pitch: tuple[float, float] = (1.5, 4.5)) -> Array:
    """Draw ``count`` waves (count, 5) for a blob's surface, together about ``height`` of its radius high."""
    way = rng.normal(size=(count, 3))
    way *= (rng.uniform(*pitch, count) / np.linalg.norm(way, axis=1))[:, None]
    heights = rng.uniform(0.4, 1, count)
    waves = np.column_stack([way, rng.uniform(0, 2 * np.pi, count), height * heights / np.sqrt(count)])
    return waves.astype(np.float32)


def tube(start: Point, end: Point, thick: float, thin: float) -> tuple[Depth, Point, Point]:
    """Return a straight tube with round ends, its radius falling from ``thick`` to ``thin``, and its box."""
    a, way = np.array(start, np.float32), np.subtract(end, start).astype(np.float32)
    square = float(way @ way) or 1.0

    def depth(x: Array, y: Array, z: Array) -> Array:
        t = np.clip(((x - a[0]) * way[0] + (y - a[1]) * way[1] + (z - a[2]) * way[2]) / np.float32(square), 0, 1)
        off = np.sqrt((x - a[0] - t * way[0]) ** 2 + (y - a[1] - t * way[1]) ** 2 + (z - a[2] - t * way[2]) ** 2)
        return (thick + t * np.float32(thin - thick) - off).astype(np.float32)

    reach = max(thick, thin) * 1.1
    corners = np.array([start, end])
    low, high = corners.min(axis=0) - reach, corners.max(axis=0) + reach
    return depth, (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))
