"""CheXpert: chest radiographs with fourteen observations, each positive, negative, uncertain or not mentioned.

What is labelled: 14 observations for each study, mined from reports by the CheXpert labeller (``train.csv``) or read by
three radiologists (``valid.csv``). Codes are kept raw: 1, 0, -1 uncertain, and blank, not mentioned, is left out.
Size: 223,414 training images of 64,540 patients and 234 validation images of 200 patients; JPEG, in full size
(``CheXpert-v1.0``) or about 390 x 320 (``CheXpert-v1.0-small``).
Origin: Stanford Hospital, 2002 to 2017.
Paper: J. Irvin et al., CheXpert, AAAI 2019. arXiv:1901.07031.
Access: on registration with Stanford's AIMI center.
Licence: Stanford University Dataset Research Use Agreement, no commercial use, no redistribution.

Study numbers count within a patient, so the study is ``patient00001/study1``. Not every frontal image is AP or PA: 17
are LL or RL. No image that is not frontal has an entry there; it is LATERAL.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cbir_cli.data import _tables
from cbir_cli.data._files import drop_missing
from cbir_cli.errors import SourceError
from cbir_cli.records import Flow, Record

CITATION = (
    "J. Irvin, P. Rajpurkar, M. Ko, Y. Yu, et al. CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels "
    "and Expert Comparison. AAAI 2019."
)
LICENSE = "Stanford University Dataset Research Use Agreement: research only, no redistribution"

LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
_TABLES = {"train.csv": "train", "valid.csv": "validation"}
_PREFIXES = ("CheXpert-v1.0", "CheXpert-v1.0-small")
_STUDY = re.compile(r"(?P<patient>patient\d+)/study\d+")


def recognise(root: Path) -> bool:
    """Whether a folder, or its ``CheXpert-v1.0[-small]``, holds ``train.csv`` or ``valid.csv`` with these columns."""
    try:
        return any(set(_COLUMNS) <= set(_tables.header(table)) for table in _found(root))
    except SourceError:
        return False


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Every row of the tables whose image is there.

    Parameters
    ----------
    root : Path
        The folder ``CheXpert-v1.0[-small]`` or the one that holds it.
    flow : Flow
        Counts rows.

    Yields
    ------
    Record
        ``id`` is the path from ``train/`` or ``valid/`` on, the same for both sizes and either root.

    Raises
    ------
    SourceError
        If there is no table, both sizes are there, a column is lacking, or a row has another label code or no patient
        in its path.
    """
    tables = _found(root)
    if not tables:
        raise SourceError(f"{root}: expected train.csv or valid.csv, there or in {' or '.join(_PREFIXES)}")
    if len({table.parent for table in tables}) > 1:
        raise SourceError(f"{root}: holds {' and '.join(sorted({t.parent.name for t in tables}))}; name one of them")
    missing: list[str] = []
    for path in tables:
        table = _tables.Table(path, (*_COLUMNS, *LABELS))
        labels = _tables.Labels(path, {label: label for label in LABELS})
        files = _Files(root, path.parent)
        for number, row in table:
            flow.read += 1
            inner = _inner(row["Path"])
            who = _STUDY.search(inner)
            if not who:
                raise SourceError(
                    f"{path}: row {number}: expected a path with patient and study, found {row['Path']!r}"
                )
            codes = labels(number, row)
            years = _tables.age(path, number, row["Age"])
            relative = files.find(inner)
            if relative is None:
                missing.append(inner)
                continue
            yield Record(
                id=os.path.splitext(inner)[0],
                path=root / relative,
                relative=relative,
                labels=codes,
                patient=who["patient"],
                study=who[0],
                view=row["AP/PA"] if row["Frontal/Lateral"] == "Frontal" else "LATERAL",
                split=_TABLES[path.name],
                sex=_tables.sex(row["Sex"]),
                # 0 stands for an age that is not known: the youngest patients are 18.
                age=years or None,
            )
    drop_missing(flow, missing)


def _found(root: Path) -> list[Path]:
    folders = [root] if any((root / name).is_file() for name in _TABLES) else [root / prefix for prefix in _PREFIXES]
    return [folder / name for folder in folders for name in _TABLES if (folder / name).is_file()]


def _inner(text: str) -> str:
    """Return a table's path from ``train/`` or ``valid/`` on."""
    first, _, rest = text.partition("/")
    return rest if first in _PREFIXES else text


class _Files:
    """Where the images lie: beside the table, or in a folder of either size beside it; asked first where last found."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = str(root)
        self._bases = [b.relative_to(root).as_posix() for b in (folder, *(folder / prefix for prefix in _PREFIXES))]

    def find(self, inner: str) -> str | None:
        """Return the path of an image below the root, or None. Plain strings: this runs for 223,414 rows."""
        for base in self._bases:
            relative = inner if base == "." else f"{base}/{inner}"
            if os.path.isfile(f"{self._root}/{relative}"):
                if base != self._bases[0]:
                    self._bases.sort(key=lambda other: other != base)
                return relative
        return None
