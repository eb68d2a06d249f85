"""NIH ChestX-ray14: frontal chest radiographs of adults with fourteen text-mined findings.

What is labelled: 14 findings and "No Finding" for each image, mined from reports, 1 or 0 and never uncertain. The
findings are called as the table calls them: Effusion, Infiltration, Pleural_Thickening.
Size: 112,120 PNG images, 1024 x 1024, of 30,805 patients (67,310 PA, 44,810 AP); 984 boxes on 880 of them.
Origin: NIH Clinical Center, 1992 to 2015.
Paper: X. Wang et al., ChestX-ray8, CVPR 2017. arXiv:1705.02315.
Access: open. Layout: ``Data_Entry_2017*.csv`` beside ``images/``, ``images_001/images/`` and so on, or the images
themselves; ``train_val_list.txt`` and ``test_list.txt`` give the official split, ``BBox_List_2017.csv`` the boxes.
Licence: free use with acknowledgement of the NIH Clinical Center and citation of the paper.

The table's header has commas in its names (``OriginalImage[Width,Height]``) that are not quoted, so these columns come
apart in two, in header and rows alike. So do those of the boxes. A box is drawn on the image of 1024 x 1024 pixels and
is scaled to the file that is there. Which finding it marks (their table says Infiltrate) is checked, and not kept.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from cbir_cli.data import _tables
from cbir_cli.data._files import drop_missing, images_by_name
from cbir_cli.errors import SourceError
from cbir_cli.records import NEGATIVE, POSITIVE, Flow, Record

CITATION = (
    "X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers. ChestX-ray8: Hospital-scale Chest X-ray Database and "
    "Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. CVPR 2017."
)
LICENSE = "free use; acknowledge the NIH Clinical Center and cite the paper"

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "No Finding",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
ROWS = 112120
_NAMES = ("Image Index", "Image ID")
"""Of the column of file names: as published, and as in the relabelled tables."""
_COLUMNS = (
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
_LIST_ROWS = {"train_val_list.txt": 86524, "test_list.txt": 25596}
_BOXES = "BBox_List_2017.csv"
_BOX_ROWS = 984
_BOX_COLUMNS = ("Finding Label", "Bbox [x", "y", "w", "h]")
_SIDE = 1024
"""Pixels: side of the published images, which the boxes are drawn on."""
_OLDEST = 120
"""Years. The first edition of the table has ages beyond 400; such an age is not known."""


def recognise(root: Path) -> bool:
    """Whether a folder holds ``Data_Entry_2017*.csv``."""
    return root.is_dir() and bool(_tables_in(root))


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Every row of the table whose image is there.

    Parameters
    ----------
    root : Path
        Folder of the table and of the image folders.
    flow : Flow
        Counts rows. Its notes name what fits no row: images, names in the lists, boxes.

    Yields
    ------
    Record
        ``split`` is train (for ``train_val_list.txt``), test, or empty where there are no lists; ``study`` is patient
        and follow-up number.

    Raises
    ------
    SourceError
        If the table is not there, lacks a column, or names a finding that is none of the fifteen; or if an image is in
        both lists, or a box is none.
    """
    tables = _tables_in(root)
    if not tables:
        raise SourceError(f"{root}: expected a table Data_Entry_2017*.csv, found none")
    table, column = _table(tables[-1], _COLUMNS)
    if len(tables) > 1:
        flow.notes.append(f"table: {tables[-1].name}, the last of {len(tables)}")
    files, splits, boxes = _files(root), _splits(root, flow), _boxes(root)
    seen: dict[str, Mapping[str, int]] = {}
    missing: list[str] = []
    listed = set()
    for number, row in table:
        flow.read += 1
        name = row[column]
        listed.add(name)
        findings = row["Finding Labels"]
        if findings not in seen:
            seen[findings] = _codes(table.path, number, findings)
        years = _tables.age(table.path, number, row["Patient Age"])
        if name not in files:
            missing.append(name)
            continue
        yield Record(
            id=Path(name).stem,
            path=root / files[name],
            relative=files[name],
            labels=seen[findings],
            patient=row["Patient ID"],
            study=f"{row['Patient ID']}_{row['Follow-up #']}",
            view=row["View Position"],
            split=splits.get(name, ""),
            sex=_tables.sex(row["Patient Gender"]),
            age=years if years is not None and years <= _OLDEST else None,
            boxes=_scaled(root / files[name], boxes[name]) if name in boxes else (),
        )
    drop_missing(flow, missing)
    if unlisted := files.keys() - listed:
        flow.notes.append(f"images that the table does not list: {len(unlisted):,}")
    if splits:  # who has the lists has the whole data set, and not a part of it
        _tables.note_rows(flow, table.path, len(listed), ROWS)
        if strange := splits.keys() - listed:
            flow.notes.append(f"in the lists but not in the table: {len(strange):,} ({min(strange)}, ...)")
        if neither := listed - splits.keys():
            flow.notes.append(f"in neither list, so without a split: {len(neither):,} images")
    if strange := boxes.keys() - listed:
        flow.notes.append(f"boxes on images that the table does not list: {len(strange):,}")


