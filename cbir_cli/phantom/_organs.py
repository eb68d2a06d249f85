"""Paints the upper abdomen into a volume, from the skin inwards, and the noise of the scanner over it."""

import numpy as np
from numpy.random import Generator

from cbir_cli.phantom._abdomen import Abdomen, Scan, Tumour
from cbir_cli.phantom._bones import skeleton
from cbir_cli.phantom._bowel import bowel, stomach
from cbir_cli.phantom._volume import Array, Depth, Point, Volume, Within, blob, lumps, tube

LIVER, TUMOUR = 1, 2
"""Classes of the voxels, as in the Medical Segmentation Decathlon."""


def paint(
    volume: Volume, body: Abdomen, tumours: tuple[Tumour, ...], growth: float, scan: Scan, fixed: int, varying: int
) -> list[int]:
    """Paint a patient; return the voxels of each tumour.

    ``fixed`` seeds what stays between the scans of a patient (vessels, skeleton), ``varying`` what does not (bowel,
    noise).
    """
    e = scan.contrast
    still, moving = np.random.default_rng([fixed, 1]), np.random.default_rng([varying, 2])

    def below(depth: Depth, margin: float = 0.1) -> Depth:
        """Keep an organ below the diaphragm and inside the wall."""
        return lambda x, y, z: np.minimum(
            depth(x, y, z), np.minimum(body.cavity(x, y, z) - np.float32(margin), 0.7 * body.diaphragm(x, y, z))
        )

    _trunk(volume, body, scan)
    _chest(volume, body, scan, still)
    bowel(volume, body, scan, moving, below)
    stomach(volume, scan, moving, below)
    _kidneys(volume, e, still, below)
    _spleen(volume, e, still, below)
    _vessels(volume, body, e, still)
    liver = body.liver + 48 * e
    volume.paint(body.hepatic, liver, (-18, -14, -20), (14, 13, 1.5), label=LIVER)
    _hepatic_vessels(volume, body, liver, e, still)
    _gall_bladder(volume, body, moving)
    sizes = [_tumour(volume, body, tumour, growth, liver) for tumour in tumours]
    skeleton(volume, body, still)
    _noise(volume, body, scan, moving)
    return sizes


def _trunk(volume: Volume, body: Abdomen, scan: Scan) -> None:
    """Paint couch, skin, fat, muscle, and the fat between the organs."""
    level = body.half[1] * 0.94 + 1.2

    def couch(x: Array, y: Array, z: Array) -> Array:
        surface = level + 0.8 - np.float32(scan.couch) * x * x
        return 0.25 - np.abs(y - surface) + 0 * z - np.clip(np.abs(x) - 21, 0, 9)

    def pad(x: Array, y: Array, z: Array) -> Array:
        surface = level + 2.0 - np.float32(scan.couch) * x * x
        return 0.9 - np.abs(y - surface) + 0 * z - np.clip(np.abs(x) - 21, 0, 9)

    volume.paint(pad, -930.0)
    volume.paint(couch, -350.0)
    volume.paint(lambda x, y, z: body.outline(x, y, z)[0], 5.0)
    volume.paint(lambda x, y, z: body.outline(x, y, z)[0] - 0.2, -105.0)

    def muscle(x: Array, y: Array, z: Array) -> Array:
        depth, dorsal = body.outline(x, y, z)
        front = np.clip(-dorsal, 0, 1) ** 2
        back = np.exp(-((np.arccos(np.clip(dorsal, -1, 1)) / 0.42) ** 2))
        return (depth - body.fat * (1 + 0.5 * front - 0.3 * back)).astype(np.float32)

    flesh = 52 + 8 * scan.contrast

    def grain(x: Array, y: Array, z: Array) -> Array:
        # Layers of muscle with fat between them.
        layers = np.sin(muscle(x, y, z) * np.float32(7.5) + 0.6 * np.sin(x * 0.9 + z) + 0.5 * np.sin(y * 1.1))
        return (flesh - 42 * np.clip(layers - 0.55, 0, 1) * (1.2 - 0.7 * body.lean)).astype(np.float32)

    volume.paint(muscle, grain)
    volume.paint(body.cavity, -100 + 0 * body.lean)


