"""Stomach and bowel of a CT volume: other at each scan."""

import numpy as np
from numpy.random import Generator

from cbir_cli.phantom._abdomen import Abdomen, Scan
from cbir_cli.phantom._volume import Array, Depth, Volume, Within, blob, lumps, tube


def bowel(volume: Volume, body: Abdomen, scan: Scan, rng: Generator, below: Within) -> None:
    """Paint loops of small bowel and colon, with fluid, gas and stool, and the vessels of their fat."""
    inside: Depth
    count = int(62 + 22 * body.lean)
    for i in range(count):
        colon = i < 16
        across = float(rng.uniform(-12.5, 12.5))
        front = float(rng.uniform(-9, 1.5))
        up = float(rng.uniform(-23, -9.5 if across > -4 else -13.0))
        if colon:  # the frame: up on the right, across, down on the left
            across = float(rng.choice([-10.5, 10.5])) + float(rng.normal(0, 1)) if i < 9 else across
            front = float(rng.uniform(-2, 3)) if i < 9 else float(rng.uniform(-9, -6))
        radius = float(rng.uniform(1.8, 2.9) if colon else rng.uniform(1.0, 1.6))
        long = radius * float(rng.uniform(1.0, 2.2))
        shape, a, b = blob(
            (across, front, up),
            (long, radius, radius * float(rng.uniform(0.9, 1.8))),
            float(rng.uniform(0, 3.1)),
            lumps(rng, 4, 0.16, (2.0, 5.0)),
        )
        inside = below(shape)
        wall = 0.18 + 0.1 * float(rng.random())
        volume.paint(inside, 45 + 45 * scan.contrast, a, b)
        fill = scan.drink + float(rng.normal(0, 12)) if not colon else float(rng.uniform(-20, 60))
        gas = rng.random() < (0.5 if colon else 0.12)
        stool = rng.uniform(0.4, 1.0) * 500 if colon and rng.random() < 0.5 else 0.0
        phases = rng.uniform(0, 6.3, 6)

        def content(
            x: Array, y: Array, z: Array, fill: float = fill, stool: float = float(stool), p: np.ndarray = phases
        ) -> Array:
            # Waves that bend one another look like no pattern.
            u = x + 0.35 * np.sin(3.7 * y + p[0]) + 0.3 * np.sin(3.1 * z + p[1])
            v = y + 0.35 * np.sin(4.3 * x + p[2]) + 0.3 * np.sin(2.3 * z + p[3])
            mottle = np.sin(6.1 * u + 2.2 * v + p[4]) * np.sin(5.3 * v - 2.9 * u + p[5]) + 0.5 * np.sin(13 * u + 9 * v)
            return (fill - stool * np.clip(mottle + 0.15, 0, 1)).astype(np.float32)

        def lumen(x: Array, y: Array, z: Array, inside: Depth = inside, wall: float = wall) -> Array:
            return (inside(x, y, z) - wall).astype(np.float32)

        volume.paint(lumen, content, a, b)
        if gas:
            level = front - float(rng.uniform(-0.5, 0.7)) * radius

            def bubble(x: Array, y: Array, z: Array, lumen: Depth = lumen, level: float = level) -> Array:
                return np.minimum(lumen(x, y, z), level - y).astype(np.float32)

            volume.paint(bubble, -960.0, a, b)
    for _ in range(45):
        start = (float(rng.uniform(-10, 10)), float(rng.uniform(-8, 2)), float(rng.uniform(-21, -8)))
        end = (start[0] + float(rng.normal(0, 1.2)), start[1] + float(rng.normal(0, 1)), start[2] - 2.0)
        shape, a, b = tube(start, end, float(rng.uniform(0.12, 0.28)), 0.1)
        volume.paint(below(shape), 45 + 90 * scan.contrast, a, b)


def stomach(volume: Volume, scan: Scan, rng: Generator, below: Within) -> None:
    """Paint the stomach, with a bubble over the level of what was drunk."""
    size = float(rng.uniform(0.8, 1.15))
    shape, a, b = blob((6.6, -2.2, -6.0), (5.4 * size, 3.6 * size, 6.0), 0.4, lumps(rng, 4, 0.08))
    inside: Depth = below(shape)
    volume.paint(inside, 50 + 40 * scan.contrast, a, b)

    def lumen(x: Array, y: Array, z: Array) -> Array:
        return (inside(x, y, z) - 0.4).astype(np.float32)

    volume.paint(lumen, scan.drink, a, b)
    level = -2.2 + float(rng.uniform(-2.8, -0.6)) * size
    volume.paint(lambda x, y, z: np.minimum(lumen(x, y, z), level - y).astype(np.float32), -980.0, a, b)
