"""MIMIC-CXR-JPG: chest radiographs of an emergency department with fourteen observations for each study.

What is labelled: 14 observations for each study, mined from reports by the CheXpert or the NegBio labeller, or, for
some studies of the test set, read by a radiologist. Every image of a study has its study's labels. Codes are kept raw:
1, 0, -1 uncertain, and blank, not mentioned, is left out.
Size: 377,110 JPEG images of 227,835 studies and 65,379 patients; 227,827 studies are labelled.
Origin: Beth Israel Deaconess Medical Center, 2011 to 2016.
Paper: A. E. W. Johnson et al., MIMIC-CXR-JPG, arXiv:1901.07042.
Access: PhysioNet, credentialed. Layout: ``mimic-cxr-2.0.0-metadata.csv``, ``-split.csv`` and ``-chexpert.csv`` or
``-negbio.csv``, each as it is or packed (``.csv.gz``), beside ``files/p10/p10000032/s50414267/<dicom_id>.jpg``. The
root may be ``files`` itself or a folder that has ``p10`` and so on without it.
Licence: PhysioNet Credentialed Health Data License 1.5.0, no redistribution.

CheXpert's labels are taken where both are there; ``mimic-cxr-jpg:ROOT/mimic-cxr-2.0.0-negbio.csv.gz`` takes the table
that is named, also ``mimic-cxr-2.1.0-test-set-labeled.csv``, the radiologist's, which leaves the other studies without
labels. The view is the column ViewPosition, which about 15,770 images leave blank. The images were equalised and stored
with 8 bits: do not mix them with images made from the DICOM files otherwise.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cbir_cli.data import _tables
from cbir_cli.data._files import drop_missing
from cbir_cli.errors import SourceError
from cbir_cli.label_sets import CHEXPERT_14
from cbir_cli.records import Flow, Record

CITATION = (
    "A. E. W. Johnson, T. J. Pollard, N. R. Greenbaum, M. P. Lungren, et al. MIMIC-CXR-JPG, a large publicly available "
    "database of labeled chest radiographs. arXiv:1901.07042 (2019)."
)
LICENSE = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"

LABELS = tuple(sorted(CHEXPERT_14))
ROWS = {"metadata": 377110, "split": 377110, "chexpert": 227827, "negbio": 227827}
_LABELLERS = ("chexpert", "negbio")
_ALIASES = {"Airspace Opacity": "Lung Opacity"}
"""In the radiologist's table."""
_NAME = re.compile(r"mimic-cxr-[\d.]+-(chexpert|negbio|test-set-labeled)\.csv(\.gz)?")
_SPLITS = ("train", "validation", "test")


