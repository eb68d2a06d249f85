"""The picture that a dermatoscope takes: skin, light, lens, camera, and what lies in between; all without the label."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cbir_cli.phantom._lesion import Pigment
from cbir_cli.phantom._texture import Array, cells, clouds

MELANIN = np.array([0.5, 1.0, 1.6], np.float32)
"""Optical density of melanin in red, green and blue."""

GREY = np.array([0.8, 1.0, 1.2], np.float32)
"""The same of melanin that lies deeper."""

BLOOD = np.array([0.12, 0.95, 0.72], np.float32)
"""Optical density of blood."""

SKIN = np.array([0.90, 0.81, 0.76], np.float32)
"""What pale skin throws back."""


@dataclass(frozen=True)
class Person:
    """Who has the lesion.

    Attributes
    ----------
    sex, age : str, int
        ``F`` or ``M``; years at the first visit.
    tan, flush : float
        Melanin and blood of the skin.
    hairy : float
        Mean number of hairs in the picture.
    blond : float
        How light they are, 0 to 1.
    known : bool
        Whether age and sex are.
    """

    sex: str
    age: int
    tan: float
    flush: float
    hairy: float
    blond: float
    known: bool


@dataclass(frozen=True)
class Shot:
    """How the picture was taken.

    Attributes
    ----------
    gains : tuple of float
        Of red, green and blue: the camera's colour cast.
    bright, gamma : float
        Exposure, and exponent of the display curve.
    tilt, tilt_way : float
        Uneven light: strength, and where it comes from, in radians.
    tube : float
        Radius of the dermatoscope's field in units of the shorter side; what is outside of it is black.
    hard : float
        Width of that edge.
    blur, noise : float
        Of the lens, in units of the shorter side, and of the camera.
    hairs : int
    ruler, ink, bubbles : bool
        A scale at the border, ink of a pen on the skin, bubbles in the gel.
    middle : tuple of float
        Where the lesion lies from the image's centre, in units of the shorter side.
    """

    gains: tuple[float, float, float]
    bright: float
    gamma: float
    tilt: float
    tilt_way: float
    tube: float
    hard: float
    blur: float
    noise: float
    hairs: int
    ruler: bool
    ink: bool
    bubbles: bool
    middle: tuple[float, float]


def draw_person(rng: Generator) -> Person:
    """Draw a patient."""
    return Person(
        sex="F" if rng.random() < 0.5 else "M",
        age=int(np.clip(rng.normal(52, 17), 15, 90) / 5) * 5,
        tan=float(0.01 + 0.17 * rng.beta(1.1, 3.2)),
        flush=float(rng.uniform(0.0, 0.13)),
        hairy=float(rng.choice([0.0, 3.0, 25.0], p=[0.5, 0.35, 0.15])),
        blond=float(rng.beta(0.8, 1.6)),
        known=bool(rng.random() < 0.9),
    )


def draw_shot(rng: Generator, person: Person) -> Shot:
    """Draw a picture of a patient."""
    casts = {
        "none": (1.0, 1.0, 1.0),
        "blue": (0.74, 0.88, 1.15),
        "pink": (1.0, 0.88, 0.96),
        "yellow": (1.0, 0.97, 0.88),
    }
    cast = casts[str(rng.choice(list(casts), p=[0.45, 0.2, 0.2, 0.15]))]
    gains = np.array(cast) * np.exp(rng.normal(0, 0.035, 3))
    narrow = rng.random()
    return Shot(
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
        bright=float(np.exp(rng.normal(0.05, 0.13))),
        gamma=float(np.exp(rng.normal(0.0, 0.12))),
        tilt=float(rng.uniform(0, 0.22)),
        tilt_way=float(rng.uniform(0, 2 * np.pi)),
        tube=float(rng.uniform(0.52, 0.62) if narrow < 0.12 else rng.uniform(0.64, 0.82) if narrow < 0.4 else 9.0),
        hard=float(rng.uniform(0.01, 0.09)),
        blur=float(rng.uniform(0.0008, 0.0035)),
        noise=float(rng.uniform(0.004, 0.014)),
        hairs=int(rng.poisson(person.hairy)),
        ruler=bool(rng.random() < 0.2),
        ink=bool(rng.random() < 0.1),
        bubbles=bool(rng.random() < 0.15),
        middle=(float(rng.normal(0, 0.07)), float(rng.normal(0, 0.05))),
    )


def expose(pigment: Pigment, hue: float, person: Person, shot: Shot, rng: Generator) -> Array:
    """Return the picture (H, W, 3) float32 in [0, 1]."""
    from scipy.ndimage import gaussian_filter

    shape = pigment.melanin.shape
    short = min(shape)
    skin = _skin(person, shape, rng)
    colour = MELANIN + np.float32(0.55 * (1 - hue)) * (GREY - MELANIN)
    light = SKIN * np.exp(-skin[0][..., None] * MELANIN - skin[1][..., None] * BLOOD)
    light *= np.exp(-1.15 * pigment.melanin[..., None] * colour - pigment.blood[..., None] * BLOOD)
    wax = np.array([0.60, 0.46, 0.30], np.float32) * np.exp(-0.75 * pigment.melanin[..., None] * colour)
    for share, tint in (
        (np.clip(pigment.wax, 0, 0.8), wax),
        (pigment.veil, np.array([0.38, 0.42, 0.52], np.float32)),
        (pigment.white, np.array([0.92, 0.86, 0.80], np.float32)),
    ):
        share = np.clip(share, 0, 1)[..., None]
        light = light * (1 - share) + tint * share
    for draw, wanted in ((_ink, shot.ink), (_hairs, shot.hairs > 0), (_bubbles, shot.bubbles), (_ruler, shot.ruler)):
        if wanted:
            draw(light, person, shot, rng)
    rows, columns = shape
    y = ((np.arange(rows, dtype=np.float32) + 0.5) - rows / 2)[:, None] / short
    x = ((np.arange(columns, dtype=np.float32) + 0.5) - columns / 2)[None] / short
    uneven = 1 + shot.tilt * (x * np.cos(shot.tilt_way) + y * np.sin(shot.tilt_way)) - 0.18 * (x * x + y * y)
    open_ = np.clip((shot.tube - np.hypot(x, y)) / shot.hard + 0.5, 0, 1)
    shade = (uneven * (open_ * open_ * (3 - 2 * open_)) * shot.bright).astype(np.float32)
    light = light * shade[..., None] * np.array(shot.gains, np.float32)
    light = gaussian_filter(light, (shot.blur * short, shot.blur * short, 0))
    grain = gaussian_filter(rng.standard_normal(light.shape, np.float32), (0.5, 0.5, 0))
    light = np.clip(light, 0, 1) ** np.float32(shot.gamma) + shot.noise * grain
    return np.clip(light, 0, 1).astype(np.float32)


def _skin(person: Person, shape: tuple[int, int], rng: Generator) -> tuple[Array, Array]:
    """Return melanin and blood of the skin around: mottled, with its fine furrows, vessels and spots."""
    melanin = person.tan * (1 + 0.12 * clouds(rng, shape, 4, 4, 0.7))
    blood = person.flush * (1 + 0.25 * clouds(rng, shape, 5, 4, 0.7))
    rows, columns = shape
    short = min(shape)
    v, u = np.mgrid[:rows, :columns].astype(np.float32) / np.float32(short)
    bend = 0.012 * clouds(rng, shape, 6, 2)
    first, second, _ = cells(rng, (u + bend) * 34, (v - bend) * 34, 0.9)
    melanin += (0.012 + 0.05 * person.tan) * np.exp(-(((second - first) / 0.15) ** 2))
    vessel = clouds(rng, shape, 9, 3, 0.6)
    blood += 0.16 * rng.random() * np.exp(-((vessel / 0.05) ** 2)) * np.clip(clouds(rng, shape, 4, 1), 0, 1)
    return np.clip(melanin, 0, None).astype(np.float32), np.clip(blood, 0, None).astype(np.float32)


def _drawn(shape: tuple[int, int], lines: list[tuple[np.ndarray, float]]) -> Array:
    """Return how much of each pixel some lines cover, (H, W) in [0, 1]; points and widths are in pixels."""
    from PIL import Image, ImageDraw

    fine = 3
    image = Image.new("L", (shape[1] * fine, shape[0] * fine))
    pen = ImageDraw.Draw(image)
    for points, width in lines:
        pen.line([(float(a) * fine, float(b) * fine) for a, b in points], 255, max(1, round(width * fine)), "curve")
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BOX), np.float32) / np.float32(255)


def _hairs(light: Array, person: Person, shot: Shot, rng: Generator) -> None:
    rows, columns = light.shape[:2]
    short = min(rows, columns)
    way = rng.uniform(0, np.pi)
    t = np.linspace(0, 1, 24)[:, None]
    lines = []
    for _ in range(shot.hairs):
        start = rng.uniform((-0.1, -0.1), (1.1, 1.1)) * (columns, rows)
        angle = way + rng.normal(0, 0.6)
        length = short * rng.uniform(0.3, 1.3)
        step = np.array([np.cos(angle), np.sin(angle)]) * length
        sag = np.array([-step[1], step[0]]) * rng.normal(0, 0.25)
        points = start + t * step + 4 * t * (1 - t) * sag * 0.5
        lines.append((points, short * rng.uniform(0.0022, 0.0065)))
    cover = _drawn((rows, columns), lines)[..., None]
    dark = np.array([0.16, 0.11, 0.09], np.float32)
    tint = dark + np.float32(person.blond) * (np.array([0.72, 0.58, 0.42], np.float32) - dark)
    light += 0.92 * cover * (tint - light)


def _ruler(light: Array, person: Person, shot: Shot, rng: Generator) -> None:
    rows, columns = light.shape[:2]
    short = min(rows, columns)
    pitch, upright, at = rng.uniform(0.03, 0.06) * short, rng.random() < 0.5, rng.uniform(0.02, 0.1) * short
    far = rng.random() < 0.5
    lines = []
    for i, place in enumerate(np.arange(rng.uniform(0, pitch), columns if upright else rows, pitch)):
        long = short * (0.05 if i % 5 else 0.085)
        ends = np.array([[place, at], [place, at + long]])
        if far:
            ends[:, 1] = (rows if upright else columns) - ends[:, 1]
        lines.append((ends if upright else ends[:, ::-1], short * 0.005))
    light += 0.85 * _drawn((rows, columns), lines)[..., None] * (np.float32(0.08) - light)


def _ink(light: Array, person: Person, shot: Shot, rng: Generator) -> None:
    rows, columns = light.shape[:2]
    short = min(rows, columns)
    angle = rng.uniform(0, 2 * np.pi)
    middle = np.array([columns / 2, rows / 2]) + 0.55 * short * np.array([np.cos(angle), 0.85 * np.sin(angle)])
    points = middle + short * 0.09 * np.cumsum(rng.normal(0, 0.5, (9, 2)), axis=0)
    cover = _drawn((rows, columns), [(points, short * rng.uniform(0.02, 0.045))])
    cover *= np.clip(0.7 + 0.35 * clouds(rng, (rows, columns), 40, 2), 0, 1)
    light += 0.75 * cover[..., None] * (np.array([0.22, 0.16, 0.45], np.float32) - light)


def _bubbles(light: Array, person: Person, shot: Shot, rng: Generator) -> None:
    rows, columns = light.shape[:2]
    short = min(rows, columns)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    for _ in range(int(rng.integers(2, 14))):
        a, b = rng.uniform(0, columns), rng.uniform(0, rows)
        radius = short * float(np.exp(rng.normal(-4.0, 0.5)))
        off = np.hypot(x - np.float32(a), y - np.float32(b)) / np.float32(radius)
        ring = np.exp(-(((off - 1) / 0.18) ** 2)) * (0.4 + 0.4 * (x - a) / radius)
        light += np.float32(0.35) * np.clip(ring, -0.4, 0.9)[..., None]
