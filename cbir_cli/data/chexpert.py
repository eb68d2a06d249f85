"""CheXpert: chest radiographs with fourteen observations, each positive, negative, uncertain or not mentioned.

What is labelled: 14 observations for each study, mined from reports by the CheXpert labeller (``train.csv``) or read by
radiologists (``valid.csv`` and the test set). Codes are kept raw: 1, 0, -1 uncertain, and blank, not mentioned, is left
out.
Size: 223,414 training images of 64,540 patients, 234 validation images of 200 and 668 test images of 500 patients;
JPEG, in full size (``CheXpert-v1.0``) or about 390 x 320 (``CheXpert-v1.0-small``).
Origin: Stanford Hospital, 2002 to 2017.
Paper: J. Irvin et al., CheXpert, AAAI 2019. arXiv:1901.07031.
Access: on registration with Stanford's AIMI center. Layout: ``train.csv``, ``valid.csv`` and, if it is there, one of
``test.csv``, ``test_labels.csv`` (CheXlocalize) and ``groundtruth.csv`` (labels by study) beside ``train/``, ``valid/``
and ``test/``; or the four folders ``CheXpert-v1.0 batch ...`` as they are downloaded.
Licence: Stanford University Dataset Research Use Agreement, no commercial use, no redistribution.

Study numbers count within a patient, so the study is ``patient00001/study1``. Not every frontal image is AP or PA: 17
are LL or RL. No image that is not frontal has an entry there; it is LATERAL. The test tables state neither sex nor age,
and of the view only whether it is lateral, in the file's name.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cbir_cli.data import _tables
from cbir_cli.data._files import drop_missing, images_by_name
from cbir_cli.errors import SourceError
from cbir_cli.label_sets import CHEXPERT_14
from cbir_cli.records import Flow, Record

CITATION = (
    "J. Irvin, P. Rajpurkar, M. Ko, Y. Yu, et al. CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels "
    "and Expert Comparison. AAAI 2019."
)
LICENSE = "Stanford University Dataset Research Use Agreement: research only, no redistribution"

LABELS = CHEXPERT_14
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
_ALIASES = {"Airspace Opacity": "Lung Opacity"}
"""In CheXlocalize's tables."""
_TABLES = {"train": ("train.csv",), "validation": ("valid.csv", "val_labels.csv")}
_TABLES["test"] = ("test.csv", "test_labels.csv", "groundtruth.csv")
ROWS = {"train.csv": 223414, "valid.csv": 234, "val_labels.csv": 234}
ROWS |= {"test.csv": 668, "test_labels.csv": 668, "groundtruth.csv": 500}
_PREFIXES = ("CheXpert-v1.0", "CheXpert-v1.0-small")
_BATCHES = "CheXpert-v1.0 batch *"
_STUDY = re.compile(r"(?P<patient>patient\d+)/study\d+")
_INNER = re.compile(r"(?:^|/)((?:train|valid|val|test)/patient\d+/.*)")


def recognise(root: Path) -> bool:
    """Whether a folder, or its ``CheXpert-v1.0*``, holds ``train.csv``, ``valid.csv`` or a test table with labels."""
    try:
        return root.is_dir() and any(_fits(_tables.header(table)) for table in _found(root).values())
    except SourceError:
        return False


