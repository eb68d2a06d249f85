"""Chest radiographs with pleural effusion, in the layout of ChestX-ray14.

Patients come with one to four studies; the body stays, the fluid comes and goes. Two of five studies are positive.
Every patient draws from a generator of his own, so the first patients of a set do not depend on how many follow.
"""

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cbir_cli.phantom._anatomy import LEFT, RIGHT, Patient, Study, draw_patient, draw_study
from cbir_cli.phantom._canvas import Array, Canvas
from cbir_cli.phantom._devices import devices, draw_devices
from cbir_cli.phantom._film import close_shutter, draw_exposure, expose, stamp
from cbir_cli.phantom._projection import fluid_level, project

OFFICIAL = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
).split(",")
"""Header of the official table. Two of its names hold a comma, unquoted, and so make two columns each."""

LEAST = 0.1
"""Smallest severity that is called an effusion; what falls below it from study to study has resolved."""

README = """\
SYNTHETIC images, computed by `cbir phantom --kind chest`. No person was examined; not for diagnosis.

Data_Entry_2017_v2020.csv  labels, in the columns of the NIH ChestX-ray14 table
images/                    radiographs, 8-bit grey
masks/                     pleural fluid (255) of the positive images
severity.csv               the hidden truth, one row an image:
    severity               of the worse side, 0 (none) to 1
    side                   none, right, left or bilateral (of the patient: right is on the viewer's left)
    level                  how high the fluid stands above the costophrenic angle on the worse side, in cm
    severity_*, level_*, mask_*   the same, and the pixels of the mask, by side
    view ... markers       drawn without regard to the label: pose, exposure, devices, opacities that are no fluid
"""


@dataclass(frozen=True)
class Plan:
    """One image to make: who, when, and how much fluid."""

    seed: int
    patient: int
    follow_up: int
    severity: tuple[float, float]

    @property
    def name(self) -> str:
        """File name, as in ChestX-ray14."""
        return f"{self.patient:08d}_{self.follow_up:03d}.png"


def build(folder: Path, n: int, size: int, seed: int) -> None:
    """Write ``n`` images of ``size`` x ``size`` pixels, their masks and tables into an empty folder."""
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    (folder / "README.txt").write_text(README, encoding="utf-8")

    def make(plans: list[Plan]) -> list[tuple[list[Any], dict[str, Any]]]:
        body = draw_patient(np.random.default_rng([seed, 1, plans[0].patient]), _pitch(size))
        rows = []
        for plan in plans:
            image, mask, truth = render(plan, body, size)
            _save(image, folder / "images" / plan.name)
            if any(plan.severity):
                _save(mask, folder / "masks" / plan.name)
            rows.append((_official(plan, body, truth, size), truth))
        return rows

    # numpy lets go of the interpreter while it computes, so threads do run side by side.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = [row for patient in pool.map(make, cohort(seed, n)) for row in patient]
    _table(folder / "Data_Entry_2017_v2020.csv", OFFICIAL, [official for official, _ in rows])
    _table(folder / "severity.csv", list(rows[0][1]), [list(truth.values()) for _, truth in rows])


def cohort(seed: int, n: int) -> Iterator[list[Plan]]:
    """Yield the studies of one patient after another, ``n`` studies in all."""
    patient = 0
    while n > 0:
        # Three of seven patients have the disease, in an order drawn anew for each seven: the share of positives does
        # not wander in small sets.
        sick = np.random.default_rng([seed, 0, patient // 7]).permutation(7)[patient % 7] < 3
        patient += 1
        rng = np.random.default_rng([seed, 2, patient])
        studies = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1]))
        course = _course(rng, studies) if sick else [(0.0, 0.0)] * studies
        yield [Plan(seed, patient, follow_up, severity) for follow_up, severity in enumerate(course[:n])]
        n -= studies


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


