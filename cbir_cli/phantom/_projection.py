"""Water-equivalent thickness of a chest along the beam, fluid included.

A radiograph is the shadow of thickness, so each organ is a thickness: the body a flattened cylinder, each lung the air
that it takes out of it, the heart and the great vessels what they take out of the lung, bone and devices what they add.
Pleural fluid is a shell between lung and chest wall that thickens downwards. Seen along the beam, such a shell is
densest where it is grazed, at the side: this alone gives the meniscus that rises laterally and the blunted
costophrenic angle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cbir_cli.phantom._anatomy import LEFT, RIGHT, Patient, Study, clavicles
from cbir_cli.phantom._canvas import Array, Canvas, Cloud
from cbir_cli.phantom._opacities import MASK_SHARE as HAZE
from cbir_cli.phantom._opacities import Place, filled

POOL_REACH = 18.0
"""How far fluid of severity 1 stands above the costophrenic angle, in cm (erect)."""

MASK_DEPTH, MASK_SHARE = 1.0, 0.4
"""Fluid is lesion where the beam crosses at least so many cm of it, and it has taken this share of the air's place."""


@dataclass(frozen=True)
class Shadow:
    """What the beam meets.

    Attributes
    ----------
    thickness : ndarray (size, size), float32
        Water-equivalent path in cm, 0 in air.
    fluid : ndarray (size, size), float32
        Path through pleural fluid in cm.
    lesion : ndarray (size, size), bool
        Where there is enough of it to be seen.
    left : ndarray (size, size), bool
        Pixels of the patient's left half.
    found : mapping of str to ndarray (size, size), bool
        Where the findings beside fluid are to be seen.
    """

    thickness: Array
    fluid: Array
    lesion: NDArray[np.bool_]
    left: NDArray[np.bool_]
    found: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


def fluid_level(severity: float, recumbent: float = 0.0) -> float:
    """Return how high the fluid's pool stands above the costophrenic angle, in cm; 0 without fluid.

    Lying down spreads it out behind the lung, and the pool is lower.
    """
    if severity <= 0:
        return 0.0
    return float((1.0 + POOL_REACH * severity) * (1 - 0.55 * recumbent))


def project(patient: Patient, study: Study, canvas: Canvas, extra: list[Cloud]) -> Shadow:
    """Return the thickness that the beam meets, bones, vessels and ``extra`` (devices inside the body) included."""
    k = patient.scale
    x, y = canvas.grid()
    spine = (patient.scoliosis * np.sin(y * 0.16)).astype(np.float32)
    left = x > spine
    lungs = _Lungs(patient, study, x, y, left)
    heart = _heart(patient, study, x, y)
    great = _great_vessels(patient, study, x, y)
    fill = np.maximum(heart, great)

    dry = np.maximum(lungs.dry - fill, 0)
    air = np.maximum(lungs.wet - fill, 0)
    fluid = dry - air
    vessels = canvas.splat(patient.vessels)
    found = {}
    for name, share in filled(study.disease, Place(*lungs.place, left), vessels).items():
        found[name] = (share >= HAZE) & (dry >= 0.15 * patient.depth)
        air = air * (1 - share)
    if study.disease.cardiomegaly:
        found["cardiomegaly"] = (heart > 1) & (y > -2 * k)
    aerated = np.clip(air / (0.25 * patient.depth), 0, 1)

    thickness = _body(patient, study, x, y)
    contrast = 1 - patient.density
    thickness = thickness - contrast * np.minimum(air, thickness * 0.8)
    thickness += aerated * (vessels + lungs.opacity)
    thickness += lungs.pad
    thickness -= _gas(patient, study, x, y, spine)
    thickness += _spine_thickness(k, x - spine, y)
    thickness += canvas.splat(
        [*patient.bones, *clavicles(patient, 0.9 if study.view == "AP" else 0.0, canvas.pixel), *extra]
    )
    thickness += _scapulae(patient, study, x, y)
    lesion = (fluid >= MASK_DEPTH) & (fluid >= MASK_SHARE * dry)
    return Shadow(np.maximum(thickness, 0), fluid, lesion, left, found)


