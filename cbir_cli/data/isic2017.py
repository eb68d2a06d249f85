"""ISIC 2017, part 3: dermoscopic images of skin lesions, diagnosed as melanoma, seborrheic keratosis or nevus.

What is labelled: ``melanoma`` and ``seborrheic_keratosis`` for each image, 1 or 0, never both; a lesion that is neither
is a nevus, and ``nevus`` is stated as well.
Size: 2,000 training images (374 melanoma, 254 keratosis, 1,372 nevus), 150 for validation and 600 for testing; JPEG of
up to 6,700 pixels.
Origin: ISIC archive; several clinics.
Paper: N. C. F. Codella et al., Skin Lesion Analysis Toward Melanoma Detection, ISBI 2018. arXiv:1710.05006.
Access: open, challenge.isic-archive.com. Layout: ``ISIC-2017_Training_Part3_GroundTruth.csv`` and so on for Validation
and Test_v2, beside the images: in ``images/``, in ``ISIC-2017_Training_Data/`` and so on, or loose.
Licence: CC0.

No patient is known: two images of one person may lie in training and test. The superpixels beside the images
(``_superpixels.png``) are in no table and are left out. Masks of the lesions (part 1, ``_segmentation.png``) go into
``Record.mask`` where they are there, age and sex come from ``*_metadata.csv``.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cbir_cli.data import _tables
from cbir_cli.data._files import drop_missing, images_by_name
from cbir_cli.errors import SourceError
from cbir_cli.records import NEGATIVE, POSITIVE, Flow, Record

CITATION = (
    "N. C. F. Codella, D. Gutman, M. E. Celebi, et al. Skin Lesion Analysis Toward Melanoma Detection: A Challenge at "
    "the 2017 International Symposium on Biomedical Imaging (ISBI). ISBI 2018."
)
LICENSE = "CC0"

LABELS = ("melanoma", "seborrheic_keratosis", "nevus")
ROWS = {"Training": 2000, "Validation": 150, "Test_v2": 600}
_SPLITS = {"Training": "train", "Validation": "validation", "Test_v2": "test"}
_STATED = ("melanoma", "seborrheic_keratosis")
_CODES = {"0": NEGATIVE, "0.0": NEGATIVE, "1": POSITIVE, "1.0": POSITIVE}


def recognise(root: Path) -> bool:
    """Whether a folder holds a ground truth of part 3."""
    return root.is_dir() and bool(_found(root))


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Every row of the tables whose image is there.

    Parameters
    ----------
    root : Path
        Folder of the tables, and of the images or their folders.
    flow : Flow
        Counts rows; its notes say where a table has not the rows of the challenge.

    Yields
    ------
    Record
        ``id`` is the image's, such as ISIC_0000000; ``split`` is train, validation or test.

    Raises
    ------
    SourceError
        If there is no table, a column is lacking, an image is both melanoma and keratosis, or a cell is not 1 or 0.
    """
    tables = _found(root)
    if not tables:
        raise SourceError(f"{root}: expected a table ISIC-2017_*_Part3_GroundTruth.csv, found none")
    files = _stems(root, ["images", *(f"ISIC-2017_{part}_Data" for part in _SPLITS), "."])
    masks = _stems(root, ["masks", *(f"ISIC-2017_{part}_Part1_GroundTruth" for part in _SPLITS), "."], "_segmentation")
    missing: list[str] = []
    for part, path in tables.items():
        people = _people(root, part)
        rows = 0
        for number, row in _tables.Table(path, ("image_id", *_STATED)):
            rows += 1
            flow.read += 1
            name = _name(path, number, row["image_id"])
            codes = _labels(path, number, row)
            if name not in files:
                missing.append(name)
                continue
            years, sex = people.get(name, (None, ""))
            yield Record(
                id=name,
                path=root / files[name],
                relative=files[name],
                labels=codes,
                split=_SPLITS[part],
                sex=sex,
                age=years,
                mask=root / masks[name] if name in masks else None,
            )
        _tables.note_rows(flow, path, rows, ROWS[part])
    drop_missing(flow, missing)


def _found(root: Path) -> dict[str, Path]:
    paths = {part: root / f"ISIC-2017_{part}_Part3_GroundTruth.csv" for part in _SPLITS}
    return {part: path for part, path in paths.items() if path.is_file()}


def _stems(root: Path, folders: list[str], suffix: str = "") -> dict[str, str]:
    """Relative path by image id: of images, or of the files whose name ends in a suffix."""
    found: dict[str, str] = {}
    for name, relative in images_by_name(root, folders).items():
        stem = name.rpartition(".")[0]
        if stem.endswith(suffix):
            found.setdefault(stem.removesuffix(suffix), relative)
    return found


def _name(path: Path, number: int, text: str) -> str:
    """Return an image's id; a copy of the table that is often met has lost all but its number."""
    if text.isdecimal():
        return f"ISIC_{int(text):07d}"
    if not re.fullmatch(r"ISIC_\d{7}", text):
        raise SourceError(f"{path}: row {number}: expected an image id such as ISIC_0000000, found {text!r}")
    return text


def _labels(path: Path, number: int, row: Mapping[str, str]) -> dict[str, int]:
    for column in _STATED:
        if row[column] not in _CODES:
            raise SourceError(f"{path}: row {number}: {column}: expected 1 or 0, found {row[column]!r}")
    codes = {column: _CODES[row[column]] for column in _STATED}
    if all(codes.values()):
        raise SourceError(f"{path}: row {number}: {row['image_id']} is both {' and '.join(_STATED)}")
    return {**codes, "nevus": NEGATIVE if any(codes.values()) else POSITIVE}


def _people(root: Path, part: str) -> dict[str, tuple[int | None, str]]:
    """Age and sex by image id, from the table beside the images or beside the ground truth, if there is one."""
    name = f"ISIC-2017_{part}_Data_metadata.csv"
    for path in (root / name, root / f"ISIC-2017_{part}_Data" / name, root / "images" / name):
        if path.is_file():
            return {
                _name(path, number, row["image_id"]): (
                    _tables.age(path, number, row["age_approximate"]),
                    _tables.sex(row["sex"]),
                )
                for number, row in _tables.Table(path, ("image_id", "age_approximate", "sex"))
            }
    return {}
