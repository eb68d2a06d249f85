"""CT volumes of the upper abdomen with tumours of the liver, in the layout of the Medical Segmentation Decathlon.

Three of five patients have tumours. In NIfTI files a patient has one scan, since that layout knows no patients; as
DICOM one to three, in which the tumours grow or shrink. Every patient draws from generators of his own.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.phantom import _dicom
from cbir_cli.phantom._abdomen import Abdomen, Scan, Tumour, draw_abdomen, draw_scan, draw_tumours
from cbir_cli.phantom._files import chosen, lines, nifti, table
from cbir_cli.phantom._organs import LIVER, TUMOUR, paint
from cbir_cli.phantom._volume import Volume

IMAGES = 20
"""Volumes of a set, unless told otherwise."""

FORMATS = ("nifti", "dicom")

ORIENTATIONS = ("RAS", "LPS", "LAS", "LPI", "PSR")
"""Order and direction of a NIfTI file's axes; the first is canonical. Each is found once in any five volumes."""

FULL = 600.0
"""Volume of tumour in ml that is severity 1."""

README = """\
SYNTHETIC volumes, computed by `cbir phantom --kind ct`. No person was examined; not for diagnosis.

{files}
severity.csv   the hidden truth, one row a volume:
    severity       cube root of the tumours' volume as a share of {full:.0f} ml, 0 (none) to 1
    tumours        how many
    tumour_ml      their volume as drawn; later scans of a patient show the same tumours, larger or smaller
    *_voxels       counted in the mask
    orientation ... drink   drawn without regard to the tumours
"""

NIFTI = """\
imagesTr/      volumes in Hounsfield units; the axes of most are not canonical, as their affines say
labelsTr/      1 liver, 2 tumour
dataset.json   list of both, in the form of the Medical Segmentation Decathlon; one volume a patient"""

DICOM = """\
dicom/         one folder a patient, one a study; a file is a slice, and its name does not tell which
masks/         1 liver, 2 tumour, one volume a study
slices.csv     one row a slice: path, patient, study, and whether it shows liver and tumour"""


@dataclass(frozen=True)
class Plan:
    """One volume to make: who, when, and how the tumours have grown since the first scan."""

    seed: int
    number: int
    patient: int
    study: int
    growth: float
    sick: bool


@dataclass(frozen=True)
class Made:
    """A volume as it is written: voxels (Z, Y, X), X to the patient's left, Y to his back, Z to his head; mm."""

    hu: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]


