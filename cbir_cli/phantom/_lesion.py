"""A pigmented lesion of the skin as a dermatoscope shows it: how much melanin and blood lie where, and how deep.

What tells the classes apart is structure alone. Size, tone and place are drawn alike for all of them:

- a nevus is nearly symmetric, in one or two browns, its net or its globules even, its edge fading alike all round;
- a melanoma is uneven: several colours, blotches off the middle, a broken net, streaks and dots at one side of the
  edge, blue-grey veils and white scars, more so with severity;
- a seborrheic keratosis is stuck on: an abrupt, scalloped edge, ridges and furrows, white milia, dark plugs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cbir_cli.phantom._texture import Array, cells, clouds

CLASSES = ("nevus", "melanoma", "seborrheic_keratosis")


@dataclass(frozen=True)
class Lesion:
    """A lesion at the first visit. Lengths in units of the image's shorter side.

    Attributes
    ----------
    kind : str
        One of `CLASSES`.
    severity : float
        0 unless a melanoma; how uneven it is, up to 1.
    atypia : float
        The same for all that have it: an odd nevus reaches into the range of early melanomas.
    radius : float
        Mean radius.
    stretch, turn : float
        Long over short axis, and where the long one points, in radians.
    tone : float
        Melanin in its middle.
    hue : float
        Share of yellow-brown against grey-brown, 0 to 1.
    blush : float
        Blood in it.
    soft : float
        Width of its edge as a share of the radius.
    pattern : str
        ``net``, ``globules`` or ``plain``.
    seed : int
        Of its structures: the same at each visit.
    """

    kind: str
    severity: float
    atypia: float
    radius: float
    stretch: float
    turn: float
    tone: float
    hue: float
    blush: float
    soft: float
    pattern: str
    seed: int


@dataclass(frozen=True)
class Pigment:
    """What lies in the skin, all (H, W) float32.

    Attributes
    ----------
    melanin, blood : ndarray
        Optical density of either.
    veil : ndarray
        Share of light that deep melanin scatters back blue-grey, 0 to 1.
    white : ndarray
        Share that scars, milia and scales scatter back white, 0 to 1.
    wax : ndarray
        Share of the dull yellow-brown of horn, 0 to 1.
    mask : ndarray, bool
        The lesion.
    """

    melanin: Array
    blood: Array
    veil: Array
    white: Array
    wax: Array
    mask: np.ndarray


def draw_lesion(rng: Generator, kind: str) -> Lesion:
    """Draw a lesion of a class."""
    severity = round(0.1 + 0.9 * float(rng.beta(1.5, 1.7)), 4)
    odd = float(0.42 * rng.beta(1.2, 2.2))
    soft = float(rng.uniform(0.1, 0.4))
    return Lesion(
        kind=kind,
        severity=severity if kind == "melanoma" else 0.0,
        atypia=0.25 + 0.75 * severity if kind == "melanoma" else odd,
        radius=float(np.clip(np.exp(rng.normal(-1.33, 0.28)), 0.12, 0.46)),
        stretch=float(np.exp(abs(rng.normal(0.08, 0.16)))),
        turn=float(rng.uniform(0, np.pi)),
        tone=float(np.exp(rng.normal(-0.12, 0.32))),
        hue=float(rng.uniform(0, 1)),
        blush=float(rng.uniform(0.0, 0.45)),
        soft=soft * (0.35 if kind == "seborrheic_keratosis" else 1.0),
        pattern=str(rng.choice(["net", "globules", "plain"], p=[0.5, 0.25, 0.25])),
        seed=int(rng.integers(2**31)),
    )


def pigment(lesion: Lesion, x: Array, y: Array, growth: float, severity: float) -> Pigment:
    """Return what a lesion adds to the skin.

    Parameters
    ----------
    lesion : Lesion
    x, y : ndarray (H, W), float32
        Coordinates about the lesion's middle, in units of the shorter side.
    growth : float
        Radius over that of the first visit.
    severity : float
        At this visit.
    """
    rng = np.random.default_rng(lesion.seed)
    atypia = lesion.atypia + (0.75 * (severity - lesion.severity) if lesion.kind == "melanoma" else 0.0)
    radius = lesion.radius * growth
    cos, sin = np.float32(np.cos(lesion.turn)), np.float32(np.sin(lesion.turn))
    long = np.sqrt(lesion.stretch)
    u: Array = ((cos * x + sin * y) / np.float32(radius * long)).astype(np.float32)
    v: Array = ((cos * y - sin * x) * np.float32(long / radius)).astype(np.float32)
    draw = _keratosis if lesion.kind == "seborrheic_keratosis" else _melanocytic
    return draw(lesion, u, v, radius, float(atypia), rng)


def _edge(u: Array, v: Array, rng: Generator, waves: int, height: float, steep: float) -> tuple[Array, Array]:
    """Return how far inside of an uneven outline points lie, in radii, and their angle."""
    angle = np.arctan2(v, u)
    reach = np.ones_like(u)
    for k in range(2, waves):
        reach += np.float32(height * rng.normal() / k**steep) * np.cos(k * angle + np.float32(rng.uniform(0, 6.3)))
    return (reach - np.hypot(u, v)).astype(np.float32), angle


def _melanocytic(lesion: Lesion, u: Array, v: Array, radius: float, atypia: float, rng: Generator) -> Pigment:
    shape = u.shape
    depth, angle = _edge(u, v, rng, 12, 0.09 + 0.3 * atypia, 1.15 - 0.25 * atypia)
    # Off to one side, by as much as the lesion is atypical.
    way = rng.uniform(0, 6.3)
    aside = (u * np.float32(np.cos(way)) + v * np.float32(np.sin(way))).astype(np.float32)
    rough = clouds(rng, shape, 2.2 / radius, 4, 0.7)
    depth = depth + (0.035 + 0.07 * atypia) * rough
    width = lesion.soft * (1 - 0.55 * atypia * np.clip(0.5 + aside, 0, 1))
    body = np.clip(depth / width + 0.35, 0, 1)
    body = body * body * (3 - 2 * body)

    patchy = clouds(rng, shape, 0.9 / radius, 3)
    broad = clouds(rng, shape, 0.5 / radius, 2)
    tone = 0.72 + 0.2 * np.clip(depth, 0, 0.8) + 0.1 * patchy
    tone = tone + atypia * (0.42 * broad + 0.25 * patchy + 0.28 * aside)
    melanin = lesion.tone * np.clip(tone, 0.12, 2.2)

    # The net of the epidermis, or nests of cells; an atypical net breaks off and is coarse.
    across, down = (w + np.float32(0.045) * clouds(rng, shape, 3.0 / radius, 2) for w in (u, v))
    pitch = float(rng.uniform(0.012, 0.021))
    first, second, shade = cells(rng, across * np.float32(radius / pitch), down * np.float32(radius / pitch))
    wall = np.exp(-(((second - first) / 0.3) ** 2)) * (0.45 + 0.55 * np.clip(1 + rough, 0, 2))
    nest = np.clip(1.3 - first / (0.26 + 0.16 * shade), 0, 1)
    where = np.clip(1.1 - 1.5 * atypia * np.clip(broad + 0.3, 0, 1.2), 0, 1)
    strength = float(rng.uniform(0.2, 0.6))
    if lesion.pattern == "net":
        melanin = melanin * (1 - 0.3 * strength + 1.1 * strength * wall * where)
    elif lesion.pattern == "globules":
        melanin = melanin * (1 - 0.25 * strength + 1.1 * strength * nest * where)
    blood = lesion.blush * (0.6 + 0.35 * patchy) * body

    # What a melanoma alone has much of; severity adds them one after another, in an order of its own.
    order = rng.permutation(4)
    amount = np.clip(2.6 * atypia - 0.45 - 0.42 * order, 0, 1)
    blotch = np.clip(clouds(rng, shape, 0.8 / radius, 3) + 1.2 * aside - 0.35, 0, 1.2) * np.clip(3 * depth, 0, 1)
    melanin = melanin + amount[0] * 1.5 * blotch
    spokes = np.clip(np.sin(np.float32(rng.integers(16, 26)) * angle + 2.0 * rough) + 0.25 * patchy, 0, 1)
    rim = np.exp(-(((depth + 0.02) / 0.13) ** 2)) * np.clip(0.25 + aside, 0, 1)
    dots = (
        np.clip(1.25 - first / 0.45, 0, 1)
        * (shade > 0.6)
        * np.exp(-(((depth - 0.12) / 0.2) ** 2))
        * np.clip(aside, 0, 1)
    )
    streaks = amount[1] * (0.9 * spokes * rim + 1.3 * dots)
    deep = np.clip(depth * 2.2, 0, 1)
    veil = amount[2] * 0.75 * np.clip(clouds(rng, shape, 0.7 / radius, 3) + 0.25 - 0.5 * aside, 0, 1) * deep
    scar = amount[3] * 0.75 * np.clip(clouds(rng, shape, 0.75 / radius, 3) - 0.25 - 0.4 * aside, 0, 1) * deep
    melanin = melanin * body * (1 - 0.75 * np.clip(scar, 0, 1)) + lesion.tone * streaks
    blood = blood + 0.5 * amount[3] * np.clip(patchy - 0.2, 0, 1) * body * (1 - scar)
    fade = np.clip(1 - depth / -0.35, 0, 1)
    blush = 0.25 * lesion.blush * fade
    return Pigment(
        melanin.astype(np.float32),
        (blood + blush).astype(np.float32),
        veil.astype(np.float32),
        (0.35 * scar).astype(np.float32),
        np.zeros(shape, np.float32),
        body + streaks > 0.42,
    )


def _keratosis(lesion: Lesion, u: Array, v: Array, radius: float, atypia: float, rng: Generator) -> Pigment:
    shape = u.shape
    depth, _ = _edge(u, v, rng, 16, 0.13 + 0.15 * atypia, 0.95)
    rough = clouds(rng, shape, 2.5 / radius, 3)
    depth = depth + 0.03 * rough
    body = np.clip(depth / lesion.soft + 0.5, 0, 1)
    patchy = clouds(rng, shape, 1.1 / radius, 3)
    melanin = lesion.tone * np.clip(0.85 + 0.16 * patchy + 0.12 * clouds(rng, shape, 0.5 / radius, 2), 0.15, 2)
    wax = np.full(shape, 0.25 + 0.35 * lesion.hue, np.float32) * np.clip(1 + 0.3 * patchy, 0, 2)

    furrowed, milia, plugs = rng.random(3)
    # Ridges like a brain's: level lines of a smooth field.
    field = clouds(rng, shape, float(rng.uniform(1.6, 3.4)) / radius, 2, 0.5)
    furrow = np.exp(-((field / 0.2) ** 2)) * np.clip(0.7 + 0.5 * patchy, 0, 1.3)
    melanin = melanin * (1 - 0.25 * furrowed + (0.1 + 0.9 * furrowed) * furrow)
    scale = float(rng.uniform(3.5, 7.5))
    first, _, shade = cells(rng, scale * u + 0.5 * patchy, scale * v + 0.5 * rough, 0.95)
    size = 0.04 + 0.3 * (shade * 7 % 1) ** 2
    spot = np.clip((size - first) / 0.16 + 0.5, 0, 1) * np.clip(0.6 + shade * 13 % 1, 0, 1)
    white = 0.5 * spot * (shade < 0.26 * milia)
    plug = spot * (shade > 1 - 0.3 * plugs)
    melanin = melanin + (0.5 + shade * 5 % 1) * plug
    white = white + 0.14 * np.clip(rough - 0.6, 0, 1.5) + 0.1 * np.clip(patchy - 0.5, 0, 1.5)  # scales
    inside = np.clip(depth * 6, 0, 1)
    return Pigment(
        (melanin * body).astype(np.float32),
        (lesion.blush * 0.6 * body).astype(np.float32),
        np.zeros(shape, np.float32),
        (white * inside * body).astype(np.float32),
        (wax * body * (1 - plug)).astype(np.float32),
        body > 0.5,
    )