class _Lungs:
    """Air along the beam, without (`dry`) and with (`wet`) fluid, and the opacities at the bases, all (size, size)."""

    def __init__(self, patient: Patient, study: Study, x: Array, y: Array, left: NDArray[np.bool_]) -> None:
        k = patient.scale

        def pick(pair: tuple[float, float]) -> Array:
            return np.where(left, np.float32(pair[LEFT]), np.float32(pair[RIGHT]))

        side = np.abs(x)
        wall = patient.half_width(y).astype(np.float32)
        s = np.clip((y - patient.apex) / (8 * k), 0, 1)
        depth = (patient.depth * np.sqrt(s)).astype(np.float32)

        # Medial border: the mediastinum, wider towards the diaphragm.
        border = (2.0 + 0.25 * np.clip(y / 8, 0, 1)) * k + np.where(left, study.turn, -study.turn)
        medial = np.sqrt(np.clip((side - border) / (3.2 * k), 0, 1))

        # Domes of the diaphragm; lung that hangs behind a dome still shows faintly through it.
        raised = pick(study.raised)
        top = (pick(patient.dome) - study.breath - raised) * np.float32(k)
        drop = pick(patient.drop) * np.float32(k) + 0.55 * raised
        middle = 0.5 * patient.width
        lateral = np.clip((side - middle) / (patient.width - middle), 0, 1.15)
        inner = np.clip((middle - side) / middle, 0, 1)
        dome = top + drop * (lateral**2.4 + 0.3 * inner**2)
        behind = 1 - np.clip((y - dome) / (5.5 * k), 0, 1) ** 0.25

        angle = top + drop  # the costophrenic angle

        def path(shell: Array | float) -> Array:
            across = np.clip(side / np.maximum(wall - shell, 0.3), 0, 1)
            return np.maximum(depth * np.sqrt(1 - across**2) - 1.2 * shell, 0)

        # The shell grows by a factor e for every `rise` cm downwards and is about 1 cm thick at the pool's level.
        levels = [fluid_level(v, study.recumbent) for v in study.severity]
        level = angle - pick((levels[0], levels[1])) * np.float32(k)
        amount = pick(study.severity)
        rise = 1.1 + 1.6 * amount
        shell = np.where(amount > 0, np.exp(np.minimum((y - level) / rise, 3.2)), 0).astype(np.float32)
        veil = study.recumbent * amount * 6.5 * np.clip((y - level + 12) / 16, 0, 1)

        height = (y - np.float32(patient.apex)) / np.maximum(top - np.float32(patient.apex), 1)
        self.place = height.astype(np.float32), (side / wall).astype(np.float32)
        bounded = medial * behind
        self.dry = path(0.0) * bounded
        self.wet = np.maximum(path(shell) - veil, 0) * bounded

        # Bands of collapsed lung, patches, fat pads: what else is white at a base.
        over = y - (top - 1.6 * k) + 0.25 * (side - middle)
        band = pick(study.band) * np.exp(-((over / 0.45) ** 2)) * (np.abs(side - middle) < 4.2)
        patch = pick(study.patch) * np.exp(-(((side - 0.95 * middle) / 3.0) ** 2) - ((y - top + 3.0 * k) / 2.4) ** 2)
        self.opacity = (band + patch).astype(np.float32)
        self.pad = (
            pick(study.pad) * np.clip(1 - np.hypot((side - 4.5 * k) / 3.2, (y - top - 0.2) / 2.6) ** 2, 0, 1) ** 0.7
        ).astype(np.float32)


def _ellipse(x: Array, y: Array, centre: tuple[float, float], axes: tuple[float, float], angle: float = 0.0) -> Array:
    """Return the relative chord of an ellipsoid along the beam, 1 in its middle and 0 outside, (size, size)."""
    u, v = x - np.float32(centre[0]), y - np.float32(centre[1])
    cos, sin = np.float32(np.cos(angle) / axes[0]), np.float32(np.sin(angle) / axes[0])
    cos2, sin2 = np.float32(np.cos(angle) / axes[1]), np.float32(np.sin(angle) / axes[1])
    return np.sqrt(np.maximum(1 - (cos * u + sin * v) ** 2 - (cos2 * v - sin2 * u) ** 2, 0))


