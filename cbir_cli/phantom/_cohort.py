"""Who is in a chest set, and what each patient has from study to study."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cbir_cli.phantom._anatomy import LEFT, RIGHT
from cbir_cli.phantom._opacities import NONE, Disease, course

LEAST = 0.1
"""Smallest severity that is called an effusion; what falls below it from study to study has resolved."""


@dataclass(frozen=True)
class Plan:
    """One image to make: who, when, how much fluid, and what else."""

    seed: int
    patient: int
    follow_up: int
    severity: tuple[float, float]
    disease: Disease = NONE

    @property
    def name(self) -> str:
        """File name, as in ChestX-ray14."""
        return f"{self.patient:08d}_{self.follow_up:03d}.png"

    @property
    def sides(self) -> tuple[float, float]:
        """Severity of the worst finding of the lungs, right and left."""
        right, left = (max(pair) for pair in zip(self.severity, self.disease.sides, strict=True))
        return right, left

    def findings(self, among: Sequence[str]) -> dict[str, float]:
        """Severity of each finding, of the worse side."""
        own = self.disease
        worst = {
            "effusion": max(self.severity),
            "pneumonia": own.pneumonia,
            "covid": max(own.covid),
            "cardiomegaly": own.cardiomegaly,
        }
        return {finding: worst[finding] for finding in among}


def cohort(seed: int, n: int, findings: Sequence[str] = ("effusion",)) -> Iterator[list[Plan]]:
    """Yield the studies of one patient after another, ``n`` studies in all."""
    patient = 0
    while n > 0:
        # Three of seven patients have the disease, in an order drawn anew for each seven: the share of positives does
        # not wander in small sets.
        sick = np.random.default_rng([seed, 0, patient // 7]).permutation(7)[patient % 7] < 3
        lungs = _lungs(seed, patient, findings)
        patient += 1
        rng = np.random.default_rng([seed, 2, patient])
        studies = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1]))
        fluid = _course(rng, studies) if sick and "effusion" in findings else [(0.0, 0.0)] * studies
        other = course(np.random.default_rng([seed, 5, patient]), lungs, studies)
        both = list(zip(fluid, other, strict=True))[:n]
        yield [Plan(seed, patient, follow_up, *found) for follow_up, found in enumerate(both)]
        n -= studies


def _lungs(seed: int, patient: int, findings: Sequence[str]) -> tuple[str, ...]:
    """Return which findings beside fluid a patient has: one disease of the lung at most, and maybe a big heart."""
    acute = [kind for kind in ("pneumonia", "covid") if kind in findings]
    kinds = []
    if acute:
        # Of six patients two have each disease; of one disease alone, three.
        each = 2 if len(acute) == 2 else 3
        place = int(np.random.default_rng([seed, 9, patient // 6]).permutation(6)[patient % 6]) // each
        kinds += acute[place : place + 1]
    if "cardiomegaly" in findings and np.random.default_rng([seed, 16, patient // 3]).permutation(3)[patient % 3] == 0:
        kinds.append("cardiomegaly")
    return tuple(kinds)


def _course(rng: Generator, studies: int) -> list[tuple[float, float]]:
    """Return (right, left) severities over a patient's studies; the sides stay, the amount drifts."""
    sides = [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)][rng.choice(3, p=[0.4, 0.3, 0.3])]
    uneven = rng.uniform(0.35, 1.0)
    worse = rng.integers(2)
    share = [v * (uneven if i != worse and all(sides) else 1.0) for i, v in enumerate(sides)]
    severity, drift = LEAST + (1 - LEAST) * rng.beta(1.4, 2.4), rng.normal(0, 0.15)
    course = []
    for _ in range(studies):
        sizes = [severity * v if severity * v >= LEAST else 0.0 for v in share]
        course.append((round(sizes[RIGHT], 4), round(sizes[LEFT], 4)))
        severity = float(np.clip(severity + drift + rng.normal(0, 0.1), 0, 1))
    return course