def _chest(volume: Volume, body: Abdomen, scan: Scan, rng: Generator) -> None:
    """Paint lungs and heart above the diaphragm."""

    def lung(x: Array, y: Array, z: Array) -> Array:
        aside = np.minimum(body.cavity(x, y, z) - 0.25, -0.7 * body.diaphragm(x, y, z))
        # Between the lungs: oesophagus, aorta, and the heart in its fat.
        middle = np.hypot((x - 0.4) / 2.4, (y - 4.2) / 3.2) - 1
        heart = np.hypot((x - 3.0) / 6.6, (y + 4.4) / 4.9) - 1 - 0.03 * np.clip(-z, 0, 5)
        return np.minimum(aside, np.minimum(2.4 * middle, 4.5 * heart)).astype(np.float32)

    low, high = (-20.0, -16.0, -14.0), (20.0, 16.0, 8.0)

    def air(x: Array, y: Array, z: Array) -> Array:
        return (-865 + 5.5 * (y + 4) + 0 * x + 0 * z).astype(np.float32)  # blood sinks to the back

    volume.paint(lung, air, low, high)
    for _ in range(90):
        at = (float(rng.uniform(-14, 14)), float(rng.uniform(-9, 9)), float(rng.uniform(-6, 5)))
        off = rng.normal(0, 1.1, 3)
        end = (at[0] + float(off[0]), at[1] + float(off[1]), at[2] + float(off[2]))
        depth, a, b = tube(at, end, 0.2, 0.06)

        def vessel(x: Array, y: Array, z: Array, depth: Depth = depth) -> Array:
            return np.minimum(depth(x, y, z), lung(x, y, z))

        volume.paint(vessel, -60.0, a, b)
    heart, a, b = blob((3.2, -4.2, 1.6), (5.8, 4.2, 4.6), 0.35, lumps(rng, 4, 0.04))

    def resting(x: Array, y: Array, z: Array) -> Array:
        return np.minimum(heart(x, y, z), -0.7 * body.diaphragm(x, y, z) - 0.2)

    volume.paint(resting, 48 + 70 * scan.contrast, a, b)
    chamber, a, b = blob((4.0, -4.4, 2.2), (3.6, 2.3, 3.6), 0.45)
    volume.paint(lambda x, y, z: np.minimum(chamber(x, y, z), resting(x, y, z) - 0.9), 42 + 110 * scan.contrast, a, b)


def _kidneys(volume: Volume, e: float, rng: Generator, below: Within) -> None:
    for side in (-1, 1):
        at = (
            side * float(rng.normal(6.2, 0.4)),
            float(rng.normal(4.6, 0.4)),
            -13.2 + 1.0 * side + float(rng.normal(0, 0.6)),
        )
        size = float(rng.normal(1.0, 0.06))
        turn = side * 0.65
        cortex, a, b = blob(at, (2.5 * size, 3.1 * size, 5.4 * size), turn, lumps(rng, 3, 0.04))
        hilum, _, _ = blob((at[0] - side * 2.0, at[1] - 1.7, at[2]), (1.9, 1.3, 2.6), turn)

        def kidney(x: Array, y: Array, z: Array, cortex: Depth = cortex, hilum: Depth = hilum) -> Array:
            return np.minimum(cortex(x, y, z), -hilum(x, y, z))

        inside: Depth = below(kidney, 0.0)
        phase = float(rng.uniform(0, 6.3))

        def tissue(x: Array, y: Array, z: Array, inside: Depth = kidney, phase: float = phase) -> Array:
            depth = inside(x, y, z)
            pyramids = np.clip((depth - 0.65) / 0.3, 0, 1) * np.clip(0.5 + np.sin(3.1 * z + 2.2 * y + phase), 0, 1)
            return (34 + 150 * e - 55 * e * pyramids).astype(np.float32)

        volume.paint(inside, tissue, a, b)
        sinus, a, b = blob((at[0] - side * 0.8, at[1] - 0.7, at[2]), (0.9, 1.1, 2.6), turn, lumps(rng, 4, 0.25))
        volume.paint(sinus, -70.0, a, b)
        pelvis, a, b = blob((at[0] - side * 1.2, at[1] - 1.0, at[2] - 0.3), (0.5, 0.35, 1.1), turn)
        volume.paint(pelvis, 12.0, a, b)


