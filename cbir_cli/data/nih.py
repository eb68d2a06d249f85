"""NIH ChestX-ray14: frontal chest radiographs of adults with fourteen text-mined findings.

What is labelled: 14 findings and "No Finding" for each image, mined from reports, 1 or 0 and never uncertain. The
findings are called as the table calls them: Effusion, Infiltration, Pleural_Thickening.
Size: 112,120 PNG images, 1024 x 1024, of 30,805 patients (67,310 PA, 44,810 AP).
Origin: NIH Clinical Center, 1992 to 2015.
Paper: X. Wang et al., ChestX-ray8, CVPR 2017. arXiv:1705.02315.
Access: open. Layout: ``Data_Entry_2017*.csv`` beside ``images/``, ``images_001/images/`` and so on, or the images
themselves; ``train_val_list.txt`` and ``test_list.txt`` give the official split.
Licence: free use with acknowledgement of the NIH Clinical Center and citation of the paper.

The table's header has commas in its names (``OriginalImage[Width,Height]``) that are not quoted, so these columns come
apart in two, in header and rows alike.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from cbir_cli.data import _tables
from cbir_cli.data._files import ENDINGS, drop_missing, ending, walk
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
_COLUMNS = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
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
        Counts rows.

    Yields
    ------
    Record
        ``split`` is train (for ``train_val_list.txt``), test, or empty where there are no lists; ``study`` is patient
        and follow-up number.

    Raises
    ------
    SourceError
        If the table is not there, lacks a column, or names a finding that is none of the fifteen.
    """
    tables = _tables_in(root)
    if not tables:
        raise SourceError(f"{root}: expected a table Data_Entry_2017*.csv, found none")
    table = _tables.Table(tables[-1], _COLUMNS)
    if len(tables) > 1:
        flow.notes.append(f"table: {tables[-1].name}, the last of {len(tables)}")
    files, splits = _files(root), _splits(root)
    seen: dict[str, Mapping[str, int]] = {}
    missing: list[str] = []
    listed = set()
    for number, row in table:
        flow.read += 1
        name = row["Image Index"]
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
        )
    drop_missing(flow, missing)
    if unlisted := files.keys() - listed:
        flow.notes.append(f"images that the table does not list: {len(unlisted):,}")


def _tables_in(root: Path) -> list[Path]:
    return sorted(root.glob("Data_Entry_2017*.csv"))


def _files(root: Path) -> dict[str, str]:
    """Relative path of each image by its name; one listing is quicker than a look-up for each of 112,120 rows."""
    folders = [root / "images", *sorted(root.glob("images_*"))]
    found: dict[str, str] = {}
    for folder in folders:
        if folder.is_dir():
            for entry in walk(folder):
                found.setdefault(entry.name, Path(entry.path).relative_to(root).as_posix())
    for file in root.iterdir():
        if file.is_file():
            found.setdefault(file.name, file.name)
    return {name: relative for name, relative in found.items() if ending(name) in ENDINGS}


def _splits(root: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for file, split in _LISTS.items():
        if (root / file).is_file():
            names = (root / file).read_text(encoding="utf-8-sig", errors="replace").split()
            if both := splits.keys() & set(names):
                raise SourceError(f"{root / file}: {min(both)} is in both lists")
            splits.update(dict.fromkeys(names, split))
    return splits


def _codes(path: Path, number: int, findings: str) -> dict[str, int]:
    stated = findings.split("|")
    if strange := [finding for finding in stated if finding not in LABELS]:
        raise SourceError(f"{path}: row {number}: unknown finding {strange[0]!r}; known: {', '.join(LABELS)}")
    return {label: POSITIVE if label in stated else NEGATIVE for label in LABELS}