def build(folder: Path, n: int, size: int, seed: int, *, format: str = "nifti") -> None:
    """Write ``n`` volumes, with slices of ``size`` x ``size`` pixels, their masks and tables into an empty folder.

    Parameters
    ----------
    folder : Path
    n : int
    size : int
    seed : int
    format : str
        ``nifti`` or ``dicom``.
    """
    (kind,) = chosen("format", [format], FORMATS)
    text = README.format(files=NIFTI if kind == "nifti" else DICOM, full=FULL)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    write = _write_nifti if kind == "nifti" else _write_series

    def make(plans: list[Plan]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        rng = np.random.default_rng([seed, 11, plans[0].patient])
        body = draw_abdomen(rng)
        tumours = draw_tumours(rng, body) if plans[0].sick else ()
        rows = []
        for plan in plans:
            made, scan, truth = render(plan, body, tumours, size)
            rows.append(write(folder, plan, body, scan, made, truth))
        return rows

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        rows = [row for patient in pool.map(make, cohort(seed, n, single=kind == "nifti")) for row in patient]
    table(folder / "severity.csv", [truth for truth, _ in rows])
    if kind == "nifti":
        _dataset(folder, seed, [truth["image"] for truth, _ in rows])
    else:
        table(folder / "slices.csv", [line for _, slices in rows for line in slices])


def cohort(seed: int, n: int, *, single: bool) -> Iterator[list[Plan]]:
    """Yield the scans of one patient after another, ``n`` in all; with ``single`` each patient has one."""
    patient = number = 0
    while number < n:
        sick = bool(np.random.default_rng([seed, 10, patient // 5]).permutation(5)[patient % 5] < 3)
        patient += 1
        rng = np.random.default_rng([seed, 12, patient])
        scans = min(int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2])), n - number)
        growth = np.exp(np.cumsum([0.0, *rng.normal(0.05, 0.22, 2)])).clip(0.5, 1.6)
        plans = [Plan(seed, number + i, patient, i, float(growth[i]), sick) for i in range(1 if single else scans)]
        number += len(plans)
        yield plans


def render(plan: Plan, body: Abdomen, tumours: tuple[Tumour, ...], size: int) -> tuple[Made, Scan, dict[str, Any]]:
    """Return a volume, how it was scanned, and its row of the table of truth."""
    rng = np.random.default_rng([plan.seed, 13, plan.patient, plan.study])
    scan = draw_scan(rng)
    field = 2 * body.half[0] * float(rng.uniform(1.08, 1.3))
    thick = float(rng.choice([3.0, 4.0, 5.0])) / 10
    low, high = float(rng.uniform(-22, -20)), float(rng.uniform(3, 5))
    across = ((np.arange(size) + 0.5) / size - 0.5) * field
    up = np.arange(low, high, thick)
    volume = Volume(
        (across - scan.shift[0]).astype(np.float32)[None, None],
        (across - scan.shift[1]).astype(np.float32)[None, :, None],
        (up - scan.breath).astype(np.float32)[:, None, None],
    )
    still, moving = plan.seed * 1_000_003 + plan.patient, (plan.seed * 1_000_003 + plan.patient) * 8 + plan.study
    voxels = paint(volume, body, tumours, plan.growth, scan, still, moving)
    pixel = field * 10 / size
    made = Made(
        np.rint(volume.hu).clip(-1024, 3071).astype(np.int16),
        volume.label,
        (round(pixel, 4), round(pixel, 4), round(thick * 10, 4)),
        (round(across[0] * 10, 2), round(across[0] * 10, 2), round(low * 10, 2)),
    )
    ml = sum(t.volume(plan.growth) for t in tumours)
    turn = np.random.default_rng([plan.seed, 14, plan.number // 5]).permutation(5)[plan.number % 5]
    truth = {
        "image": "",
        "patient": plan.patient,
        "study": plan.study,
        "age": body.age + plan.study // 2,
        "sex": body.sex,
        "severity": round(min(1.0, (ml / FULL) ** (1 / 3)), 4),
        "tumours": len(voxels),
        "tumour_ml": round(ml, 2),
        "tumour_voxels": int((made.label == TUMOUR).sum()),
        "liver_voxels": int((made.label == LIVER).sum()),
        "orientation": ORIENTATIONS[turn],
        "pixel_mm": made.spacing[0],
        "slice_mm": made.spacing[2],
        "slices": len(up),
        "contrast": round(scan.contrast, 3),
        "noise": round(scan.noise, 2),
        "drink": scan.drink,
    }
    return made, scan, truth


def _write_nifti(
    folder: Path, plan: Plan, body: Abdomen, scan: Scan, made: Made, truth: dict[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    name = f"liver_{plan.number}.nii.gz"
    for place, voxels in (("imagesTr", made.hu), ("labelsTr", made.label)):
        nifti(voxels, made.spacing, made.origin, truth["orientation"], folder / place / name)
    return truth | {"image": f"imagesTr/{name}"}, []


def _dataset(folder: Path, seed: int, images: list[str]) -> None:
    """Write the list of volumes, in no order, as the Decathlon's is."""
    order = np.random.default_rng([seed, 15]).permutation(len(images))
    pairs = [
        {"image": f"./{images[i]}", "label": f"./{images[i].replace('imagesTr', 'labelsTr')}"} for i in order.tolist()
    ]
    content = {
        "name": "Liver",
        "description": "Synthetic liver and tumour segmentation, computed by cbir phantom",
        "reference": "none: no person was examined",
        "licence": "CC0",
        "release": "1.0",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "numTraining": len(pairs),
        "numTest": 0,
        "training": pairs,
        "test": [],
    }
    lines(folder / "dataset.json", [json.dumps(content, indent=1)])


def _write_series(
    folder: Path, plan: Plan, body: Abdomen, scan: Scan, made: Made, truth: dict[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write a slice a file, with an intercept of -1024, and the mask of the study as one volume."""
    seed, patient, number = plan.seed, plan.patient, plan.study
    who, when = f"P{patient:05d}", f"S{number + 1}"
    series = Path("dicom") / who / when
    tags = _dicom.person(seed, patient, body.sex, truth["age"])
    tags |= _dicom.study(seed, patient, number, "CT", "CT ABDOMEN")
    tags |= {
        "ImageType": ["DERIVED", "PRIMARY", "AXIAL"],
        "SeriesDescription": "PORTAL VENOUS" if scan.contrast else "PLAIN",
        "BodyPartExamined": "ABDOMEN",
        "PatientPosition": "HFS",
        "PhotometricInterpretation": "MONOCHROME2",
        "SliceThickness": made.spacing[2],
        "SpacingBetweenSlices": made.spacing[2],
        "KVP": 120,
        "ConvolutionKernel": "SHARP" if scan.sharp < 0.06 else "SOFT",
        "PixelSpacing": [made.spacing[1], made.spacing[0]],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "RescaleType": "HU",
        "WindowCenter": 40,
        "WindowWidth": 400,
    }
    slices = []
    count = len(made.hu)
    for k in range(count):
        height = round(made.origin[2] + k * made.spacing[2], 2)
        path = series / f"{_dicom.name(seed, patient, number, k)}.dcm"
        # Scanners count from the head down.
        own = {
            "InstanceNumber": count - k,
            "AcquisitionNumber": 1,
            "ImagePositionPatient": [made.origin[0], made.origin[1], height],
            "SliceLocation": height,
        }
        pixels = (made.hu[k].astype(np.int32) + 1024).astype(np.uint16)
        instance = _dicom.uid(seed, "CT", patient, number, k)
        _dicom.write(folder / path, pixels, tags | own, _dicom.CT, instance, 12)
        found = np.bincount(made.label[k].ravel(), minlength=3)
        slices.append(
            {"path": path.as_posix(), "patient": who, "study": f"{who}/{when}", "z_mm": height}
            | {"label:liver": int(found[1:].any()), "label:tumour": int(found[TUMOUR] > 0)}
        )
    nifti(made.label, made.spacing, made.origin, "LPS", folder / "masks" / f"{who}_{when}.nii.gz")
    return truth | {"image": series.as_posix(), "orientation": "LPS"}, sorted(slices, key=lambda row: row["path"])
