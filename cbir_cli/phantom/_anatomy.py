"""Who the patient is: a chest drawn once for all of the patient's studies, and what changes from study to study."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cbir_cli.phantom._canvas import Array, Cloud, curve, ribbon
from cbir_cli.phantom._opacities import NONE, Disease

RIGHT, LEFT = 0, 1
"""Index of a side in every pair; the patient's right is on the viewer's left."""

PERMANENT = {"pacemaker": 0.07, "wires": 0.09, "port": 0.06}
"""Devices that stay for all studies of a patient, and how many patients have them."""


@dataclass(frozen=True)
class Patient:
    """A body at rest. Lengths in cm; pairs are (right, left).

    Attributes
    ----------
    sex, age : str, int
        ``F`` or ``M``; years at the first study.
    scale : float
        Size of the skeleton with respect to the average adult.
    width : float
        Half the inner width of the thorax at its widest.
    depth : float
        Largest path of the beam through one lung.
    wall : float
        Soft tissue outside of the ribs, front and back together: habitus.
    density : float
        Density of aerated lung, water = 1.
    heart : float
        Half the width of the heart's long axis.
    tilt : float
        Angle of the heart's long axis below the horizontal, in radians.
    dome : pair of float
        Height of the domes of the diaphragm (``y``).
    drop : pair of float
        From the top of the dome down to the costophrenic angle: a deep or a shallow angle.
    breast : float
        Largest thickness of a breast, 0 for none.
    knob : float
        Radius of the aortic knob.
    scoliosis : float
        Sideways swing of the spine.
    bones, vessels : clouds
        Drawn once: the same ribs and vessels in every study.
    permanent : tuple of str
        Devices that stay: pacemaker, wires, port.
    """

    sex: str
    age: int
    scale: float
    width: float
    depth: float
    wall: float
    density: float
    heart: float
    tilt: float
    dome: tuple[float, float]
    drop: tuple[float, float]
    breast: float
    knob: float
    scoliosis: float
    permanent: tuple[str, ...]
    bones: list[Cloud] = field(default_factory=list, repr=False)
    vessels: list[Cloud] = field(default_factory=list, repr=False)

    @property
    def apex(self) -> float:
        """Height (``y``) of the top of the lungs."""
        return -13.2 * self.scale

    def half_width(self, y: NDArray[np.float64] | Array) -> NDArray[np.float64]:
        """Inner half width of the thorax at height ``y``."""
        s = np.clip((y - self.apex) / (20.5 * self.scale), 0, 1)
        return 2.8 + (self.width - 2.8) * np.sqrt(1 - (1 - s) ** 2.05)


def draw_patient(rng: Generator, pitch: float) -> Patient:
    """Draw a patient. Nothing here knows about disease, so no feature of the body can give it away.

    Parameters
    ----------
    rng : Generator
        Only source of randomness.
    pitch : float
        Distance between the points that bones and vessels are made of, in cm: about a pixel.
    """
    sex = "F" if rng.random() < 0.46 else "M"
    age = int(np.clip(rng.normal(54, 17), 18, 94))
    scale = float(np.clip(rng.normal(0.95 if sex == "F" else 1.02, 0.035), 0.85, 1.12))
    width = float(rng.normal(12.9, 0.7)) * scale
    habitus = float(rng.beta(1.6, 2.6))
    right = float(rng.normal(8.2, 0.8))
    bare = Patient(
        sex=sex,
        age=age,
        scale=scale,
        width=width,
        depth=float(rng.normal(14.5, 1.3)) * scale,
        wall=2.2 + 7.0 * habitus,
        density=float(rng.uniform(0.18, 0.34)),
        heart=float(rng.normal(6.6, 0.55) + 0.012 * (age - 50)) * scale,
        tilt=float(rng.normal(0.62, 0.13) - 0.25 * habitus),
        dome=(right, right + float(rng.normal(1.0, 0.5))),
        drop=(float(rng.uniform(2.6, 5.2)), float(rng.uniform(2.6, 5.2))),
        breast=float(rng.uniform(1.2, 4.5)) if sex == "F" else float(rng.uniform(0, 0.8)),
        knob=float(rng.normal(1.7, 0.2) + 0.008 * (age - 50)),
        scoliosis=float(rng.normal(0, 0.45)),
        permanent=tuple(name for name, rate in PERMANENT.items() if rng.random() < rate),
    )
    return replace(bare, bones=_ribs(bare, rng, pitch), vessels=_vessels(bare, rng, pitch))


def _ribs(patient: Patient, rng: Generator, pitch: float) -> list[Cloud]:
    """Ten pairs of ribs from the spine around the chest to the front, where cartilage does not show."""
    k = patient.scale
    slope = rng.normal(10.5, 1.0) * k
    gap = rng.normal(2.42, 0.08) * k
    bone = rng.normal(0.72, 0.1) * (1.12 - 0.004 * (patient.age - 20))
    theta = np.linspace(0.07, np.pi * 0.83, int(34 / pitch))
    number = np.arange(1, 11)[:, None]
    first = -14.3 * k + number * gap + rng.normal(0, 0.08, (10, 1))
    # From the spine a rib first rises a little, then falls; the upper ribs are short and steep.
    fall = slope * (0.62 + 0.05 * number) * (theta / np.pi) ** 1.5
    front = theta / theta[-1]
    clouds = []
    for side in (-1, 1):
        y = first + fall - 0.9 * k * np.sin(theta * 1.6) + rng.normal(0, 0.07, (10, 1))
        reach = patient.half_width(y) + 0.35
        path = np.stack([side * reach * np.sin(theta) ** 0.82, y], axis=-1)
        thick = bone * (1.3 - 0.5 * front) * np.clip(front / 0.03, 0, 1) * np.clip((1 - front) / 0.06, 0, 1)
        width = (0.56 + 0.12 * front) * k
        clouds.append(ribbon(path, width, thick, pitch, hollow=0.5, depth=-0.62 * reach * np.cos(theta)))
    return clouds


def _vessels(patient: Patient, rng: Generator, pitch: float) -> list[Cloud]:
    """Pulmonary vessels: trees that branch from the hila and thin out, and a mesh too fine to follow."""
    k = patient.scale
    clouds = []
    for side in (-1, 1):
        root = np.array([side * 3.6, -1.2 if side < 0 else -1.9]) * k
        angle = np.linspace(-1.25, 1.5, 9) + rng.normal(0, 0.09, 9)
        start = root + rng.normal(0, 0.6, (9, 2))
        heading = angle if side > 0 else np.pi - angle
        radius = rng.uniform(0.26, 0.42, 9)
        length = rng.uniform(2.2, 3.6, 9) * k * (1 + 0.35 * (angle > 0.7))
        for _ in range(5):
            t = np.linspace(0, 1, int(np.max(length) / pitch) + 4)
            bend = heading[:, None] + rng.normal(0, 0.42, len(heading))[:, None] * t
            step = (length / (len(t) - 1))[:, None, None] * np.stack([np.cos(bend), np.sin(bend)], axis=-1)
            path = start[:, None] + np.cumsum(step, axis=1) - step[:, :1]
            taper = radius[:, None] * (1 - 0.25 * t)
            clouds.append(ribbon(path, taper, 2.8 * taper, pitch))
            spread = rng.uniform(0.22, 0.6, len(heading))
            heading = np.concatenate([bend[:, -1] - spread, bend[:, -1] + spread * rng.uniform(0.4, 1, len(heading))])
            start = np.tile(path[:, -1], (2, 1))
            radius = np.tile(radius, 2) * rng.uniform(0.58, 0.8, len(start))
            length = np.tile(length, 2) * rng.uniform(0.6, 0.95, len(start))
    count = 700
    middle = np.stack([rng.uniform(-13, 13, count), rng.uniform(-13, 13, count)], axis=-1)
    turn = rng.uniform(0, np.pi, count)
    reach = np.linspace(-1, 1, int(1.4 / pitch) + 2)[None, :, None] * rng.uniform(0.2, 1.0, (count, 1, 1))
    mesh = middle[:, None] + reach * np.stack([np.cos(turn), np.sin(turn)], axis=-1)[:, None]
    clouds.append(ribbon(mesh, 0.09, rng.uniform(0.05, 0.5, (count, 1)), pitch))
    return clouds


def clavicles(patient: Patient, lift: float, pitch: float) -> list[Cloud]:
    """Collar bones; ``lift`` raises them, as in a film taken from below."""
    k = patient.scale
    bones = []
    for side in (-1, 1):
        control = [(1.7, -9.6), (5.5, -8.8), (9.5, -13.8), (16.2, -12.6)]
        path = curve([(side * x * k, (y - lift) * k) for x, y in control], int(20 / pitch))
        ends = np.clip(np.linspace(0, 12, len(path)), 0, 1) * np.clip(np.linspace(10, 0, len(path)), 0, 1)
        bones.append(ribbon(path, 0.62 * k, 1.7 * ends, pitch, hollow=0.45))
    return bones


@dataclass(frozen=True)
class Study:
    """What one study adds to the body: view, posture, breath, pose, fluid and what looks like fluid.

    Attributes
    ----------
    view : str
        ``AP`` or ``PA``.
    recumbent : float
        0 erect .. 1 supine: fluid then spreads behind the lung instead of pooling at its base.
    breath : float
        How much higher the diaphragm stands than in full inspiration, in cm.
    turn : float
        Rotation of the patient about the long axis, as a sideways shift of the mediastinum, in cm.
    severity : pair of float
        Right and left, 0 (none) .. 1 (all but the apex is drowned).
    raised : pair of float
        Height of a raised half of the diaphragm, in cm: looks like fluid, but keeps its sharp angle.
    band : pair of float
        Thickness of a band of collapsed lung at the base, in cm of water.
    patch : pair of float
        Thickness of a blurred opacity in the lower zone, in cm of water.
    pad : pair of float
        Thickness of a fat pad beside the heart, in cm of water.
    bubble : float
        Relative size of the gas in the stomach, 0 for none.
    disease : Disease
        What there is beside fluid.
    """

    view: str
    recumbent: float
    breath: float
    turn: float
    severity: tuple[float, float] = (0.0, 0.0)
    raised: tuple[float, float] = (0.0, 0.0)
    band: tuple[float, float] = (0.0, 0.0)
    patch: tuple[float, float] = (0.0, 0.0)
    pad: tuple[float, float] = (0.0, 0.0)
    bubble: float = 0.0
    disease: Disease = NONE


def draw_study(rng: Generator, severity: tuple[float, float], disease: Disease = NONE) -> Study:
    """Draw a study. All that it draws is independent of ``severity`` and ``disease``: confounders tell nothing."""

    def sometimes(rate: float, low: float, high: float) -> tuple[float, float]:
        right, left = (float(rng.uniform(low, high)) if hit else 0.0 for hit in rng.random(2) < rate)
        return right, left

    frontal = rng.random() < 0.55
    supine = 0.0 if frontal or rng.random() < 0.6 else float(rng.uniform(0.3, 1.0))
    return Study(
        view="PA" if frontal else "AP",
        recumbent=supine,
        breath=float(np.clip(rng.normal(0.4, 0.7) if frontal else rng.normal(1.9, 1.0), -0.8, 4.5)),
        turn=float(rng.normal(0, 0.45)),
        severity=severity,
        raised=sometimes(0.12, 1.2, 4.0),
        band=sometimes(0.14, 0.8, 2.2),
        patch=sometimes(0.09, 1.0, 3.0),
        pad=sometimes(0.15, 1.0, 3.0),
        bubble=float(rng.uniform(0.5, 1.3)) if rng.random() < 0.65 else 0.0,
        disease=disease,
    )
