"""Where the images of a chest set lie and which tables tell their labels, as in the public data sets.

A layout is two functions: ``path`` names the image of a study below the folder, ``tables`` writes the labels of all.
"""

import csv
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cbir_cli.phantom._files import SEX, lines, table

OFFICIAL = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
).split(",")
"""Header of ChestX-ray14's table. Two of its names hold a comma, unquoted, and so make two columns each."""

CHEXPERT = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
).split(",")
"""The fourteen observations, in CheXpert's order."""

NIH = {
    "effusion": ("Effusion",),
    "pneumonia": ("Consolidation", "Pneumonia"),
    "covid": ("Infiltration", "Pneumonia"),
    "cardiomegaly": ("Cardiomegaly",),
}
"""What ChestX-ray14 calls a finding; it is older than COVID-19."""

OBSERVATIONS = {
    "effusion": ("Pleural Effusion",),
    "pneumonia": ("Lung Opacity", "Consolidation", "Pneumonia"),
    "covid": ("Lung Opacity", "Pneumonia"),
    "cardiomegaly": ("Enlarged Cardiomediastinum", "Cardiomegaly"),
}
"""What CheXpert and MIMIC-CXR call a finding."""


@dataclass(frozen=True)
class Entry:
    """One image of a chest set, as the tables need it.

    Attributes
    ----------
    seed, patient, follow_up : int
        Which study.
    path : str
        Of the image, below the folder.
    age, sex, view : int, str, str
    size : int
        Side in pixels.
    spacing : float
        Of the pixels, in mm.
    findings : mapping of str to float
        Severity of each finding of the set; 0 for none.
    devices : bool
        Whether there are tubes or wires.
    boxes : mapping of str to tuple of 4 ints
        x, y, width and height around each finding.
    """

    seed: int
    patient: int
    follow_up: int
    path: str
    age: int
    sex: str
    view: str
    size: int
    spacing: float
    findings: Mapping[str, float]
    devices: bool
    boxes: Mapping[str, tuple[int, int, int, int]]

    @property
    def rng(self) -> np.random.Generator:
        """Draws what the readers of this study said and did not say."""
        return np.random.default_rng([self.seed, 6, self.patient, self.follow_up])


class Layout(NamedTuple):
    """How a layout names images and writes its tables, and what the read-me says of them."""

    path: Callable[[int, int, int], str]
    tables: Callable[[Path, Sequence[Entry]], None]
    readme: str


def _hidden(seed: int, patient: int) -> float:
    """Return a number in [0, 1) of a patient, from which his set and hospital follow."""
    return float(np.random.default_rng([seed, 7, patient]).random())


# --- ChestX-ray14


def _nih_path(seed: int, patient: int, follow_up: int) -> str:
    return f"images/{patient:08d}_{follow_up:03d}.png"


