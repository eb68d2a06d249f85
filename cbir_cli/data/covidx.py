"""COVIDx: chest radiographs collected from several sources for the detection of COVID-19.

What is labelled: one class for each image. In the lists of three classes (2 to 5, 7A, 8A, 9A) these are ``normal``,
``pneumonia`` and ``COVID-19``, in those of two (6, 7B, 8B, 9B) ``COVID-19`` is 1 or 0, in COVIDxSev they are ``level1``
and ``level2``.
Size: from 13,800 images (COVIDx2) to 30,882 (COVIDx9B).
Origin: cohen, fig1, actmed, sirm, ricord, stonybrook and bimcv for COVID-19, RSNA (of ChestX-ray14) for nearly all
others: the source tells the class almost without fail, and is therefore kept in ``Record.source``.
Paper: L. Wang, Z. Q. Lin, A. Wong, COVID-Net, Scientific Reports 2020. arXiv:2003.09871.
Access: lists from the authors' repository, images made with its scripts or from Kaggle. Layout:
``train_COVIDx5.txt`` and ``test_COVIDx5.txt``, in the folder or its ``labels/``, or ``train.txt`` and ``test.txt``;
images in ``train/`` and ``test/``, there or below ``data/``.
Licence: AGPL-3.0 for lists and scripts; each source of images has its own.

A line is patient, file, class and, in most lists, source, without a header. The patient's name may hold a space, so a
line is read from its right end. Names count within a source: the patient is ``source/name``. A line without a source
takes it from lines of the same name.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cbir_cli.data._files import drop_missing, ids
from cbir_cli.data._tables import note_rows, split_name
from cbir_cli.errors import SourceError
from cbir_cli.records import NEGATIVE, POSITIVE, Flow, Record

CITATION = (
    "L. Wang, Z. Q. Lin, A. Wong. COVID-Net: a tailored deep convolutional neural network design for detection of "
    "COVID-19 cases from chest X-ray images. Scientific Reports 10, 19549 (2020)."
)
LICENSE = "AGPL-3.0 for the lists; images: the licence of each source"

_LISTS = re.compile(r"(train|test|val)(?:_(COVIDx\w*))?\.txt")
_FAMILIES: tuple[Mapping[str, Mapping[str, int]], ...] = (
    {c: {o: POSITIVE if o == c else NEGATIVE for o in cs} for cs in [("normal", "pneumonia", "COVID-19")] for c in cs},
    {"positive": {"COVID-19": POSITIVE}, "negative": {"COVID-19": NEGATIVE}},
    {c: {o: POSITIVE if o == c else NEGATIVE for o in cs} for cs in [("level1", "level2")] for c in cs},
)
_CLASSES = {name: number for number, family in enumerate(_FAMILIES) for name in family}
_MISSPELT = {"rnsa": "rsna"}
"""In the lists 9A and 9B."""
ROWS = {
    "train": {"COVIDx2": 13569, "COVIDx3": 13670, "COVIDx4": 13898, "COVIDx5": 13958, "COVIDx6": 14311}
    | {"COVIDx7A": 15111, "COVIDx7B": 15464, "COVIDx8A": 15599, "COVIDx8B": 15952}
    | {"COVIDx9A": 30130, "COVIDx9B": 30482, "COVIDxSev": 759},
    "test": {"COVIDx2": 231, "COVIDx3": 300, "COVIDx4": 300, "COVIDx5": 300, "COVIDx6": 200}
    | {"COVIDx7A": 300, "COVIDx7B": 200, "COVIDx8A": 400, "COVIDx8B": 400}
    | {"COVIDx9A": 400, "COVIDx9B": 400, "COVIDxSev": 150},
}
"""Lines of the authors' lists, at commit 6599980."""


class _Line(NamedTuple):
    patient: str
    file: str
    label: str
    source: str


