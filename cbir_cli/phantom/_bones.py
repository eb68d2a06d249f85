"""Ribs and spine of a CT volume."""

import numpy as np
from numpy.random import Generator

from cbir_cli.phantom._abdomen import Abdomen
from cbir_cli.phantom._volume import Array, Volume


def skeleton(volume: Volume, body: Abdomen, rng: Generator) -> None:
    """Paint ribs, vertebrae and discs; the generator draws what a patient keeps."""
    gap, slope, first = 3.1, 8.5 + float(rng.normal(0, 0.7)), float(rng.uniform(0, 3.1))
    thick = 0.36 + 0.02 * float(rng.normal())

    def rib(x: Array, y: Array, z: Array) -> Array:
        depth, dorsal = body.outline(x, y, z)
        front = np.arccos(np.clip(dorsal, -1, 1)) / np.float32(np.pi)  # 0 at the spine, 1 in front
        middle = np.where(front < 0.4, body.fat * 0.9 + 0.3 * body.wall, body.fat + 0.45 * body.wall)
        middle = middle + 2.4 * np.exp(-((front / 0.13) ** 2))
        height = z + slope * front**1.2 + first
        number = np.round(height / gap)
        off = height - number * gap
        # The lower ribs are short: their line falls from breastbone to loin.
        short = (front - 0.06) * 14 - 0.5
        margin = (z + 15.0 - 11.5 * front**1.5) * 0.8
        edge = np.minimum(np.minimum(short, margin), (0.93 - front) * 12)
        tubular = 1 - np.sqrt(((depth - middle) / thick) ** 2 + (off / (1.9 * thick)) ** 2)
        return np.minimum(tubular * thick * 1.3, edge).astype(np.float32)

    def bone(x: Array, y: Array, z: Array) -> Array:
        return (260 + 620 * np.exp(-((rib(x, y, z) / 0.16) ** 2))).astype(np.float32)

    volume.paint(rib, bone)
    _spine(volume, body, rng)


def _spine(volume: Volume, body: Abdomen, rng: Generator) -> None:
    front, start = body.spine, float(rng.uniform(0, 3.2))
    dense = 235 - 1.6 * (body.age - 40)
    middle = front + 2.0

    def bend(z: Array) -> Array:
        return (body.scoliosis * np.sin(z * 0.2)).astype(np.float32)

    def phase(z: Array) -> Array:
        return ((z + start) / np.float32(3.2)) % 1  # 0 to 0.24 is a disc

    def vertebra(x: Array, y: Array, z: Array) -> Array:
        waist = 1 - 0.09 * np.sin(np.pi * np.clip((phase(z) - 0.24) / 0.76, 0, 1))
        radius = ((np.abs(x - bend(z)) / (2.35 * waist)) ** 2.4 + (np.abs(y - middle) / (1.65 * waist)) ** 2.4) ** (
            1 / 2.4
        )
        return ((1 - radius) * 1.9).astype(np.float32)

    def tissue(x: Array, y: Array, z: Array) -> Array:
        p = phase(z)
        disc = np.clip((0.24 - p) / 0.04, 0, 1) * np.clip(p / 0.03, 0, 1)
        plate = np.exp(-(((p - 0.26) / 0.035) ** 2)) + np.exp(-(((p - 0.985) / 0.03) ** 2))
        shell = np.exp(-((vertebra(x, y, z) / 0.17) ** 2))
        marrow = dense + 25 * np.sin(9 * x + 5 * y) * np.sin(8 * y + 3 * z)
        return np.maximum(marrow + 420 * np.maximum(shell, plate), 0) * (1 - disc) + 95 * disc

    back = middle + 2.5

    def arch(x: Array, y: Array, z: Array) -> Array:
        u = x - bend(z)
        ring = 0.42 - np.abs(np.hypot(u / 1.15, (y - back)) - 1.15)
        lamina = np.clip(0.75 - np.abs(phase(z) - 0.62), 0, 1) * 4 - 1.2
        spinous = np.minimum(0.34 - np.abs(u), np.minimum(y - back - 0.8, back + 3.3 - y))
        spinous = np.minimum(spinous, 1.05 - 3.2 * np.abs((z + start + 0.55 * (y - back)) / 3.2 % 1 - 0.5))
        transverse = np.minimum(0.36 - np.abs(y - back - 0.1 - 0.12 * np.abs(u)), 3.4 - np.abs(u))
        transverse = np.minimum(transverse, 0.5 - 6 * np.abs(phase(z) - 0.6) * 0.35)
        bony = np.maximum(np.maximum(np.minimum(ring, lamina), spinous), transverse)
        return np.minimum(bony, np.hypot(u, y - back) - 0.85).astype(np.float32)

    low, high = (-4.5, front - 0.6, -30.0), (4.5, front + 8.5, 10.0)
    volume.paint(vertebra, lambda x, y, z: tissue(x, y, z).astype(np.float32), low, high)
    volume.paint(lambda x, y, z: (0.95 - np.hypot(x - bend(z), y - back)).astype(np.float32), 30.0, low, high)
    volume.paint(
        arch, lambda x, y, z: (330 + 420 * np.exp(-((arch(x, y, z) / 0.15) ** 2))).astype(np.float32), low, high
    )