def _nih_tables(folder: Path, entries: Sequence[Entry]) -> None:
    rows = []
    for e in entries:
        names = sorted({name for finding, severity in e.findings.items() if severity for name in NIH[finding]})
        found = "|".join(names) or "No Finding"
        person = [e.follow_up, e.patient, e.age, e.sex, e.view]
        rows.append([Path(e.path).name, found, *person, e.size, e.size, e.spacing, e.spacing])
    with (folder / "Data_Entry_2017_v2020.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(OFFICIAL) + "\n")  # unquoted, as the official table has it
        csv.writer(file, lineterminator="\n").writerows(rows)
    if set(entries[0].findings) != {"effusion"}:
        text = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
        for e in entries:
            for finding, box in e.boxes.items():
                name = {"Infiltration": "Infiltrate"}.get(NIH[finding][0], NIH[finding][-1])
                text.append(f"{Path(e.path).name},{name},{','.join(map(str, box))},,,")
        lines(folder / "BBox_List_2017.csv", text)


# --- CheXpert


def _chexpert_path(seed: int, patient: int, follow_up: int) -> str:
    part = "valid" if _hidden(seed, patient) < 0.1 else "train"
    return f"{part}/patient{patient:05d}/study{follow_up + 1}/view1_frontal.jpg"


def _codes(entry: Entry, *, sure: bool = False) -> dict[str, str]:
    """Return what the report says of each observation: 1.0, 0.0, -1.0 where it hedges, blank where it is silent.

    What is faint is hedged most often. With ``sure`` every observation is 1.0 or 0.0.
    """
    rng = entry.rng
    severity = dict.fromkeys(CHEXPERT, 0.0)
    for finding, value in entry.findings.items():
        for name in OBSERVATIONS[finding]:
            severity[name] = max(severity[name], value)
    severity["Support Devices"] = float(entry.devices)
    healthy = not any(severity[name] for name in CHEXPERT if name != "Support Devices")
    codes = {}
    for name, value in severity.items():
        hedge, mention = rng.random(2)
        if name == "No Finding":
            codes[name] = "1.0" if healthy else "0.0" if sure else ""
        elif sure:
            codes[name] = "1.0" if value else "0.0"
        elif value:
            codes[name] = "-1.0" if hedge < (0.35 if value < 0.25 else 0.06) else "1.0"
        else:
            codes[name] = "-1.0" if hedge < 0.02 else "0.0" if mention < 0.4 else ""
    return codes


def _chexpert_tables(folder: Path, entries: Sequence[Entry]) -> None:
    for part in ("train", "valid"):
        rows = [
            {
                "Path": f"CheXpert-v1.0-small/{e.path}",
                "Sex": SEX[e.sex].capitalize(),
                "Age": e.age,
                "Frontal/Lateral": "Frontal",
                "AP/PA": e.view,
            }
            | _codes(e, sure=part == "valid")
            for e in entries
            if e.path.startswith(part)
        ]
        if rows:
            table(folder / f"{part}.csv", rows)


# --- MIMIC-CXR-JPG


def _mimic_ids(seed: int, patient: int, follow_up: int) -> tuple[int, int, str]:
    """Return subject, study and the image's five times eight digits."""
    digits = "".join(uuid.uuid5(uuid.NAMESPACE_DNS, f"{seed}/{patient}/{follow_up}/{i}").hex for i in (0, 1))
    # Multiples modulo a prime: no two alike, and in no order.
    subject = 10_000_000 + patient * 2_477_017 % 9_999_991
    study = 50_000_000 + (4 * patient + follow_up) * 3_331_333 % 9_999_991
    return subject, study, "-".join(digits[8 * i : 8 * i + 8] for i in range(5))


def _mimic_path(seed: int, patient: int, follow_up: int) -> str:
    subject, study, image = _mimic_ids(seed, patient, follow_up)
    return f"files/p{str(subject)[:2]}/p{subject}/s{study}/{image}.jpg"


def _mimic_tables(folder: Path, entries: Sequence[Entry]) -> None:
    metadata, split, labels = [], [], []
    for e in entries:
        subject, study, image = _mimic_ids(e.seed, e.patient, e.follow_up)
        share = _hidden(e.seed, e.patient)
        bedside = e.view == "AP"
        metadata.append(
            {
                "dicom_id": image,
                "subject_id": subject,
                "study_id": study,
                "PerformedProcedureStepDescription": "CHEST (PORTABLE AP)" if bedside else "CHEST (PA AND LAT)",
                "ViewPosition": e.view,
                "Rows": e.size,
                "Columns": e.size,
                "StudyDate": 21_000_101 + 10_000 * e.follow_up + 100 * (e.patient % 12),
                "StudyTime": round(80_000 + 1_000 * float(e.rng.random()), 3),
                "ProcedureCodeSequence_CodeMeaning": "CHEST (PORTABLE AP)" if bedside else "CHEST (PA AND LAT)",
                "ViewCodeSequence_CodeMeaning": "antero-posterior" if bedside else "postero-anterior",
                "PatientOrientationCodeSequence_CodeMeaning": "Erect",
            }
        )
        name = "test" if share < 0.2 else "validate" if share < 0.3 else "train"
        split.append({"dicom_id": image, "study_id": study, "subject_id": subject, "split": name})
        codes = _codes(e)
        labels.append({"subject_id": subject, "study_id": study} | {key: codes[key] for key in sorted(codes)})
    for part, rows in (("metadata", metadata), ("split", split), ("chexpert", labels), ("negbio", labels)):
        table(folder / f"mimic-cxr-2.0.0-{part}.csv.gz", rows)


# --- COVIDx


def _covidx_path(seed: int, patient: int, follow_up: int) -> str:
    part = "test" if _hidden(seed, patient) < 0.2 else "train"
    return f"{part}/{_covidx_source(seed, patient)}-{patient:05d}-{follow_up}.png"


def _covidx_source(seed: int, patient: int) -> str:
    # Unlike in the real set, the source tells nothing about the class.
    return ("rsna", "cohen", "sirm", "actmed")[int(_hidden(seed, patient) * 1000) % 4]


def _covidx_tables(folder: Path, entries: Sequence[Entry]) -> None:
    for part in ("train", "test"):
        text = []
        for e in entries:
            if e.path.startswith(part):
                name = (
                    "COVID-19" if e.findings.get("covid") else "pneumonia" if e.findings.get("pneumonia") else "normal"
                )
                text.append(f"{e.patient} {Path(e.path).name} {name} {_covidx_source(e.seed, e.patient)}")
        (folder / part).mkdir(exist_ok=True)
        lines(folder / f"{part}_COVIDx5.txt", text)


LAYOUTS = {
    "nih": Layout(
        _nih_path,
        _nih_tables,
        "Data_Entry_2017_v2020.csv  labels, in the columns of the NIH ChestX-ray14 table\n"
        "images/                    radiographs, 8-bit grey",
    ),
    "chexpert": Layout(
        _chexpert_path,
        _chexpert_tables,
        "train.csv, valid.csv       labels, in the columns of CheXpert: 1, 0, -1 (hedged) or blank (not mentioned)\n"
        "train/, valid/             radiographs, JPEG",
    ),
    "mimic": Layout(
        _mimic_path,
        _mimic_tables,
        "mimic-cxr-2.0.0-*.csv.gz   metadata, split and labels, in the columns of MIMIC-CXR-JPG\n"
        "files/                     radiographs, JPEG",
    ),
    "covidx": Layout(
        _covidx_path,
        _covidx_tables,
        "train_COVIDx5.txt, test_COVIDx5.txt   patient, file, class and source, as in COVIDx\n"
        "train/, test/              radiographs, 8-bit grey",
    ),
}