def _body(patient: Patient, study: Study, x: Array, y: Array) -> Array:
    """Return soft tissue without lungs: trunk, shoulders, neck, arms, breasts."""
    k = patient.scale
    side = np.abs(x)
    outer = patient.width + 1.6 + 0.42 * patient.wall
    axilla = np.clip((-3.5 * k - y) / 4.0, 0, 1)
    half = outer + (22.5 * k - outer) * axilla**1.5
    chord = np.sqrt(np.clip(1 - (side / half) ** 2, 0, 1))
    # Trunk: as deep as a lung and the wall around it; thinner at the shoulders, thicker in the abdomen.
    trunk = (0.98 * patient.depth + patient.wall) * (1 + 0.03 * np.clip(y - 6, 0, 8))
    slope = (-17.5 + 0.18 * np.clip(side - 4, 0, None) + 0.008 * side**2) * k
    thickness = trunk * chord * np.clip((y - slope) / (9.0 * k), 0, 1) ** 0.38
    neck = (8.5 + 0.3 * patient.wall) * np.sqrt(np.clip(1 - (x / ((5.2 + 0.18 * patient.wall) * k)) ** 2, 0, 1))
    thickness = np.where(y < -9, np.maximum(thickness, neck), thickness)
    # Arms: away from the trunk in PA films, along it in AP films.
    lean = 0.62 if study.view == "PA" else 0.16
    arm = 4.0 + 0.2 * patient.wall
    root = 17.2 * k if study.view == "PA" else outer + 0.8 * arm
    off = side - (root + lean * (y + 8 * k))
    limb = 2.0 * arm * np.sqrt(np.clip(1 - (off / arm) ** 2, 0, 1)) * np.clip((y + 10 * k) / 4, 0, 1)
    thickness = np.maximum(thickness, limb)
    shaft = np.clip(1 - (off / 1.25) ** 2, 0, 1)
    thickness += 1.8 * np.sqrt(shaft) * np.clip((y + 9 * k) / 1.0, 0, 1)
    # Breasts: hanging, so their lower edge is the dense and sharp one.
    u, v = (side - 0.62 * patient.width) / 6.4, (y - 5.5 * k) / 5.6
    weight = np.clip(0.55 + 0.45 * v, 0.0, 1)
    thickness += patient.breast * weight * np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    return thickness.astype(np.float32)


def _heart(patient: Patient, study: Study, x: Array, y: Array) -> Array:
    """Return the heart's path: an oblique ellipsoid, the right atrium, the root of the great vessels."""
    k = patient.scale
    grow = 1.16 if study.view == "AP" else 1.0
    long = patient.heart * grow * study.disease.heart
    low = -0.8 * study.breath
    turn = study.turn * 1.6
    shift = 2.2 * (np.clip(study.severity[RIGHT] - 0.6, 0, 1) - np.clip(study.severity[LEFT] - 0.6, 0, 1))
    # The heart rests on the diaphragm: below its middle it is stretched down into it.
    middle = 4.6 * k + low
    resting = np.where(y > middle, middle + 0.5 * (y - middle), y)
    angle = patient.tilt - 0.04 * study.breath
    ventricle = _ellipse(x, resting, (2.1 * k + turn + shift, middle), (long, long * 0.7), angle)
    atrium = _ellipse(x, resting, (-0.9 * k + turn + shift, middle), (3.2 * k * grow, 4.4 * k))
    root = _ellipse(x, y, (0.7 * k + turn, -0.6 * k + low), (3.0 * k, 6.0 * k))
    return np.maximum(np.maximum(11.0 * ventricle, 8.0 * atrium), 8.0 * root).astype(np.float32)


