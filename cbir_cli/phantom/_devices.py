"""Tubes, wires and boxes: drawn with rates that depend on the view, never on the disease."""

import numpy as np
from numpy.random import Generator

from cbir_cli.phantom._anatomy import Patient
from cbir_cli.phantom._canvas import Cloud, curve, ribbon

RATES = {
    "tube": (0.22, 0.0),
    "feeding": (0.25, 0.01),
    "line": (0.35, 0.06),
    "leads": (0.55, 0.05),
    "drain": (0.05, 0.01),
}
"""Chance of each device in AP and in PA films."""


def draw_devices(rng: Generator, view: str, permanent: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the devices in a study."""
    chance = rng.random(len(RATES))
    present = [name for (name, rate), c in zip(RATES.items(), chance, strict=True) if c < rate[view == "PA"]]
    return (*permanent, *present)


def devices(names: tuple[str, ...], patient: Patient, pitch: float, rng: Generator, fixed: Generator) -> list[Cloud]:
    """Return the clouds of some devices; ``fixed`` draws the permanent ones, alike in every study of a patient."""
    clouds: list[Cloud] = []
    for name in names:
        source = fixed if name in patient.permanent else rng
        clouds += _DRAW[name](source, patient.scale, pitch)
    return clouds


def _hose(
    control: list[tuple[float, float]], k: float, pitch: float, width: float, peak: float, hollow: float = 0.3
) -> Cloud:
    path = curve([(x * k, y * k) for x, y in control], int(45 / pitch))
    return ribbon(path, width, peak, pitch, hollow=hollow)


def _disc(x: float, y: float, radius: float, peak: float, pitch: float) -> Cloud:
    steps = np.arange(-radius, radius + pitch, 0.7 * pitch)
    points = np.stack(np.meshgrid(x + steps, y + steps), axis=-1).reshape(-1, 2)
    points = points[np.hypot(points[:, 0] - x, points[:, 1] - y) <= radius]
    return points.astype(np.float32), np.full(len(points), peak * (0.7 * pitch) ** 2, np.float32)


def _tube(rng: Generator, k: float, pitch: float) -> list[Cloud]:
    x, tip = rng.normal(0.35, 0.2), rng.uniform(-7.5, -4.5)
    path = [(x + rng.normal(0, 1), -20.0), (x, -14.0), (x + 0.1, tip)]
    return [_hose(path, k, pitch, 0.42, 0.7, hollow=1.0), _hose([(a + 0.3, b) for a, b in path], k, pitch, 0.06, 1.6)]


def _feeding(rng: Generator, k: float, pitch: float) -> list[Cloud]:
    x = rng.normal(0.3, 0.3)
    path = [
        (x + 0.5, -20.0),
        (x - 0.6, -8.0),
        (x + 0.4, 2.0),
        (x + 1.5, 10.0),
        (rng.uniform(4, 8), rng.uniform(11, 15)),
    ]
    return [_hose(path, k, pitch, 0.16, 1.3)]


def _line(rng: Generator, k: float, pitch: float) -> list[Cloud]:
    side = rng.choice([-1.0, 1.0], p=[0.7, 0.3])
    start = (side * rng.uniform(3.5, 5), -20.0) if rng.random() < 0.5 else (side * rng.uniform(13, 17), -9.0)
    tip = (rng.normal(-2.2, 0.3), rng.uniform(-2.0, 3.0))
    path = [start, (side * 4.0, -12.0), (-1.0 if side < 0 else 0.5, -9.5), (-2.4, -5.0), tip]
    return [_hose(path, k, pitch, 0.13, 1.3)]


def _leads(rng: Generator, k: float, pitch: float) -> list[Cloud]:
    clouds = []
    hub = (rng.uniform(-3, 3), rng.uniform(16, 21)) if rng.random() < 0.6 else (rng.uniform(-16, 16), -20.0)
    spots = [(-9.0, -8.0), (9.0, -8.0), (-10.5, 7.5), (10.5, 7.0), (1.5, 1.0)]
    for x, y in spots[: rng.integers(3, 6)]:
        x, y = x + rng.normal(0, 1.3), y + rng.normal(0, 1.5)
        bend = ((x + hub[0]) / 2 + rng.normal(0, 4), (y + hub[1]) / 2 + rng.normal(0, 3))
        clouds += [_hose([(x, y), bend, hub], k, pitch, 0.09, 1.2), _disc(x * k, y * k, 0.45, 2.2, pitch)]
    return clouds


def _drain(rng: Generator, k: float, pitch: float) -> list[Cloud]:
    side = rng.choice([-1.0, 1.0])
    path = [(side * 17.0, 8.0), (side * 11.0, 6.0), (side * 8.5, 0.0), (side * rng.uniform(6, 9), rng.uniform(-9, -3))]
    return [_hose(path, k, pitch, 0.3, 0.9, hollow=1.0), _hose([(x + 0.25, y) for x, y in path], k, pitch, 0.06, 1.8)]


def _pacemaker(rng: Generator, k: float, pitch: float) -> list[Cloud]:
    side = rng.choice([-1.0, 1.0], p=[0.15, 0.85])
    x, y = side * rng.uniform(9.5, 11.5), rng.uniform(-9, -7)
    box = [_disc((x + d) * k, (y + 0.4 * d) * k, 1.7, 4.0, pitch) for d in (-0.6, -0.2, 0.2, 0.6)]
    vein = [(x, y - 1), (side * 6, -12.5), (-1.5, -9.0), (-2.6, -1.0)]
    leads = [_hose([*vein, (-1.0, 6.0), (rng.uniform(3.5, 5), rng.uniform(7, 8.5))], k, pitch, 0.12, 2.0)]
    if rng.random() < 0.6:
        leads.append(_hose([*vein, (-3.0, 3.0)], k, pitch, 0.12, 2.0))
    return box + leads


def _wires(rng: Generator, k: float, pitch: float) -> list[Cloud]:
    clouds = []
    for y in np.arange(-8.5, 5, 2.7) + rng.normal(0, 0.3, 5):
        x, r = rng.normal(0, 0.2), rng.uniform(0.5, 0.8)
        clouds.append(
            _hose(
                [(x - r, y), (x - r, y - 1.1), (x + r, y - 1.1), (x + r, y), (x - r, y + 0.8), (x, y)],
                k,
                pitch,
                0.07,
                2.6,
            )
        )
    return clouds


def _port(rng: Generator, k: float, pitch: float) -> list[Cloud]:
    side = rng.choice([-1.0, 1.0], p=[0.8, 0.2])
    x, y = side * rng.uniform(7.5, 9.5), rng.uniform(-8, -6)
    path = [(x, y), (side * 6.5, -13.0), (-1.5, -10.0), (-2.4, -5.0), (-2.3, rng.uniform(-1, 2))]
    return [
        _disc(x * k, y * k, 1.1, 2.0, pitch),
        _disc(x * k, y * k, 0.5, 1.5, pitch),
        _hose(path, k, pitch, 0.13, 1.2),
    ]


_DRAW = {
    "tube": _tube,
    "feeding": _feeding,
    "line": _line,
    "leads": _leads,
    "drain": _drain,
    "pacemaker": _pacemaker,
    "wires": _wires,
    "port": _port,
}