def recognise(root: Path) -> bool:
    """Whether a folder, or the one that holds this ``files``, has the table of metadata; or a label table beside it."""
    folder = _folder(root)
    return folder is not None and _table(folder, "metadata") is not None


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Every row of the metadata whose image is there.

    Parameters
    ----------
    root : Path
        Folder of the tables, or its folder ``files``; or one of the label tables.
    flow : Flow
        Counts images. Its notes say which labels were taken, how many images have no label, view or split, which
        studies have no image, and where a table has not the rows that it was published with.

    Yields
    ------
    Record
        ``id`` is the ``dicom_id``; ``split`` is train, validation (for ``validate``), test, or empty where the table
        does not say.

    Raises
    ------
    SourceError
        If the metadata, the split or the labels are not there, a table lacks a column, states an image or a study
        twice, or has another label code or split.
    """
    folder = _folder(root)
    metadata = _table(folder, "metadata") if folder else None
    if folder is None or metadata is None:
        raise SourceError(f"{root}: expected mimic-cxr-*-metadata.csv or .csv.gz, found none")
    splits, (labels, named) = _splits(folder, flow), _labels(root, folder, flow)
    base = root if root.is_dir() else folder
    files = _Files(base)
    missing: list[str] = []
    rows = blank = unlabelled = unsplit = 0
    studies: set[str] = set()
    for number, row in _tables.Table(metadata, ("dicom_id", "subject_id", "study_id", "ViewPosition")):
        rows += 1
        flow.read += 1
        image, patient, study = row["dicom_id"], row["subject_id"], row["study_id"]
        if not (image and patient.isdecimal() and study.isdecimal()):
            raise SourceError(f"{metadata}: row {number}: expected dicom_id, and subject_id and study_id as numbers")
        studies.add(study)
        relative = files.find(f"p{patient[:2]}/p{patient}/s{study}/{image}.jpg")
        if relative is None:
            missing.append(f"p{patient[:2]}/p{patient}/s{study}/{image}.jpg")
            continue
        blank += not row["ViewPosition"]
        unlabelled += study not in labels
        unsplit += image not in splits
        yield Record(
            id=image,
            path=base / relative,
            relative=relative,
            labels=labels.get(study, {}),
            patient=patient,
            study=study,
            view=row["ViewPosition"],
            split=splits.get(image, ""),
        )
    drop_missing(flow, missing)
    _tables.note_rows(flow, metadata, rows, ROWS["metadata"])
    counts = {"without a stated view": blank, f"without labels in {named}": unlabelled, "without a split": unsplit}
    flow.notes.extend(f"images {what}: {count:,}" for what, count in counts.items() if count)
    if strange := labels.keys() - studies:
        flow.notes.append(f"labelled studies that the metadata does not list: {len(strange):,}")


def _folder(root: Path) -> Path | None:
    """Where the tables lie."""
    if root.is_file():
        return root.parent if _NAME.fullmatch(root.name) else None
    if not root.is_dir():
        return None
    above = Path(os.path.abspath(root))
    return above.parent if above.name == "files" and _table(root, "metadata") is None else root


def _table(folder: Path, kind: str) -> Path | None:
    """Return the newest table of a kind, rather as it is than packed."""
    found = [path for ending in (".csv.gz", ".csv") for path in sorted(folder.glob(f"mimic-cxr-*-{kind}{ending}"))]
    return found[-1] if found else None


def _splits(folder: Path, flow: Flow) -> dict[str, str]:
    path = _table(folder, "split")
    if path is None:
        raise SourceError(f"{folder}: expected mimic-cxr-*-split.csv or .csv.gz, found none")
    splits: dict[str, str] = {}
    for number, row in _tables.Table(path, ("dicom_id", "study_id", "subject_id", "split")):
        split = _tables.split_name(row["split"])
        if split not in _SPLITS:
            raise SourceError(f"{path}: row {number}: expected train, validate or test, found {row['split']!r}")
        if splits.setdefault(row["dicom_id"], split) != split:
            raise SourceError(f"{path}: row {number}: {row['dicom_id']} is in two splits")
    _tables.note_rows(flow, path, len(splits), ROWS["split"])
    return splits


def _labels(root: Path, folder: Path, flow: Flow) -> tuple[dict[str, Mapping[str, int]], str]:
    """Labels by study, and the name of their table."""
    there = [path for kind in _LABELLERS if (path := _table(folder, kind))]
    if root.is_file():
        path = root
    elif there:
        path = there[0]
        flow.notes.extend(f"labels: {path.name}, not {other.name}" for other in there[1:])
    else:
        raise SourceError(f"{folder}: expected mimic-cxr-*-chexpert.csv or -negbio.csv, or .csv.gz, found none")
    columns = {_ALIASES.get(column, column): column for column in _tables.header(path)}
    table = _tables.Table(path, ("study_id", *(columns.get(label, label) for label in LABELS)))
    codes = _tables.Labels(path, {label: columns[label] for label in LABELS})
    labels: dict[str, Mapping[str, int]] = {}
    for number, row in table:
        if row["study_id"] in labels:
            raise SourceError(f"{path}: row {number}: study {row['study_id']} occurs twice")
        labels[row["study_id"]] = codes(number, row)
    match = _NAME.fullmatch(path.name)
    _tables.note_rows(flow, path, len(labels), ROWS.get(match[1]) if match else None)
    return labels, path.name


class _Files:
    """Where the images lie: below ``files/`` or without it; asked first where last found."""

    def __init__(self, base: Path) -> None:
        self._base = str(base)
        self._tops = ["files/", ""]

    def find(self, inner: str) -> str | None:
        """Return the path of an image below the base, or None. Plain strings: this runs for 377,110 rows."""
        for top in self._tops:
            if os.path.isfile(f"{self._base}/{top}{inner}"):
                if top != self._tops[0]:
                    self._tops.reverse()
                return top + inner
        return None
