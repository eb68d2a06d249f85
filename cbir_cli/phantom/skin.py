"""Dermoscopy of nevi, melanomas and seborrheic keratoses, in the layout of ISIC 2017 part 3.

Half of the lesions are nevi, a quarter are melanomas and a quarter seborrheic keratoses. A patient has one lesion;
skin, hair, camera and what lies on the skin are drawn without the class. ISIC's tables know no patients, so there each
has one image; with a manifest he has one to three visits. Every patient draws from generators of his own.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli.phantom._dermoscope import Person, draw_person, draw_shot, expose
from cbir_cli.phantom._files import SEX, chosen, picture, table
from cbir_cli.phantom._lesion import CLASSES, Lesion, draw_lesion, pigment

IMAGES = 400
"""Images of a set, unless told otherwise."""

LAYOUTS = ("isic2017", "manifest")

SHAPES = ((4, 3), (3, 2))
"""Proportions of the images."""

MASKS = "ISIC-2017_Training_Part1_GroundTruth"

README = """\
SYNTHETIC images, computed by `cbir phantom --kind skin`. No person was examined; not for diagnosis.

{files}
severity.csv       the hidden truth, one row an image:
    patient, visit   who, and how often seen before: a patient has one lesion
    severity         of a melanoma how uneven it is, up to 1; 0 for all else
    atypia           the same scale for all lesions: an odd nevus looks like an early melanoma
    radius ... cast_blue   drawn without regard to the class: size, tone, camera, hair and other things in the way
"""

FILES = {
    "isic2017": f"""\
ISIC-2017_Training_Part3_GroundTruth.csv   classes, in the columns of ISIC 2017 part 3; neither of both is a nevus
images/            dermoscopy, JPEG, and ISIC-2017_Training_Data_metadata.csv with age and sex; one a patient
{MASKS}/   the lesion (255) of each image, *_segmentation.png""",
    "manifest": """\
