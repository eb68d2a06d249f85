"""DICOM files in any tree of folders, whatever they are called, as scanners, archives and CDs write them.

What is labelled: nothing. Patient, study, view, sex and age are those of the tags; the institution is never read. The
view is ViewPosition, else the code of the view (ViewCodeSequence); the age PatientAge, else the years from birth to
study. A file without PatientID counts as its study's patient. Of the dates of studies only the order is kept, as the
number of the examination of its patient.
Slices of one CT or MR series are in the order of their positions along the normal of their planes, and are called by
it: FOLDER/series-NUMBER/0000 is the lowest. Frames of a file are called FILE/0000. Everything else has its path as id.
Left out, and counted by name: localizers of CT, objects without an image, and what ``cbir_cli.dicom`` does not support.
DICOMDIR is not read, since copies of it are often out of date.
Size, origin, paper: whatever the folder holds.
Access and licence: those of the images.
"""

import logging
import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from cbir_cli import dicom
from cbir_cli.data import _dicom_tags
from cbir_cli.data._dicom_tags import Tags
from cbir_cli.data._files import ENDINGS, NOT_TEXT, counted, drop_missing, ending, ids, is_text, usual_ending, walk
from cbir_cli.errors import SourceError
from cbir_cli.records import Flow, Record

CITATION = "none: a format of files, not a data set"
LICENSE = "that of the images"

log = logging.getLogger("cbir")

_FIRST = 20
"""Files that are looked at to recognise a folder."""


def recognise(root: Path) -> bool:
    """Whether a file is DICOM, or the first files of a folder are: some of the first 20, and none is another image."""
    try:
        if not root.is_dir():
            return root.is_file() and dicom.is_dicom(_start(root))
        found = False
        for number, entry in enumerate(walk(root)):
            if number == _FIRST:
                break
            if ending(entry.name) in ENDINGS:
                return False
            found = found or (entry.is_file() and dicom.is_dicom(_start(Path(entry.path))))
        return found
    except (OSError, SourceError):
        return False  # reading it will say what is wrong


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Every image below a folder, or those of one file.

    Parameters
    ----------
    root : Path
    flow : Flow
        Counts images and what is left out by name; damaged files are named in its notes.

    Yields
    ------
    Record
        ``patient`` and ``study`` as the tags have them; ``part`` is the frame, in a file of several.

    Raises
    ------
    SourceError
        If a folder cannot be listed.
    """
    base = root if root.is_dir() else root.parent
    files = [file for file in _files(root, base, flow) if not _dropped(file, flow)]
    names, positions, examinations = *_names(files), _examinations(files)
    for file, name in zip(files, names, strict=True):
        for part in range(file.frames):
            yield Record(
                id=name if file.frames == 1 else f"{name}/{part:04d}",
                path=base / file.relative,
                relative=file.relative,
                patient=file.patient or file.study,
                study=file.study,
                view=file.view,
                sex=file.sex,
                age=file.age,
                part=None if file.frames == 1 else part,
                series=file.series[0] if file.series else "",
                position=positions.get(file.relative),
                examination=examinations.get(file.study),
            )
    _notes(files, flow)


def _files(root: Path, base: Path, flow: Flow) -> list[Tags]:
    """Read the tags of all DICOM files, in the order of their paths; what is none is counted in the notes."""
    found: list[str] = []
    missing: list[str] = []
    others: Counter[str] = Counter()
    for path in [root] if root.is_file() else (Path(entry.path) for entry in walk(root, _all_hidden(flow))):
        relative = path.relative_to(base).as_posix()
        if path.is_dir():
            others["linked folder"] += 1
        elif not path.is_file():
            missing.append(flow.shown(relative, every=True))
        elif not is_text(relative):
            flow.read += 1
            flow.drop(NOT_TEXT)
        else:
            found.append(relative)
    flow.read += len(missing)
    drop_missing(flow, missing)
    read = _dicom_tags.read_all(base, sorted(found))
    files = [file for file in read if file is not None]
    others.update(usual_ending(relative) for relative, file in zip(sorted(found), read, strict=True) if file is None)
    if directories := sum(file.directory for file in files):
        others["DICOMDIR"] += directories
    if others:
        flow.notes.append("not images: " + counted(others))
    return [file for file in files if not file.directory]


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(132)


def _all_hidden(flow: Flow) -> Callable[[str], str]:
    return lambda path: flow.shown(path, every=True)


def _dropped(file: Tags, flow: Flow) -> bool:
    flow.read += file.frames
    if file.damaged:
        flow.drop("damaged file")
        if sum(note.startswith("damaged file") for note in flow.notes) < 5:
            flow.notes.append(f"damaged file: {flow.shown(file.relative, every=True)}: {file.damaged}")
    elif file.refused:
        flow.drop(file.refused)
    return bool(file.damaged or file.refused)


def _examinations(files: list[Tags]) -> dict[str, int]:
    """Return for each study with a date its place among those of its patient; at the same time they go by their names.

    A study that holds several dates, as one that went past midnight, began with the first.
    """
    began: dict[tuple[str, str], tuple[str, str]] = {}
    for file in files:
        if file.when[0] and file.study and file.patient:
            key = file.patient, file.study
            began[key] = min(file.when, began.get(key, file.when))
    counts: Counter[str] = Counter()
    places: dict[str, int] = {}
    for _, patient, study in sorted((when, *key) for key, when in began.items()):
        places[study] = counts[patient]
        counts[patient] += 1
    return places


def _names(files: list[Tags]) -> tuple[list[str], dict[str, int]]:
    """Return an id for each file, its place in its series if it has one, else its path; and the places, by path."""
    names = dict(zip((f.relative for f in files), ids(f.relative for f in files), strict=True))
    series: dict[tuple[str, tuple[float, ...]], list[Tags]] = defaultdict(list)
    for file in files:
        if file.series is not None:
            series[file.series].append(file)
    taken: Counter[str] = Counter()
    positions: dict[str, int] = {}
    for slices in series.values():
        if len(slices) < 2:
            continue
        folder = posixpath.commonpath([posixpath.dirname(file.relative) for file in slices])
        prefix = posixpath.join(folder, f"series-{slices[0].number or 0}")
        taken[prefix] += 1
        prefix = prefix if taken[prefix] == 1 else f"{prefix}-{taken[prefix]}"
        width = max(4, len(str(len(slices))))
        for number, file in enumerate(sorted(slices, key=lambda file: (file.place, file.relative))):
            names[file.relative] = f"{prefix}/{number:0{width}d}"
            positions[file.relative] = number
    return [names[file.relative] for file in files], positions


def _notes(files: list[Tags], flow: Flow) -> None:
    if nameless := sum(not file.patient for file in files):
        flow.notes.append(f"without PatientID, the study stands for the patient: {nameless:,} files")
    copies = len(files) - len({file.instance or file.relative for file in files})
    if copies:
        flow.notes.append(f"files with the SOPInstanceUID of another: {copies:,}")
    if burned := sum(file.burned for file in files):
        log.warning(
            "%d of %d DICOM files say that words are burned into their pixels: look for names in them before you share "
            "anything made from them",
            burned,
            len(files),
        )