def _fits(columns: list[str]) -> bool:
    labelled = sum(_ALIASES.get(column, column) in LABELS for column in columns)
    return set(_COLUMNS) <= set(columns) or (labelled >= 5 and bool({"Path", "Study"} & set(columns)))


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Every row of the tables whose image is there; of a table by study every image of the studies.

    Parameters
    ----------
    root : Path
        The folder ``CheXpert-v1.0[-small]``, or the one that holds it or the downloaded batches.
    flow : Flow
        Counts rows; its notes say where a table has not the rows that it was published with, and how many frontal
        images do not say whether they are AP or PA.

    Yields
    ------
    Record
        ``id`` is the path from ``train/``, ``valid/`` or ``test/`` on, the same for both sizes and either root.

    Raises
    ------
    SourceError
        If there is no table, both sizes are there, a column is lacking, or a row has another label code or no patient
        in its path.
    """
    tables = _found(root)
    if not tables:
        raise SourceError(f"{root}: expected train.csv, valid.csv or test.csv, there or in {' or '.join(_PREFIXES)}")
    if len({table.parent for table in tables.values()}) > 1:
        names = sorted({table.parent.name for table in tables.values()})
        raise SourceError(f"{root}: holds {' and '.join(names)}; name one of them")
    missing: list[str] = []
    unstated = 0
    for split, path in tables.items():
        columns = _tables.header(path)
        known = {_ALIASES.get(column, column): column for column in columns if _ALIASES.get(column, column) in LABELS}
        if path.name in ("train.csv", "valid.csv"):
            table = _tables.Table(path, (*_COLUMNS, *LABELS))
        else:
            table = _tables.Table(path, ["Study" if "Study" in columns else "Path", *list(known.values() or LABELS)])
            if lacking := [label for label in LABELS if label not in known]:
                flow.notes.append(f"{path.name}: labels not in the table: {', '.join(lacking)}")
        labels = _tables.Labels(path, known)
        files = _Files(root, path.parent)
        rows = 0
        for number, row in table:
            rows += 1
            codes = labels(number, row)
            years = _tables.age(path, number, row.get("Age", ""))
            who, images = _images(path, number, row, files)
            for inner in images:
                flow.read += 1
                relative = files.find(inner)
                if relative is None:
                    missing.append(inner)
                    continue
                view = _view(row, inner)
                unstated += not view
                yield Record(
                    id=os.path.splitext(inner)[0],
                    path=root / relative,
                    relative=relative,
                    labels=codes,
                    patient=who["patient"],
                    study=who[0],
                    view=view,
                    split=split,
                    sex=_tables.sex(row.get("Sex", "")),
                    # 0 stands for an age that is not known: the youngest patients are 18.
                    age=years or None,
                )
        _tables.note_rows(flow, path, rows, ROWS[path.name])
    drop_missing(flow, missing)
    if unstated:
        flow.notes.append(f"frontal, but not said whether AP or PA: {unstated:,} images")


def _found(root: Path) -> dict[str, Path]:
    """Table of each split, of the first folder that has any; of both sizes, if both are there."""
    names = [name for several in _TABLES.values() for name in several]
    folders = [root] if any((root / name).is_file() for name in names) else [root / prefix for prefix in _PREFIXES]
    if not any((folder / name).is_file() for folder in folders for name in names):
        folders = sorted(root.glob(_BATCHES))
    found: dict[str, Path] = {}
    for folder in folders:
        for split, several in _TABLES.items():
            path = next((folder / name for name in several if (folder / name).is_file()), None)
            if path and split in found:
                return {split: found[split], f"{split} again": path}  # which `read` refuses
            if path:
                found[split] = path
    return found


def _images(path: Path, number: int, row: dict[str, str], files: "_Files") -> tuple[re.Match[str], list[str]]:
    """Patient and study of a row, and its images from ``train/`` or the like on; of a missing study its folder."""
    text = row.get("Study") or row.get("Path", "")
    inner = match[1] if (match := _INNER.search(text)) else text
    who = _STUDY.search(inner)
    if not who:
        raise SourceError(f"{path}: row {number}: expected a path with patient and study, found {text!r}")
    return who, (files.below(inner) if "Study" in row else []) or [inner]


def _view(row: dict[str, str], inner: str) -> str:
    if "Frontal/Lateral" in row:
        return row["AP/PA"] if row["Frontal/Lateral"] == "Frontal" else "LATERAL"
    return "LATERAL" if "lateral" in inner.rpartition("/")[2].lower() else ""


class _Files:
    """Where the images lie: beside the table, or in a folder of either size or a batch; asked first where last found.

    The batches of training images hold the patients' folders without ``train/``.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = str(root)
        whole = [folder, *(folder / prefix for prefix in _PREFIXES)]
        batches = sorted(root.glob(_BATCHES))
        self._bases = [(base.relative_to(root).as_posix(), False) for base in (*whole, *batches)]
        self._bases += [(base.relative_to(root).as_posix(), True) for base in batches]

    def find(self, inner: str) -> str | None:
        """Return the path of an image below the root, or None. Plain strings: this runs for 223,414 rows."""
        for number, (base, short) in enumerate(self._bases):
            name = inner.partition("/")[2] if short else inner
            relative = name if base == "." else f"{base}/{name}"
            if os.path.isfile(f"{self._root}/{relative}"):
                if number:
                    self._bases.insert(0, self._bases.pop(number))
                return relative
        return None

    def below(self, inner: str) -> list[str]:
        """Return the images of a study's folder, as paths like that of the study; empty where it is not there."""
        for base, short in self._bases:
            name = inner.partition("/")[2] if short else inner
            if found := images_by_name(Path(self._root, base), [name]):
                return [f"{inner}/{file}" for file in sorted(found)]
        return []