def _great_vessels(patient: Patient, study: Study, x: Array, y: Array) -> Array:
    """Return the aortic knob, the descending aorta and the hila."""
    k, turn = patient.scale, study.turn
    knob = 9.0 * _ellipse(x, y, (2.0 * k + turn, -6.3 * k), (patient.knob, patient.knob * 1.1))
    aorta = 5.5 * np.sqrt(np.clip(1 - ((x - 2.0 * k - turn * 0.5) / (1.25 * k)) ** 2, 0, 1)) * (y > -6 * k)
    hilum = 4.0 * _ellipse(x, y, (-3.0 * k + turn, -0.9 * k), (1.5 * k, 2.3 * k), -0.3)
    other = 4.0 * _ellipse(x, y, (3.3 * k + turn, -2.0 * k), (1.4 * k, 1.9 * k), 0.3)
    return np.maximum(np.maximum(knob, aorta), np.maximum(hilum, other)).astype(np.float32)


def _gas(patient: Patient, study: Study, x: Array, y: Array, spine: Array) -> Array:
    """Return air outside of the lungs: trachea, main bronchi, the stomach's bubble under the left dome."""
    k = patient.scale
    centre = spine + np.float32(0.35 * k + study.turn)
    trachea = 2.3 * np.sqrt(np.clip(1 - ((x - centre) / (0.9 * k)) ** 2, 0, 1)) * np.clip((-3.2 * k - y) / 0.8, 0, 1)
    along, bronchi = y + 3.4 * k, np.float32(0)
    for slope, reach in ((-1.15, 3.2), (1.5, 3.2)):
        off = (x - centre - slope * along) / (0.62 * k * np.hypot(1, slope))
        bronchi = np.maximum(
            bronchi, np.sqrt(np.clip(1 - off**2, 0, 1)) * (along > 0) * np.clip(reach * k - along, 0, 1)
        )
    left_dome = (patient.dome[LEFT] - study.breath - study.raised[LEFT]) * k
    wide, high = 2.6 * k * max(study.bubble, 0.1), 1.7 * k * max(study.bubble, 0.1)
    bubble = _ellipse(x, y, (6.2 * k, left_dome + 1.2 * k + high), (wide, high))
    if study.recumbent == 0:  # erect: the bubble ends in a level
        bubble = bubble * np.clip((left_dome + 1.2 * k + 1.25 * high - y) / 0.2, 0, 1)
    return (trachea + 0.8 * bronchi + 3.0 * study.bubble * bubble).astype(np.float32)


def _spine_thickness(k: float, x: Array, y: Array) -> Array:
    """Return vertebral bodies with their discs, and pedicles."""
    body = np.sqrt(np.clip(1 - np.square(np.square(x / np.float32(2.0 * k))), 0, 1))
    disc = 0.5 + 0.5 * np.cos(y * np.float32(2 * np.pi / (2.35 * k)))
    pedicle = np.exp(-np.square((np.abs(x) - np.float32(1.25 * k)) / 0.35)) * np.clip(1.6 * disc - 0.8, 0, 1)
    return body * (2.3 - np.square(np.square(1 - disc))) + 0.9 * pedicle


def _scapulae(patient: Patient, study: Study, x: Array, y: Array) -> Array:
    """Return shoulder blades and heads of the humerus; in AP films the blades lie over the lungs."""
    k = patient.scale
    side = np.abs(x)
    inward = 0.0 if study.view == "PA" else 3.2 * k
    corners = [(11.6 * k - inward, -12.2 * k), (18.0 * k - 0.6 * inward, -9.6 * k), (13.6 * k - inward, 2.6 * k)]
    inside = np.full(x.shape, np.inf, np.float32)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = np.hypot(bx - ax, by - ay)
        inside = np.minimum(inside, ((bx - ax) * (y - ay) - (by - ay) * (side - ax)) / length)
    plate = np.clip(inside / 0.35, 0, 1) * 0.3 + 0.45 * np.exp(-(((inside - 0.35) / 0.4) ** 2))
    head = _ellipse(side, y, (18.2 * k - 0.5 * inward, -9.4 * k), (2.4 * k, 2.4 * k))
    return (plate + 1.8 * head).astype(np.float32)
