"""Chest radiographs with pleural effusion, and on demand other findings, in the layouts of public data sets.

Patients come with one to four studies; the body stays, disease comes and goes. Two of five studies have an effusion.
Every patient draws from generators of his own, so the first patients of a set do not depend on how many follow.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cbir_cli.errors import UsageError
from cbir_cli.phantom import _radiographs
from cbir_cli.phantom._anatomy import LEFT, RIGHT, Patient, Study, draw_patient, draw_study
from cbir_cli.phantom._canvas import Array, Canvas
from cbir_cli.phantom._cohort import Plan, cohort
from cbir_cli.phantom._devices import devices, draw_devices
from cbir_cli.phantom._files import chosen, picture, table
from cbir_cli.phantom._film import close_shutter, draw_exposure, expose, stamp
from cbir_cli.phantom._layouts import LAYOUTS, Entry
from cbir_cli.phantom._projection import fluid_level, project

IMAGES = 400
"""Images of a set, unless told otherwise."""

FINDINGS = ("effusion", "pneumonia", "covid", "cardiomegaly")

FORMATS = ("png", "dicom")

README = """\
SYNTHETIC images, computed by `cbir phantom --kind chest`. No person was examined; not for diagnosis.

{files}
masks/                     {masks} of the positive images
severity.csv               the hidden truth, one row an image:
    severity               of the worse side, 0 (none) to 1
    side                   none, right, left or bilateral (of the patient: right is on the viewer's left)
    level                  how high the fluid stands above the costophrenic angle on the worse side, in cm
    severity_*, level_*, mask_*   the same, and the pixels of the mask, by side
    view ... markers       drawn without regard to the label: pose, exposure, devices, opacities that are no fluid
"""

MORE = """\
    effusion ... lobe      severity of each finding, by side where it has sides; severity is that of the worst one
masks-*/                   the same masks, by finding
"""


def build(
    folder: Path,
    n: int,
    size: int,
    seed: int,
    *,
    findings: Sequence[str] | None = None,
    layout: str = "nih",
    format: str = "png",
) -> None:
    """Write ``n`` images of ``size`` x ``size`` pixels, their masks and tables into an empty folder.

    Parameters
    ----------
    folder : Path
    n : int
    size : int
    seed : int
    findings : sequence of str, optional
        Of `FINDINGS`. None is effusion; in the layout of COVIDx pneumonia and COVID, its classes.
    layout : str
        Of `LAYOUTS`.
    format : str
        ``png``: pictures of 8 bits, JPEG where the layout has them. ``dicom``: 12 bits, in folders of their own.
    """
    (layout,) = chosen("layout", [layout], tuple(LAYOUTS))
    (format,) = chosen("format", [format], FORMATS)
    if findings is None:
        findings = ("pneumonia", "covid") if layout == "covidx" else ("effusion",)
    kinds = chosen("finding", findings, FINDINGS)
    if format == "dicom" and layout != "nih":
        raise UsageError(f"DICOM files have a layout of their own, not that of {layout}")
    if layout == "covidx" and not {"pneumonia", "covid"} <= set(kinds):
        raise UsageError("the layout covidx needs the findings pneumonia and covid: they are its classes")
    plain = kinds == ("effusion",)
    place, tables, text = (
        (_radiographs.path, _radiographs.tables, _radiographs.README) if format == "dicom" else LAYOUTS[layout]
    )
    masks = "pleural fluid (255)" if plain else "all findings (255)"
    text = README.format(files=text, masks=masks) + ("" if plain else MORE)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    (folder / "masks").mkdir()

    def make(plans: list[Plan]) -> list[tuple[Entry, dict[str, Any]]]:
        body = draw_patient(np.random.default_rng([seed, 1, plans[0].patient]), _pitch(size))
        rows = []
        for plan in plans:
            path = place(plan.seed, plan.patient, plan.follow_up)
            image, found, truth = render(plan, body, size)
            entry = _entry(plan, body, found, truth, kinds, path, size)
            if format == "dicom":
                _radiographs.write(folder, np.rint(image * 4095).astype(np.uint16), entry)
            else:
                picture(np.rint(image * 255).astype(np.uint8), folder / path)
            name = Path(path.removeprefix("images/")).with_suffix(".png")
            _masks(folder, name, found, plain)
            truth = _renamed(truth, plan, kinds, found, path if format == "dicom" else _index(layout, path))
            rows.append((entry, truth))
        return rows

    # numpy lets go of the interpreter while it computes, so threads do run side by side.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = [row for patient in pool.map(make, cohort(seed, n, kinds)) for row in patient]
    tables(folder, [entry for entry, _ in rows])
    table(folder / "severity.csv", [truth for _, truth in rows])


def _index(layout: str, path: str) -> str:
    """Return what the table of truth calls an image: its name, or its path where names repeat."""
    return path if layout == "chexpert" else Path(path).name


def _masks(folder: Path, name: Path, found: Mapping[str, NDArray[np.bool_]], plain: bool) -> None:
    """Write the union of the findings' masks and, unless fluid is all that there may be, each of them."""
    if found:
        picture(np.logical_or.reduce(list(found.values())).astype(np.uint8) * 255, folder / "masks" / name)
    for finding, mask in found.items() if not plain else ():
        picture(mask.astype(np.uint8) * 255, folder / f"masks-{finding}" / name)


def _renamed(
    truth: dict[str, Any], plan: Plan, kinds: Sequence[str], found: Mapping[str, NDArray[np.bool_]], index: str
) -> dict[str, Any]:
    """Return the row of the table of truth under the image's name, with the findings beside fluid."""
    truth["Image Index"] = index
    if kinds == ("effusion",):
        return truth
    own = plan.disease
    more: dict[str, Any] = {}
    if "effusion" in kinds:
        more |= {"effusion_right": plan.severity[RIGHT], "effusion_left": plan.severity[LEFT]}
    if "pneumonia" in kinds:
        more |= {"pneumonia": own.pneumonia, "lobe": own.lobe}
    if "covid" in kinds:
        more |= {"covid_right": own.covid[RIGHT], "covid_left": own.covid[LEFT]}
    if "cardiomegaly" in kinds:
        more |= {"cardiomegaly": own.cardiomegaly}
    more |= {f"mask_{kind}": int(found[kind].sum()) if kind in found else 0 for kind in kinds}
    at = list(truth).index("view")
    items = list(truth.items())
    return dict(items[:at]) | more | dict(items[at:])


def render(plan: Plan, body: Patient, size: int) -> tuple[Array, dict[str, NDArray[np.bool_]], dict[str, Any]]:
    """Return an image, the masks of its findings, and the row of the table of truth.

    Returns
    -------
    image : ndarray (size, size), float32
        From 0 to 1.
    found : dict of str to ndarray (size, size), bool
        Where each finding that there is can be seen; never empty.
    truth : dict
    """
    # One stream for what the label must not touch, so that it is the same with and without fluid.
    rng = np.random.default_rng([plan.seed, 3, plan.patient, plan.follow_up])
    study = draw_study(rng, plan.severity, plan.disease)
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
    found = {"effusion": lesion} if any(plan.severity) else {}
    found |= {name: _seen(mask, size) for name, mask in shadow.found.items()}
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
    return image, found, truth


def _seen(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return a finer mask at (size, size), with one pixel at least."""
    share = _shrink(mask.astype(np.float32), size)
    seen: NDArray[np.bool_] = share >= 0.5
    if not seen.any():
        seen[np.unravel_index(share.argmax(), share.shape)] = True
    return seen


def _truth(plan: Plan, study: Study) -> dict[str, Any]:
    right, left = plan.sides
    levels = [round(fluid_level(v, study.recumbent), 3) for v in plan.severity]
    side = {(False, False): "none", (True, False): "right", (False, True): "left", (True, True): "bilateral"}
    return {
        "Image Index": plan.name,
        "severity": max(right, left, plan.disease.cardiomegaly),
        "side": side[right > 0, left > 0],
        "level": max(levels),
        "severity_right": right,
        "severity_left": left,
        "level_right": levels[RIGHT],
        "level_left": levels[LEFT],
    }


def _entry(
    plan: Plan,
    body: Patient,
    found: Mapping[str, NDArray[np.bool_]],
    truth: dict[str, Any],
    kinds: Sequence[str],
    path: str,
    size: int,
) -> Entry:
    """Return what the tables of a layout need to know of an image."""
    boxes = {}
    for kind, mask in found.items():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        boxes[kind] = (left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)
    return Entry(
        seed=plan.seed,
        patient=plan.patient,
        follow_up=plan.follow_up,
        path=path,
        age=body.age + plan.follow_up // 2,
        sex=body.sex,
        view=truth["view"],
        size=size,
        spacing=round(truth["field_cm"] * 10 / size, 3),
        findings=plan.findings(kinds),
        devices=bool(truth["devices"]),
        boxes=boxes,
    )


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
