"""What else than fluid a chest may have: pneumonia of a lobe, ground glass as in COVID-19, a big heart."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cbir_cli.phantom._canvas import Array
from cbir_cli.phantom._texture import clouds

LOBES = {
    "right upper": (0, 0.0, 0.52, 0.0, 1.1),
    "right middle": (0, 0.5, 1.05, 0.0, 0.8),
    "right lower": (0, 0.48, 1.3, 0.15, 1.1),
    "left upper": (1, 0.0, 0.6, 0.0, 1.1),
    "left lower": (1, 0.5, 1.3, 0.1, 1.1),
}
"""Side; upper and lower end from the apex (0) to the dome (1); inner and outer end from midline (0) to wall (1)."""

MASK_SHARE = 0.12
"""Lung is lesion where so much of its air is gone."""


@dataclass(frozen=True)
class Disease:
    """Findings of a study beside fluid; severities from 0 (none) to 1.

    Attributes
    ----------
    pneumonia : float
        How much of the lobe is filled, and how densely.
    lobe : str
        One of `LOBES`, empty without pneumonia.
    covid : tuple of float
        Right and left: ground glass at the periphery of both lungs.
    cardiomegaly : float
        0.1 is a heart that just counts as too big.
    seed : int
        Of the shape of the opacities: a patient keeps it.
    """

    pneumonia: float = 0.0
    lobe: str = ""
    covid: tuple[float, float] = (0.0, 0.0)
    cardiomegaly: float = 0.0
    seed: int = 0

    @property
    def heart(self) -> float:
        """Width of the heart over that without disease."""
        return 1.2 + 0.34 * self.cardiomegaly if self.cardiomegaly else 1.0

    @property
    def sides(self) -> tuple[float, float]:
        """Severity of the worse lung disease, right and left."""
        side = LOBES[self.lobe][0] if self.lobe else None
        right, left = (max(v, self.pneumonia if side == i else 0.0) for i, v in enumerate(self.covid))
        return right, left


@dataclass(frozen=True)
class Place:
    """Where pixels lie in the lungs, all (size, size): height from apex 0 to dome 1, side from midline 0 to wall 1.

    ``left`` says which are the patient's left.
    """

    height: Array
    across: Array
    left: NDArray[np.bool_]


NONE = Disease()
"""Nothing beside fluid."""


def filled(disease: Disease, place: Place, vessels: Array) -> dict[str, Array]:
    """Return, for each disease of the lung that there is, the share of air that it takes the place of, in [0, 1]."""
    found = {}
    if disease.pneumonia:
        found["pneumonia"] = _lobar(disease, place, vessels)
    if any(disease.covid):
        found["covid"] = _ground_glass(disease, place)
    return found


def _lobar(disease: Disease, place: Place, vessels: Array) -> Array:
    """Return a lobe that fills up from a core, to the fissure and no further; air stays in its bronchi."""
    rng = np.random.default_rng([disease.seed, 1])
    side, top, bottom, inner, outer = LOBES[disease.lobe]
    height, across = place.height, place.across
    # Fissures are sharp, and no straight lines.
    bend = 0.03 * np.sin(5 * across + np.float32(rng.uniform(0, 6.3)))
    sharp = 0.012 if disease.lobe in ("right upper", "right middle") else 0.08
    inside = np.clip((bottom + bend - height) / sharp, 0, 1) * np.clip(
        (height - top - bend) / (0.02 + 0.03 * top), 0, 1
    )
    inside *= (
        np.clip((across - inner) / 0.15 + 0.3, 0, 1) * np.clip((outer - across) / 0.12, 0, 1) * (place.left == side)
    )
    core = rng.uniform(top + 0.3 * (bottom - top), bottom - 0.15), rng.uniform(max(inner, 0.25), 0.85)
    far = np.hypot((height - core[0]) / 0.42, (across - core[1]) / 0.55)
    patchy = clouds(rng, height.shape, 7, 4, 0.65)
    extent = 0.45 + 1.15 * disease.pneumonia
    dense = np.clip((extent - far + 0.2 * patchy) / 0.55, 0, 1)
    dense = dense * (0.32 + 0.48 * disease.pneumonia) * np.clip(1 + 0.16 * patchy, 0.4, 1.3)
    bronchi = np.clip(vessels / 0.6, 0, 1)
    return np.clip(dense * inside * (1 - 0.3 * bronchi), 0, 0.92).astype(np.float32)


def _ground_glass(disease: Disease, place: Place) -> Array:
    """Return hazy patches along the wall, most of them low, on both sides, with a fine net in them."""
    rng = np.random.default_rng([disease.seed, 2])
    clear = np.ones_like(place.height)
    rough = clouds(rng, place.height.shape, 8, 4, 0.7)
    net = clouds(rng, place.height.shape, 40, 2, 0.7)
    for side, severity in enumerate(disease.covid):
        many = rng.uniform(size=(9, 5))
        for i, (a, b, c, d, e) in enumerate(many):
            weight = np.clip(3.0 + 6.0 * severity - i, 0, 1)  # one patch after another
            height, across = 0.3 + 0.75 * a**0.7, 0.72 + 0.25 * b
            far = np.hypot((place.height - height) / (0.1 + 0.14 * c), (place.across - across) / (0.14 + 0.2 * d))
            shape = np.clip(1.15 - far + 0.22 * rough, 0, 1) ** 0.8
            haze = weight * (0.17 + 0.24 * severity + 0.1 * e) * shape * (1 + 0.25 * net)
            clear *= 1 - np.clip(haze, 0, 0.7) * (place.left == side)
    return (1 - clear).astype(np.float32)


def course(rng: Generator, kinds: tuple[str, ...], studies: int) -> list[Disease]:
    """Return what a patient with some diseases has at each study: it comes or goes, and may have gone by the last.

    Parameters
    ----------
    rng : Generator
    kinds : tuple of str
        Of ``pneumonia``, ``covid`` and ``cardiomegaly``.
    studies : int
    """
    lobe = str(rng.choice(list(LOBES)))
    uneven = rng.uniform(0.55, 1.0)
    worse = int(rng.integers(2))
    seed = int(rng.integers(2**31))
    acute, heart = 0.15 + 0.85 * rng.beta(1.7, 1.6), 0.1 + 0.9 * rng.beta(1.3, 2.0)
    drift = rng.normal(-0.03, 0.16)
    found = []
    for _ in range(studies):
        now = round(float(acute), 4) if acute >= 0.1 else 0.0
        lesser = round(float(acute * uneven), 4) if acute * uneven >= 0.1 else now
        found.append(
            Disease(
                pneumonia=now if "pneumonia" in kinds else 0.0,
                lobe=lobe if now and "pneumonia" in kinds else "",
                covid=((now, lesser) if worse == 0 else (lesser, now)) if "covid" in kinds else (0.0, 0.0),
                cardiomegaly=round(float(heart), 4) if "cardiomegaly" in kinds else 0.0,
                seed=seed,
            )
        )
        acute = np.clip(acute + drift + rng.normal(0, 0.08), 0, 1)
        heart = np.clip(heart + rng.normal(0.01, 0.03), 0.1, 1)
    return found
