"""Radiographs of the chest as DICOM files: twelve bits, some with inverted greys, a folder a patient and a study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli.phantom import _dicom
from cbir_cli.phantom._files import table
from cbir_cli.phantom._layouts import NIH, Entry

BITS = 12

README = """\
labels.csv                 a row an image: path, patient, study, view, mask and the labels
dicom/                     radiographs of 12 bits, one folder a patient, one a study; some with inverted greys"""


def path(seed: int, patient: int, follow_up: int) -> str:
    """Return where the image of a study lies below the folder."""
    return f"dicom/P{patient:05d}/S{follow_up + 1}/{_dicom.name(seed, 'DX', patient, follow_up)}.dcm"


def write(folder: Path, pixels: NDArray[np.uint16], entry: Entry) -> None:
    """Write the image of a study.

    Parameters
    ----------
    folder : Path
    pixels : ndarray (H, W), uint16
        Greys of twelve bits, bright for dense.
    entry : Entry
    """
    seed, patient, number = entry.seed, entry.patient, entry.follow_up
    rng = np.random.default_rng([seed, 8, patient, number])
    inverted, shaped, windowed, silent = rng.random(4)
    inverse = bool(inverted < 0.35)
    top = (1 << BITS) - 1
    tags: dict[str, Any] = _dicom.person(seed, patient, entry.sex, entry.age)
    tags |= _dicom.study(seed, patient, number, "DX", f"CHEST {entry.view}")
    tags |= {
        "ImageType": ["DERIVED", "PRIMARY"],
        "SeriesDescription": entry.view,
        "InstanceNumber": 1,
        "BodyPartExamined": "CHEST",
        # Now and then it is not filled in.
        "ViewPosition": entry.view if silent > 0.06 else "",
        "PatientOrientation": ["L", "F"],
        "ImageLaterality": "U",
        "PresentationIntentType": "FOR PRESENTATION",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1 if inverse else -1,
        "PhotometricInterpretation": "MONOCHROME1" if inverse else "MONOCHROME2",
        "PresentationLUTShape": None if shaped < 0.5 else "INVERSE" if inverse else "IDENTITY",
        "ImagerPixelSpacing": [entry.spacing, entry.spacing],
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "WindowCenter": None if windowed < 0.4 else (top + 1) // 2,
        "WindowWidth": None if windowed < 0.4 else top + 1,
        "LossyImageCompression": "00",
    }
    stored = (top - pixels if inverse else pixels).astype(np.uint16)
    _dicom.write(folder / entry.path, stored, tags, _dicom.DX, _dicom.uid(seed, "DX", patient, number, 0), BITS)


def tables(folder: Path, entries: Sequence[Entry]) -> None:
    """Write the labels of all images, under the names of ChestX-ray14, in a table that lists the paths."""
    names = sorted({name for finding in entries[0].findings for name in NIH[finding]})
    rows = []
    for e in entries:
        found = {name for finding, severity in e.findings.items() if severity for name in NIH[finding]}
        who = {"path": e.path, "patient": f"P{e.patient:05d}", "study": f"P{e.patient:05d}/S{e.follow_up + 1}"}
        mask = Path("masks", e.path).with_suffix(".png").as_posix() if e.boxes else ""
        about = {"view": e.view, "sex": e.sex, "age": e.age, "mask": mask}
        rows.append(who | about | {f"label:{name}": int(name in found) for name in names})
    table(folder / "labels.csv", rows)