manifest.csv       a row an image: path, patient, study, sex, age, mask and the classes
images/            dermoscopy, JPEG
masks/             the lesion (255) of each image""",
}
"""What the read-me says of each layout."""


@dataclass(frozen=True)
class Plan:
    """One image to make: who, when, and how the lesion has changed since the first visit."""

    seed: int
    number: int
    patient: int
    visit: int
    kind: str
    growth: float
    worse: float

    @property
    def name(self) -> str:
        """Identifier, as in the ISIC archive."""
        return f"ISIC_{self.number:07d}"


def build(folder: Path, n: int, size: int, seed: int, *, layout: str = "isic2017") -> None:
    """Write ``n`` images whose shorter side has ``size`` pixels, their masks and tables, into an empty folder.

    Parameters
    ----------
    folder : Path
    n : int
    size : int
    seed : int
    layout : str
        ``isic2017``, or ``manifest``, which tells patients and shows them more than once.
    """
    (layout,) = chosen("layout", [layout], LAYOUTS)
    (folder / "README.txt").write_text(README.format(files=FILES[layout]), encoding="utf-8")
    official = layout == "isic2017"

    def make(plans: list[Plan]) -> list[dict[str, Any]]:
        rng = np.random.default_rng([seed, 21, plans[0].patient])
        person = draw_person(rng)
        lesion = draw_lesion(rng, plans[0].kind)
        rows = []
        for plan in plans:
            image, mask, truth = render(plan, person, lesion, size)
            picture(image, folder / "images" / f"{plan.name}.jpg")
            picture(mask, folder / (f"{MASKS}/{plan.name}_segmentation.png" if official else f"masks/{plan.name}.png"))
            rows.append(truth)
        return rows

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = [row for patient in pool.map(make, cohort(seed, n, single=official)) for row in patient]
    table(folder / "severity.csv", rows)
    (_isic if official else _manifest)(folder, rows)


def _isic(folder: Path, rows: list[dict[str, Any]]) -> None:
    classes = [
        {"image_id": row["image_id"]} | {c: float(row["class"] == c) for c in ("melanoma", "seborrheic_keratosis")}
        for row in rows
    ]
    people = [
        {"image_id": r["image_id"], "age_approximate": r["age"] or "unknown", "sex": SEX.get(r["sex"], "unknown")}
        for r in rows
    ]
    table(folder / "ISIC-2017_Training_Part3_GroundTruth.csv", classes)
    table(folder / "images" / "ISIC-2017_Training_Data_metadata.csv", people)


def _manifest(folder: Path, rows: list[dict[str, Any]]) -> None:
    listed = []
    for row in rows:
        who, name = f"P{row['patient']:05d}", row["image_id"]
        files = {"path": f"images/{name}.jpg", "patient": who, "study": f"{who}/V{row['visit'] + 1}"}
        about = {"sex": row["sex"], "age": row["age"], "mask": f"masks/{name}.png"}
        listed.append(files | about | {f"label:{c}": int(row["class"] == c) for c in CLASSES})
    table(folder / "manifest.csv", listed)


def cohort(seed: int, n: int, *, single: bool) -> Iterator[list[Plan]]:
    """Yield the visits of one patient after another, ``n`` images in all; with ``single`` each patient has one."""
    patient = number = 0
    while number < n:
        place = int(np.random.default_rng([seed, 20, patient // 4]).permutation(4)[patient % 4])
        kind = CLASSES[max(0, place - 1)]
        patient += 1
        rng = np.random.default_rng([seed, 22, patient])
        visits = min(int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])), n - number) if not single else 1
        growth = np.exp(np.cumsum([0.0, *rng.normal(0.03, 0.06, 2)]))
        worse = np.cumsum([0.0, *rng.normal(0.06, 0.08, 2)])
        yield [Plan(seed, number + i, patient, i, kind, float(growth[i]), float(worse[i])) for i in range(visits)]
        number += visits


def render(
    plan: Plan, person: Person, lesion: Lesion, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]:
    """Return the image (H, W, 3) and the lesion's mask (H, W), both uint8, and the row of the table of truth."""
    # One stream for what the class must not touch, so that it is the same for all of them.
    rng = np.random.default_rng([plan.seed, 23, plan.patient, plan.visit])
    wide, high = SHAPES[int(rng.random() < 0.25)]
    shot = draw_shot(rng, person)
    angle = float(rng.normal(0, 0.35))
    columns = round(size * wide / high / 2) * 2
    y = ((np.arange(size, dtype=np.float32) + 0.5 - size / 2) / size)[:, None] - np.float32(shot.middle[1])
    x = ((np.arange(columns, dtype=np.float32) + 0.5 - columns / 2) / size)[None] - np.float32(shot.middle[0])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    severity = round(float(np.clip(lesion.severity + plan.worse, 0.1, 1)), 4) if lesion.severity else 0.0
    across, down = (cos * x + sin * y).astype(np.float32), (cos * y - sin * x).astype(np.float32)
    found = pigment(lesion, across, down, plan.growth, severity)
    image = expose(found, lesion.hue, person, shot, rng)
    mask = found.mask
    if not mask.any():
        mask[size // 2, columns // 2] = True
    truth = {
        "image_id": plan.name,
        "patient": plan.patient,
        "visit": plan.visit,
        "class": plan.kind,
        "severity": severity,
        "atypia": round(lesion.atypia + 0.75 * (severity - lesion.severity), 4),
        "mask": int(mask.sum()),
        "age": person.age if person.known else "",
        "sex": person.sex if person.known else "",
        "radius": round(lesion.radius * plan.growth, 4),
        "tone": round(lesion.tone, 4),
        "tan": round(person.tan, 4),
        "hairs": shot.hairs,
        "ruler": int(shot.ruler),
        "ink": int(shot.ink),
        "bubbles": int(shot.bubbles),
        "vignette": int(shot.tube < 1),
        "cast_red": round(shot.gains[0], 3),
        "cast_blue": round(shot.gains[2], 3),
    }
    return np.rint(image * 255).astype(np.uint8), mask.astype(np.uint8) * 255, truth
