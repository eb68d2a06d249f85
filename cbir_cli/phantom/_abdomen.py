"""Whose abdomen is scanned, and how: a body drawn once for all scans of a patient, and what bounds its organs."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cbir_cli.phantom._volume import Array, Point, blob, lumps


@dataclass(frozen=True)
class Tumour:
    """A tumour of the liver at the first scan.

    Attributes
    ----------
    centre : tuple of float
        In cm.
    radius : float
        In cm; later scans multiply it.
    stretch : tuple of float
        Axes over radius.
    lumps : ndarray (L, 5), float32
        Waves of the surface.
    drop : float
        How many HU it lies below the liver.
    core, rim : float
        HU that its middle lies below the rest, and its rim above.
    """

    centre: Point
    radius: float
    stretch: Point
    lumps: Array
    drop: float
    core: float
    rim: float

    def volume(self, growth: float = 1.0) -> float:
        """Volume in ml, lumps aside."""
        return float(4 / 3 * np.pi * (self.radius * growth) ** 3 * np.prod(self.stretch))


@dataclass(frozen=True)
class Abdomen:
    """A body at rest. Lengths in cm; the top of the right dome of the diaphragm is at z = 0.

    Attributes
    ----------
    sex, age : str, int
        ``F`` or ``M``; years at the first scan.
    half : tuple of float
        Half the width and half the depth of the trunk.
    square : float
        Exponent of its outline: 2 is an ellipse, more is squarer.
    fat, wall : float
        Thickness of the fat below the skin, and of the wall of muscle.
    lean : float
        How little fat lies between the organs, 0 to 1.
    swing : ndarray (4,), float64
        Height and phase of two waves of the outline.
    liver : float
        HU of the liver without contrast medium: a fatty one is darker.
    lobe : tuple of float
        Relative size of the right and of the left lobe of the liver.
    reach : float
        How far the right lobe reaches down.
    shape : ndarray (L, 5), float32
        Waves of the liver's surface.
    spine : float
        How far the front of the spine lies behind the middle.
    scoliosis : float
        Sideways swing of the spine.
    """

    sex: str
    age: int
    half: tuple[float, float]
    square: float
    fat: float
    wall: float
    lean: float
    swing: np.ndarray
    liver: float
    lobe: tuple[float, float]
    reach: float
    shape: Array
    spine: float
    scoliosis: float

    def outline(self, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
        """Return the depth below the skin, and how dorsal a point is: 1 towards the back, -1 towards the belly."""
        rho = np.sqrt(x * x + y * y) + np.float32(1e-3)
        cos, sin = x / rho, y / rho
        a, b = self.half
        p = self.square
        edge = ((np.abs(cos) / a) ** p + (np.abs(sin) / b) ** p) ** np.float32(-1 / p)
        # The back is flat, with a furrow over the spine.
        edge = edge * (1 - 0.06 * np.clip(sin, 0, 1) ** 2 - 0.045 * np.exp(-((cos / 0.12) ** 2)) * (sin > 0))
        theta = np.arctan2(sin, cos)
        for i, k in enumerate((3, 4)):
            edge = edge * (1 + self.swing[2 * i] * np.sin(k * theta + self.swing[2 * i + 1]))
        widen = 1 + 0.012 * np.tanh((z + 12) / 8)
        return ((edge * widen - rho) * (0.8 + 0.2 * np.abs(sin))).astype(np.float32), sin

    def cavity(self, x: Array, y: Array, z: Array) -> Array:
        """Return the depth below the inner side of the wall of chest and belly."""
        depth, dorsal = self.outline(x, y, z)
        back = np.exp(-((np.arccos(np.clip(dorsal, -1, 1)) / 0.42) ** 2))  # the muscles along the spine
        front = np.clip(-dorsal, 0, 1) ** 2
        skin = self.fat * (1 + 0.5 * front - 0.3 * back)
        return (depth - skin - self.wall * (1 - 0.25 * front) - 3.4 * back).astype(np.float32)

    def diaphragm(self, x: Array, y: Array, z: Array) -> Array:
        """Return how far below the diaphragm a point lies (along z), negative in the chest."""
        flat = np.full((1, 1, 1), -6, np.float32)
        inner = self.cavity(x, y, flat)
        rho = np.sqrt(x * x + y * y) + np.float32(1e-3)
        top = -3.2 + 3.2 * np.exp(-(((x + 7.0) / 6.0) ** 2)) + 2.0 * np.exp(-(((x - 7.5) / 5.0) ** 2))
        drop = 6.5 + 5.5 * np.clip(y / rho, 0, 1) - 3.0 * np.clip(-y / rho, 0, 1)
        surface = top - drop * (1 - np.clip(inner / 6.5, 0, 1)) ** 2.6
        return (surface - z).astype(np.float32)

    def hepatic(self, x: Array, y: Array, z: Array) -> Array:
        """Return the depth below the surface of the liver."""
        right, left = self.lobe
        low = -7.6 - 0.5 * (self.reach - 1) * 9
        lobe = blob((-7.2, 0.2, low), (8.6 * right, 9.2 * right, 9.2 * self.reach), 0.25, self.shape)[0](x, y, z)
        other = blob((0.8, -4.6, -4.6), (8.8 * left, 4.3 * left, 5.0 * left), -0.12, self.shape)[0](x, y, z)
        # The surface that faces stomach, kidney and bowel is hollow, and rises from right to left.
        hollow = blob((4.0, 5.2, -8.0), (8.0, 6.4, 14.0))[0](x, y, z)
        aside = np.clip(x + 11.0, 0, None)
        under = (z + 16.5) - 0.45 * aside - 0.022 * aside**2 - 0.045 * (y - 1.5) ** 2
        facing = _soft(-hollow, 0.75 * under, 1.5)
        inside = np.minimum(self.cavity(x, y, z) - 0.15, self.diaphragm(x, y, z) * 0.6)
        return _soft(_soft(-_soft(-lobe, -other, 1.5), facing, 1.2), inside, 0.5).astype(np.float32)


def _soft(a: Array, b: Array, width: float) -> Array:
    """Return the smaller of two depths, with a round edge where they meet."""
    meet = np.clip(1 - np.abs(a - b) / np.float32(width), 0, None)
    return np.minimum(a, b) - np.float32(width / 4) * meet * meet


@dataclass(frozen=True)
class Scan:
    """What a scan adds to the body; all of it independent of disease.

    Attributes
    ----------
    contrast : float
        Enhancement by contrast medium, 0 (none) to 1.2; the phase is the portal venous one.
    breath : float
        How much higher than at rest the organs stand, in cm.
    shift : tuple of float
        Where the body lies from the middle of the field, in cm.
    noise : float
        Standard deviation in HU behind 30 cm of body.
    sharp : float
        Blur of the noise in cm: a sharp kernel has little.
    couch : float
        Curvature of the couch per cm; 0 is flat.
    drink : float
        HU of what stomach and bowel hold.
    """

    contrast: float
    breath: float
    shift: tuple[float, float]
    noise: float
    sharp: float
    couch: float
    drink: float


def draw_scan(rng: Generator) -> Scan:
    """Draw a scan."""
    return Scan(
        contrast=float(rng.uniform(0.55, 1.2)) if rng.random() < 0.85 else 0.0,
        breath=float(rng.normal(0, 0.6)),
        shift=(float(rng.normal(0, 0.6)), float(rng.normal(0, 0.8))),
        noise=float(np.exp(rng.normal(2.55, 0.25))),
        sharp=float(rng.uniform(0.04, 0.09)),
        couch=float(rng.uniform(0.004, 0.011)),
        drink=float(rng.choice([15.0, 30.0, 220.0])),
    )


def draw_abdomen(rng: Generator) -> Abdomen:
    """Draw a patient; nothing here knows whether there are tumours."""
    sex = "F" if rng.random() < 0.45 else "M"
    habitus = float(rng.beta(2.0, 2.6))
    size = float(rng.normal(0.96 if sex == "F" else 1.03, 0.03))
    fat = 0.7 + (3.0 if sex == "F" else 2.2) * habitus
    return Abdomen(
        sex=sex,
        age=int(np.clip(rng.normal(60, 13), 22, 90)),
        half=((14.6 + 0.95 * fat) * size, (9.9 + 1.0 * fat + 1.2 * habitus) * size),
        square=float(rng.uniform(2.15, 2.6)),
        fat=fat,
        wall=float(rng.uniform(1.0, 1.45)),
        lean=float(np.clip(1 - habitus + rng.normal(0, 0.15), 0, 1)),
        swing=np.array([rng.normal(0, 0.012), rng.uniform(0, 6.3), rng.normal(0, 0.009), rng.uniform(0, 6.3)]),
        liver=float(np.clip(rng.normal(58, 6) - (22 * habitus if rng.random() < 0.3 else 0), 25, 70)),
        lobe=(float(rng.normal(1.0, 0.04)), float(rng.normal(1.0, 0.1))),
        reach=float(rng.normal(1.0, 0.08)),
        shape=lumps(rng, 5, 0.035, (2.0, 5.0)),
        spine=float(rng.normal(2.9, 0.3)) * size,
        scoliosis=float(rng.normal(0, 0.3)),
    )


def draw_tumours(rng: Generator, body: Abdomen) -> tuple[Tumour, ...]:
    """Draw one to seven tumours inside of the patient's liver: mostly few, mostly small."""
    found: list[Tumour] = []
    count = 1 + min(6, int(rng.geometric(0.42)) - 1)
    drop = float(rng.uniform(28, 60))
    for attempt in itertools.count():
        if len(found) == count or (found and attempt > 400):
            break
        radius = float(np.clip(np.exp(rng.normal(0.2, 0.55)), 0.5, 4.5)) * (0.8 if count > 2 else 1.0)
        radius = max(0.3, radius * 0.99**attempt)  # a small liver takes a small one in the end
        at = rng.uniform((-15, -9, -15), (8, 8, -1))
        point = [np.full((1, 1, 1), v, np.float32) for v in at]
        apart = all(np.hypot.reduce(np.subtract(at, t.centre)) > 0.8 * (radius + t.radius) for t in found)
        if float(body.hepatic(*point)[0, 0, 0]) < 0.35 * radius + 0.2 or not apart:
            continue
        found.append(
            Tumour(
                centre=(float(at[0]), float(at[1]), float(at[2])),
                radius=radius,
                stretch=tuple(float(v) for v in rng.uniform(0.82, 1.2, 3)),  # type: ignore[arg-type]
                lumps=lumps(rng, 6, 0.16, (1.5, 5.0)),
                drop=drop + float(rng.normal(0, 5)),
                core=float(rng.uniform(0, 28)) if rng.random() < 0.5 else 0.0,
                rim=float(rng.uniform(8, 30)) if rng.random() < 0.4 else 0.0,
            )
        )
    return tuple(found)
