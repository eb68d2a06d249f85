"""A folder per class: ``ROOT/NORMAL/a.png``, ``ROOT/PNEUMONIA/b.png``.

What is labelled: every image, by the first-level folder it lies in: 1 for that class, 0 for all others. Where the
first-level folders are all splits (``train/NORMAL/a.png``, as Kermany's archive comes), they give the split and the
folders below them the class.
Size, origin, paper: whatever the folders hold.
Access and licence: those of the images.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cbir_cli.data._files import ENDINGS, PATIENTS, Patients, counted, ending, ids, images_below, walk
from cbir_cli.data._tables import is_split, split_name
from cbir_cli.errors import SourceError
from cbir_cli.names import looks_like
from cbir_cli.records import NEGATIVE, POSITIVE, Flow, Record

CITATION = "none: a layout of files, not a data set"
LICENSE = "that of the images"

_MOST_CLASSES = 100
"""More folders than this are rather patients or dates than classes, unless the reader is named."""


def recognise(root: Path) -> bool:
    """Whether all images lie in two or more first-level folders that do not look like patients."""
    if not root.is_dir():
        return False
    try:
        if _holds_images(root):
            return False
        folders = _folders(root)
        if all(is_split(folder.name) for folder in folders):
            if any(_holds_images(folder) for folder in folders):
                return False  # splits of unlabelled images
            folders = [folder for split in folders for folder in _folders(split)]
        names = {folder.name for folder in folders}
        patients = (p.search(f"{name}/") for name in names for p in PATIENTS)
        if len(names) > _MOST_CLASSES or any(map(looks_like, names)) or any(patients):
            return False
        holding = {f.name for f in folders if any(ending(file.name) in ENDINGS for file in walk(f))}
    except (OSError, SourceError):
        return False  # reading it will say what is wrong
    return len(holding) >= 2


def _folders(root: Path) -> list[Path]:
    return [e for e in sorted(root.iterdir()) if e.is_dir() and not e.is_symlink() and not e.name.startswith(".")]


def _holds_images(root: Path) -> bool:
    return any(ending(e.name) in ENDINGS and e.is_file() for e in root.iterdir() if not e.name.startswith("."))


def read(root: Path, *, flow: Flow, patient: str | None = None) -> Iterator[Record]:
    """Every image below a folder of class folders.

    Parameters
    ----------
    root : Path
    flow : Flow
        Counts what was read; images outside the class folders are dropped.
    patient : str, optional
        Pattern searched for in the relative path; its group ``patient`` or first group is the patient.
        By default the names of CheXpert-like folders and of Kermany's files are known.

    Yields
    ------
    Record

    Raises
    ------
    SourceError
        If a folder cannot be listed, or the pattern fits no image.
    UsageError
        If the pattern is not a regular expression with a group.
    """
    patients = Patients(patient)
    relatives = images_below(root, flow)
    by_split = all(is_split(relative.split("/")[0]) for relative in relatives)
    by_split = by_split and any(relative.count("/") > 1 for relative in relatives)
    depth = 1 if by_split else 0
    inside = [relative for relative in relatives if relative.count("/") > depth]
    if len(inside) < len(relatives):
        flow.drop("not in a class folder", len(relatives) - len(inside))
    sizes = Counter(relative.split("/")[depth] for relative in inside)
    flow.notes.append(f"classes: {counted(Counter({flow.shown(c): n for c, n in sizes.items()}))}")
    if empty := [folder.name for folder in _folders(root) if not by_split and folder.name not in sizes]:
        flow.notes.append(f"folders without images, no classes: {', '.join(map(flow.shown, empty))}")
    # One mapping for each class, shared by its images.
    labels = {c: {other: POSITIVE if other == c else NEGATIVE for other in sorted(sizes)} for c in sizes}
    for name, relative in zip(ids(inside), inside, strict=True):
        who, study = patients(relative)
        parts = relative.split("/")
        yield Record(
            id=name,
            path=root / relative,
            relative=relative,
            labels=labels[parts[depth]],
            patient=who,
            study=study,
            split=split_name(parts[0]) if by_split else "",
        )
    patients.report(flow)