def _table(path: Path, required: tuple[str, ...]) -> tuple[_tables.Table, str]:
    """Return a table and the column of its file names."""
    column = next((name for name in _NAMES if name in _tables.header(path)), _NAMES[0])
    return _tables.Table(path, (column, *required)), column


def _tables_in(root: Path) -> list[Path]:
    return sorted(root.glob("Data_Entry_2017*.csv"))


def _files(root: Path) -> dict[str, str]:
    """Relative path of each image by its name."""
    return images_by_name(root, ["images", *sorted(path.name for path in root.glob("images_*")), "."])


def _splits(root: Path, flow: Flow) -> dict[str, str]:
    splits: dict[str, str] = {}
    for file, split in _LISTS.items():
        if (root / file).is_file():
            names = (root / file).read_text(encoding="utf-8-sig", errors="replace").split()
            if both := splits.keys() & set(names):
                raise SourceError(f"{root / file}: {min(both)} is in both lists")
            splits.update(dict.fromkeys(names, split))
            _tables.note_rows(flow, root / file, len(set(names)), _LIST_ROWS[file])
        else:
            flow.notes.extend([f"no {file}"] if any((root / other).is_file() for other in _LISTS) else [])
    return splits


def _boxes(root: Path) -> dict[str, list[tuple[float, float, float, float]]]:
    """Boxes by image name, in pixels of the published images."""
    found: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    if not (root / _BOXES).is_file():
        return found
    table, column = _table(root / _BOXES, _BOX_COLUMNS)
    for number, row in table:
        finding = row["Finding Label"].replace("Infiltrate", "Infiltration")
        if finding not in LABELS:
            raise SourceError(f"{table.path}: row {number}: unknown finding {row['Finding Label']!r}")
        try:
            x, y, width, height = (float(row[name]) for name in _BOX_COLUMNS[1:])
        except ValueError:
            x = y = width = height = math.nan
        if not (x >= 0 and y >= 0 and width > 0 and height > 0 and max(x + width, y + height) <= _SIDE):
            cells = ", ".join(row[name] for name in _BOX_COLUMNS[1:])
            raise SourceError(
                f"{table.path}: row {number}: expected x, y, width and height within {_SIDE} pixels, found {cells}"
            )
        found[row[column]].append((x, y, width, height))
    return dict(found)


def _scaled(
    path: Path, boxes: list[tuple[float, float, float, float]]
) -> tuple[tuple[float, float, float, float], ...]:
    """Boxes in pixels of a file, which may be smaller than the published image; as they are if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            across, down = image.width / _SIDE, image.height / _SIDE
    except OSError:
        across = down = 1.0  # whoever decodes it will say what is wrong
    return tuple((x * across, y * down, width * across, height * down) for x, y, width, height in boxes)


def _codes(path: Path, number: int, findings: str) -> dict[str, int]:
    stated = findings.split("|")
    if strange := [finding for finding in stated if finding not in LABELS]:
        raise SourceError(f"{path}: row {number}: unknown finding {strange[0]!r}; known: {', '.join(LABELS)}")
    return {label: POSITIVE if label in stated else NEGATIVE for label in LABELS}