def _spleen(volume: Volume, e: float, rng: Generator, below: Within) -> None:
    size = float(rng.normal(1.0, 0.1))
    outer, a, b = blob((10.0, 3.8, -6.4), (4.2 * size, 5.6 * size, 5.8 * size), -0.35, lumps(rng, 4, 0.05))
    inner, _, _ = blob((5.4, 0.4, -6.6), (3.8, 5.0, 7.5), -0.3)
    volume.paint(below(lambda x, y, z: np.minimum(outer(x, y, z), -inner(x, y, z)), 0.15), 48 + 68 * e, a, b)
    # Pancreas: a lobulated band in front of the great vessels.
    for start, end in (((-3.2, -1.2, -10.6), (0.8, -1.9, -9.8)), ((0.8, -1.9, -9.8), (6.4, 1.4, -8.2))):
        shape, a, b = tube(start, end, 1.15, 0.85)
        waves = rng.uniform(0, 6.3, 3)

        def lobed(x: Array, y: Array, z: Array, shape: Depth = shape, p: np.ndarray = waves) -> Array:
            return (
                shape(x, y, z) + 0.2 * np.sin(4.3 * x + p[0]) * np.sin(4.9 * y + p[1]) * np.sin(4.1 * z + p[2])
            ).astype(np.float32)

        volume.paint(lobed, 38 + 58 * e, a, b)


def _vessels(volume: Volume, body: Abdomen, e: float, rng: Generator) -> None:
    """Paint aorta, caval vein, crura and psoas muscles."""
    front = body.spine
    for side in (-1, 1):
        shape, a, b = tube((side * 1.3, front + 0.4, -3.0), (side * 1.5, front + 1.2, -12.0), 0.7, 0.45)
        volume.paint(shape, 55.0, a, b)
        shape, a, b = tube((side * 2.4, front + 2.2, -11.0), (side * 4.2, front + 1.6, -25.0), 0.8, 2.1)
        volume.paint(shape, 58.0, a, b)
    aorta, width = float(rng.normal(1.0, 0.3)), float(rng.normal(1.1, 0.12))
    shape, a, b = tube((aorta + 0.4, front - 0.4, 8.0), (aorta, front - 1.2, -26.0), width, width * 0.85)
    volume.paint(shape, 45 + 125 * e, a, b)
    if body.age > 55:  # calcium in its wall
        at = (aorta + width * 0.8, front - 0.8, float(rng.uniform(-18, -4)))
        shape, a, b = blob(at, (0.22, 0.4, 0.9), 0.3)
        volume.paint(shape, 700.0, a, b)
    shape, a, b = tube((-1.9, front - 2.6, 1.5), (-1.8, front - 1.0, -26.0), 1.35, 1.1)
    volume.paint(shape, 42 + 95 * e, a, b)
    for stem, reach in (((aorta, front - 1.6, -8.0), -3.0), ((aorta, front - 1.6, -9.6), -3.4)):
        shape, a, b = tube(stem, (stem[0] + 0.3, stem[1] + reach, stem[2] - 1.0), 0.4, 0.3)
        volume.paint(shape, 45 + 125 * e, a, b)
    for side in (-1, 1):
        shape, a, b = tube((0.3, front - 1.4, -11.8), (side * 4.6, 3.3, -13.0 + side), 0.42, 0.4)
        volume.paint(shape, 42 + 95 * e, a, b)