def recognise(root: Path) -> bool:
    """Whether this is such a list, or a folder that holds one there or in its ``labels/``."""
    try:
        for found in _found(root).values():
            for path in found.values():
                with path.open(encoding="utf-8", errors="replace") as file:
                    return _parse(file.readline()) is not None
    except OSError:
        return False
    return False


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Every line of the lists of one version whose image is there.

    Parameters
    ----------
    root : Path
        Folder of the lists and images; or one of the lists, where a folder holds several versions.
    flow : Flow
        Counts lines. Its notes say what is odd in them: a source that is misspelt, an image that is listed twice, a
        patient in training and test, another number of lines than the authors' list has.

    Yields
    ------
    Record
        ``id`` is the split and the file's name without its ending; ``split`` is train, validation or test.

    Raises
    ------
    SourceError
        If there is no list, there are several versions, a line has no known class, or classes of two versions are
        mixed.
    """
    version, lists = _version(root)
    rows: dict[str, list[_Line]] = {}
    for split, path in lists.items():
        rows[split] = _lines(path)
        if split in ROWS:
            note_rows(flow, path, len(rows[split]), ROWS[split].get(version))
    families = {_CLASSES[line.label] for lines in rows.values() for line in lines}
    if len(families) > 1:
        names = sorted({line.label for lines in rows.values() for line in lines})
        raise SourceError(f"{root}: classes of different versions are mixed: {', '.join(names)}")
    if odd := Counter(line.source for lines in rows.values() for line in lines if line.source in _MISSPELT):
        flow.notes.extend(f"source {name} read as {_MISSPELT[name]}: {count:,} rows" for name, count in odd.items())
    owners = _Owners(rows)
    _note_shared(rows, owners, flow)
    missing: list[str] = []
    for split, lines in rows.items():
        yield from _records(root, split, lines, owners, missing, flow)
    drop_missing(flow, missing)


def _records(
    root: Path, split: str, lines: list[_Line], owners: "_Owners", missing: list[str], flow: Flow
) -> Iterator[Record]:
    base = root if root.is_dir() else root.parent
    folder, present = _folder(base, split)
    first: dict[str, _Line] = {}
    twice: list[_Line] = []
    for line in lines:
        flow.read += 1
        if line.file in first:
            twice.append(line)
        else:
            first[line.file] = line
    if twice:
        flow.drop("listed twice", len(twice))
        other = [line for line in twice if first[line.file]._replace(patient="") == line._replace(patient="")]
        if len(other) < len(twice):
            wrong = next(line for line in twice if line not in other)
            raise SourceError(f"{root}: {wrong.file} is listed twice, as {first[wrong.file].label} and {wrong.label}")
        strange = [f"{x.file} ({first[x.file].patient}, {x.patient})" for x in other if first[x.file] != x]
        if strange:
            flow.notes.append(f"listed twice, for two patients, and read for the first: {', '.join(strange[:5])}")
    for name, line in zip(ids(f"{split}/{file}" for file in first), first.values(), strict=True):
        if line.file not in present:
            missing.append(f"{split}/{line.file}")
            continue
        path = folder / line.file
        yield Record(
            id=name,
            path=path,
            relative=Path(os.path.relpath(path, base)).as_posix(),
            labels=_FAMILIES[_CLASSES[line.label]][line.label],
            patient=owners(line),
            source=_MISSPELT.get(line.source, line.source),
            split=split,
        )


class _Owners:
    """Patients as ``source/name``; a line without a source belongs to the patient of that name in another line."""

    def __init__(self, rows: Mapping[str, list[_Line]]) -> None:
        self._sources: dict[str, set[str]] = defaultdict(set)
        for lines in rows.values():
            for line in lines:
                if line.source:
                    self._sources[line.patient].add(_MISSPELT.get(line.source, line.source))

    def __call__(self, line: _Line) -> str:
        # Of several sources the first: to take two patients for one costs less than to take one for two.
        source = _MISSPELT.get(line.source, line.source) or min(self._sources[line.patient], default="")
        return f"{source}/{line.patient}" if source else line.patient


def _note_shared(rows: Mapping[str, list[_Line]], owners: _Owners, flow: Flow) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for split, lines in rows.items():
        for line in lines:
            splits[owners(line)].add(split)
    if shared := sorted(patient for patient, found in splits.items() if len(found) > 1):
        flow.notes.append(f"patients in more than one split: {len(shared):,} ({', '.join(shared[:5])})")


def _found(root: Path) -> dict[str, dict[str, Path]]:
    """Lists by version and split, of a folder or of the version of one list."""
    versions: dict[str, dict[str, Path]] = defaultdict(dict)
    if root.is_file():
        named = _LISTS.fullmatch(root.name)
        folders, only = [root.parent], named and (named[2] or "")
        if named is None:
            return {}
    else:
        folders, only = [root / "labels", root], None
    for folder in folders:
        for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
            match = _LISTS.fullmatch(path.name)
            if match and (only is None or (match[2] or "") == only):
                versions[match[2] or ""].setdefault(split_name(match[1]), path)
    return dict(versions)


def _version(root: Path) -> tuple[str, dict[str, Path]]:
    versions = _found(root)
    if not versions:
        raise SourceError(f"{root}: expected lists such as train_COVIDx5.txt, there or in labels/, found none")
    if len(versions) > 1:
        example = next(iter(next(iter(versions.values())).values()))
        there = ", ".join(sorted(name or "train.txt" for name in versions))
        raise SourceError(f"{root}: holds lists of {len(versions)} versions ({there}); name one list: covidx:{example}")
    return next(iter(versions.items()))


def _folder(base: Path, split: str) -> tuple[Path, set[str]]:
    """Where the images of a split lie, and the names there; one listing is quicker than 30,000 look-ups."""
    names = ("val", "valid", "validation") if split == "validation" else (split,)
    tops = [base, base / "data", *([base.parent, base.parent / "data"] if base.name == "labels" else [])]
    for folder in (top / name for top in tops for name in names):
        if folder.is_dir():
            return folder, {entry.name for entry in os.scandir(folder) if entry.is_file()}
    return base / names[0], set()


def _parse(text: str) -> _Line | None:
    """Cells of a line: the class comes last or last but one, before it the file, and what is left is the patient."""
    cells = text.split()
    for place in (len(cells) - 1, len(cells) - 2):
        if place >= 2 and cells[place] in _CLASSES:
            return _Line(" ".join(cells[: place - 1]), cells[place - 1], cells[place], " ".join(cells[place + 1 :]))
    return None


def _lines(path: Path) -> list[_Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not a list of text: {error}") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parsed = _parse(line)
        if parsed is None:
            known = ", ".join(_CLASSES)
            raise SourceError(f"{path}: line {number}: expected patient, file, class ({known}), source; found {line!r}")
        found.append(parsed)
    return found