def render(plan: Plan, body: Patient, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]:
    """Return the image and the fluid's mask, each (size, size) uint8, and the row of the table of truth."""
    # One stream for what the label must not touch, so that it is the same with and without fluid.
    rng = np.random.default_rng([plan.seed, 3, plan.patient, plan.follow_up])
    study = draw_study(rng, plan.severity)
    exposure = draw_exposure(rng, study.view)
    held = draw_devices(rng, study.view, body.permanent)
    field, angle = float(rng.uniform(32, 37.5)), float(rng.normal(0, 0.035))
    shift = (float(rng.normal(0, 0.8)), float(rng.normal(-0.3, 0.8)))
    canvas = Canvas(size * _oversample(size), field, angle, shift)
    fixed = np.random.default_rng([plan.seed, 4, plan.patient])

    clouds = devices(held, body, _pitch(size), rng, fixed)
    shadow = project(body, study, canvas, clouds)
    image = _shrink(expose(shadow.thickness, canvas, exposure, rng), size)
    image = close_shutter(image, exposure)
    markers = _letters(image, study.view, rng)

    left = _shrink(shadow.left.astype(np.float32), size) > 0.5
    lesion = _shrink(shadow.lesion.astype(np.float32), size) >= 0.5
    for severity, half in zip(plan.severity, (~left, left), strict=True):
        if severity and not (lesion & half).any():  # thinner than a pixel, or a veil that is faint everywhere
            fluid = np.where(half, _shrink(shadow.fluid, size), -1)
            lesion[np.unravel_index(fluid.argmax(), fluid.shape)] = True
    truth = _truth(plan, study) | {
        "mask_right": int((lesion & ~left).sum()),
        "mask_left": int((lesion & left).sum()),
        "view": study.view,
        "recumbent": round(study.recumbent, 3),
        "breath_cm": round(study.breath, 3),
        "field_cm": round(field, 3),
        "angle_deg": round(float(np.degrees(angle)), 3),
        "gamma": round(exposure.gamma, 3),
        "bright": round(exposure.bright, 3),
        "contrast": round(exposure.contrast, 3),
        "scatter": round(exposure.scatter, 3),
        "raised": round(max(study.raised), 3),
        "band": round(max(study.band), 3),
        "patch": round(max(study.patch), 3),
        "pad": round(max(study.pad), 3),
        "devices": "|".join(held),
        "markers": "|".join(markers),
    }
    return np.rint(image * 255).astype(np.uint8), lesion.astype(np.uint8) * 255, truth


def _truth(plan: Plan, study: Study) -> dict[str, Any]:
    right, left = plan.severity
    levels = [round(fluid_level(v, study.recumbent), 3) for v in plan.severity]
    side = {(False, False): "none", (True, False): "right", (False, True): "left", (True, True): "bilateral"}
    return {
        "Image Index": plan.name,
        "severity": max(right, left),
        "side": side[right > 0, left > 0],
        "level": max(levels),
        "severity_right": right,
        "severity_left": left,
        "level_right": levels[RIGHT],
        "level_left": levels[LEFT],
    }


def _official(plan: Plan, body: Patient, truth: dict[str, Any], size: int) -> list[Any]:
    finding = "Effusion" if any(plan.severity) else "No Finding"
    spacing = round(truth["field_cm"] * 10 / size, 3)
    person = [plan.follow_up, plan.patient, body.age + plan.follow_up // 2, body.sex, truth["view"]]
    return [plan.name, finding, *person, size, size, spacing, spacing]


def _letters(image: Array, view: str, rng: Generator) -> list[str]:
    """Draw the letters that a radiographer lays on the detector, in place, and return them."""
    drawn = []
    side, grey, height = rng.choice(["L", "R"]), float(rng.uniform(0.75, 1)), float(rng.uniform(0.035, 0.06))
    along, down = rng.uniform(0.03, 0.12), rng.uniform(0.04, 0.2)
    if rng.random() < 0.85:
        stamp(image, side, (along if side == "R" else 0.95 - along, down), height, grey)
        drawn.append(str(side))
    text = rng.choice(["AP", "PORTABLE"]) if view == "AP" else "PA"
    if rng.random() < (0.6 if view == "AP" else 0.15):
        stamp(image, text, (float(rng.uniform(0.03, 0.6)), float(rng.uniform(0.02, 0.06))), 0.6 * height, grey)
        drawn.append(str(text))
    return drawn


def _oversample(size: int) -> int:
    """Return how many times finer than the result the shadow is computed, so that thin structures survive."""
    return -(-128 // size)


def _pitch(size: int) -> float:
    return 34 / (size * _oversample(size))


def _shrink(image: Array, size: int) -> Array:
    block = image.shape[0] // size
    return image.reshape(size, block, size, block).mean(axis=(1, 3)) if block > 1 else image


def _save(image: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    Image.fromarray(image).save(path, compress_level=3)


def _table(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(header) + "\n")  # unquoted, as the official table has it
        csv.writer(file, lineterminator="\n").writerows(rows)