def _hepatic_vessels(volume: Volume, body: Abdomen, liver: float, e: float, rng: Generator) -> None:
    """Paint the trees of the hepatic veins and of the portal vein, inside of the liver alone."""
    value = 40 + 118 * e if e else liver - 16
    roots: list[tuple[Point, np.ndarray, float]] = [
        ((-2.2, body.spine - 2.2, -1.6), np.array(way), 0.5)
        for way in ((-1.0, 0.1, -0.45), (-0.6, -0.8, -0.55), (0.5, -1.0, -0.35))
    ]
    roots += [
        ((-2.6, -0.6, -8.6), np.array(way), 0.62) for way in ((-1.0, -0.1, 0.1), (-0.7, 0.35, -0.6), (0.5, -0.9, 0.7))
    ]
    segments: list[tuple[Point, Point, float, float]] = [((1.2, 0.4, -11.0), (-2.6, -0.6, -8.6), 0.75, 0.68)]
    for start, way, radius in roots:
        tips = [(np.array(start), way / np.linalg.norm(way), radius)]
        for _ in range(4):
            grown = []
            for at, direction, thick in tips:
                end = at + direction * float(rng.uniform(1.7, 2.9))
                segments.append((tuple(at.tolist()), tuple(end.tolist()), thick, 0.8 * thick))
                for _ in range(2):
                    turn = direction + rng.normal(0, 0.42, 3)
                    grown.append((end, turn / np.linalg.norm(turn), thick * float(rng.uniform(0.55, 0.78))))
            tips = grown
    for start_, end_, thick, thin in segments:
        if thick < 0.11:
            continue
        shape, a, b = tube(start_, end_, thick, thin)

        def inside(x: Array, y: Array, z: Array, shape: Depth = shape) -> Array:
            return np.minimum(shape(x, y, z), body.hepatic(x, y, z) + 0.1)

        volume.paint(inside, value, a, b)


def _gall_bladder(volume: Volume, body: Abdomen, rng: Generator) -> None:
    if rng.random() < 0.2:
        return
    size = float(rng.uniform(0.7, 1.2))
    shape, a, b = blob((-5.2, -5.2, -12.3), (1.5 * size, 2.0 * size, 3.0 * size), 0.2, lumps(rng, 3, 0.05))

    def inside(x: Array, y: Array, z: Array) -> Array:
        return np.minimum(shape(x, y, z), body.cavity(x, y, z) - 0.3)

    volume.paint(lambda x, y, z: inside(x, y, z) + 0.12, 48.0, a, b, label=0)
    volume.paint(inside, 8.0, a, b, label=0)


def _tumour(volume: Volume, body: Abdomen, tumour: Tumour, growth: float, liver: float) -> int:
    """Paint a tumour and return its voxels: at least one, however coarse the grid."""
    radius = tumour.radius * growth
    shape, a, b = blob(
        tumour.centre,
        (radius * tumour.stretch[0], radius * tumour.stretch[1], radius * tumour.stretch[2]),
        lumps=tumour.lumps,
    )

    def inside(x: Array, y: Array, z: Array) -> Array:
        return np.minimum(shape(x, y, z), body.hepatic(x, y, z))

    def tissue(x: Array, y: Array, z: Array) -> Array:
        depth = shape(x, y, z) / np.float32(radius)
        rim = np.exp(-(((depth - 0.12) / 0.12) ** 2))
        return (liver - tumour.drop - tumour.core * np.clip(2 * depth - 0.6, 0, 1) + tumour.rim * rim).astype(
            np.float32
        )

    voxels = volume.paint(inside, tissue, a, b, label=TUMOUR, soft=0.25)
    if not voxels:
        at = tuple(
            int(np.abs(axis.ravel() - v).argmin())
            for axis, v in zip((volume.z, volume.y, volume.x), tumour.centre[::-1], strict=True)
        )
        volume.label[at] = TUMOUR
        volume.hu[at] = liver - tumour.drop
        voxels = 1
    return voxels


def _noise(volume: Volume, body: Abdomen, scan: Scan, rng: Generator) -> None:
    """Add quantum noise, stronger in the middle of the body and along its width, and blur it as the kernel does."""
    from scipy.ndimage import gaussian_filter1d

    x, y = volume.x[0] / body.half[0], volume.y[0] / body.half[1]
    where = (0.45 + 0.75 * np.exp(-1.1 * (x * x + y * y))).astype(np.float32)
    blur = max(scan.sharp / volume.edge, 0.3)
    gain = scan.noise * np.sqrt(max(1.0, 2 * np.sqrt(np.pi) * blur))
    for layer in volume.hu:
        noise = rng.standard_normal(layer.shape, np.float32)
        noise = gaussian_filter1d(gaussian_filter1d(noise, blur, 0, truncate=2.5), blur, 1, truncate=2.5)
        layer += gain * where * noise
