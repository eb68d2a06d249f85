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
import os
import pickle
import posixpath
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cbir_cli import dicom
from cbir_cli.data._files import ENDINGS, NOT_TEXT, counted, drop_missing, ending, ids, is_text, usual_ending, walk
from cbir_cli.errors import ImageError, SourceError
from cbir_cli.progress import Progress
from cbir_cli.records import Flow, Record

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CITATION = "none: a format of files, not a data set"
LICENSE = "that of the images"

log = logging.getLogger("cbir")

_FIRST = 20
"""Files that are looked at to recognise a folder."""
_SHARE = 5000
"""Files that a process reads, half a dozen seconds of work; no more than these are read in this one."""
_DIRECTORY = "1.2.840.10008.1.3.10"
_PLANES = ("CT", "MR")
_VIEWS = {
    "272479007": "PA",
    "R-40888": "PA",
    "R-10214": "PA",
    "399348003": "AP",
    "R-10206": "AP",
    "399067008": "LATERAL",
    "R-102CD": "LATERAL",
    "399173006": "LL",
    "R-10236": "LL",
    "399198007": "RL",
    "R-10232": "RL",
}
"""Codes of views of the chest in SNOMED, new and old."""
_TERMS = frozenset(
    "AP PA LL RL LLD RLD LLO RLO LAO RAO LPO RPO LAT LATERAL LAO/LPO OBL OBLIQUE AX AXIAL CC MLO ML LM LMO XCCL XCCM "
    "FB SIO ISO SUPINE PRONE DECUB ERECT".split()
)
"""What ViewPosition may say; anything else was typed by somebody, and is not read."""
_MEANINGS = {
    "postero-anterior": "PA",
    "antero-posterior": "AP",
    "lateral": "LATERAL",
    "left lateral": "LL",
    "right lateral": "RL",
}
_TAGS = [
    "AcquisitionDate",
    "BitsAllocated",
    "BurnedInAnnotation",
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "InstanceNumber",
    "Modality",
    "NumberOfFrames",
    "PatientAge",
    "PatientBirthDate",
    "PatientID",
    "PatientSex",
    "PresentationIntentType",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "StudyDate",
    "StudyTime",
    "StudyInstanceUID",
    "ViewCodeSequence",
    "ViewPosition",
]


@dataclass(frozen=True, slots=True)
class _File:
    """What the tags of one file say, as far as it is needed."""

    relative: str
    refused: str = ""
    damaged: str = ""
    directory: bool = False
    frames: int = 1
    patient: str = ""
    study: str = ""
    when: tuple[str, str] = ("", "")
    series: tuple[str, tuple[float, ...]] | None = None
    number: str = ""
    place: tuple[float, int] = (0, 0)
    instance: str = ""
    view: str = ""
    sex: str = ""
    age: int | None = None
    burned: bool = False


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


def _files(root: Path, base: Path, flow: Flow) -> list[_File]:
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
    read = _read_all(base, sorted(found))
    files = [file for file in read if file is not None]
    others.update(usual_ending(relative) for relative, file in zip(sorted(found), read, strict=True) if file is None)
    if directories := sum(file.directory for file in files):
        others["DICOMDIR"] += directories
    if others:
        flow.notes.append("not images: " + counted(others))
    return [file for file in files if not file.directory]


def _read_all(base: Path, relatives: list[str]) -> list[_File | None]:
    """Read the tags of many files at once, in processes: pydicom is all Python, so that threads would take turns.

    They are plain processes with their own command, since those of multiprocessing run the main program's file again.
    """
    cores = min(len(os.sched_getaffinity(0)), -(-len(relatives) // _SHARE))
    if cores < 2:
        return [_read(base, relative) for relative in relatives]
    command = [sys.executable, "-P", "-c", "from cbir_cli.data import dicom; dicom.serve()"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    running: list[subprocess.Popen[bytes]] = []

    def work(share: list[str]) -> list[_File | None]:
        given = pickle.dumps((base, share))
        try:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            running.append(process := subprocess.Popen(command, env=variables, **pipes))  # type: ignore[call-overload]
            answer, _ = process.communicate(given)
        except OSError:  # no room for another process
            return [_read(base, relative) for relative in share]
        if process.returncode:  # killed, for want of memory
            return [] if ended else [_read(base, relative) for relative in share]
        return list(pickle.loads(answer))

    size = min(_SHARE, -(-len(relatives) // cores))
    shares = [relatives[start : start + size] for start in range(0, len(relatives), size)]
    progress = Progress(len(relatives), "reading DICOM tags")
    read: list[_File | None] = []
    ended = False
    with ThreadPoolExecutor(cores) as pool:
        try:
            for some in pool.map(work, shares):
                read += some
                progress.advance(len(some))
        except BaseException:
            ended = True
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.kill()
            raise
    progress.close()
    return read


def serve() -> None:
    """Answer a folder and paths below it, pickled on standard input, with what their tags say, on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that asks sees to that
    base, relatives = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps([_read(base, relative) for relative in relatives]))


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(132)


def _read(base: Path, relative: str) -> _File | None:
    """Return what the tags of a file say, or None if it is not DICOM."""
    library = dicom.pydicom()
    try:
        with (base / relative).open("rb") as file:
            if not dicom.is_dicom(file.read(132)):
                return _File(relative, damaged="not DICOM") if ending(relative) in (".dcm", ".dicom") else None
            file.seek(0)
            header = library.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            return _facts(relative, header)
    except ImageError as error:
        return _File(relative, damaged=str(error))
    except Exception as error:  # on a damaged file pydicom raises nearly anything
        strerror = error.strerror if isinstance(error, OSError) else None
        # Only the kind: the words quote what the tags hold.
        return _File(relative, damaged=strerror or f"its tags cannot be read ({type(error).__name__})")


def _facts(relative: str, header: "Dataset") -> _File:
    def text(name: str) -> str:
        return dicom.text(header, name)

    kind = str(getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", ""))
    if _DIRECTORY in (kind, text("SOPClassUID")):
        return _File(relative, directory=True)
    refused = dicom.refusal(header)
    if not refused and text("Modality") == "CT":
        types = [str(value).upper() for value in header.get("ImageType") or []]
        refused = "localizer of CT" if "LOCALIZER" in types else ""
    if refused:
        return _File(relative, refused=refused)
    series, place = None, 0.0
    if text("Modality") in _PLANES and dicom.frames(header) == 1:
        orientation = dicom.numbers(header, "ImageOrientationPatient")
        position = dicom.numbers(header, "ImagePositionPatient")
        if len(orientation) == 6 and len(position) == 3:
            # Planes that are tilted against each other have no common order, even in one series.
            series = text("SeriesInstanceUID"), tuple(round(value, 2) + 0.0 for value in orientation)
            (a, b, c), (d, e, f), (x, y, z) = orientation[:3], orientation[3:], position
            place = (b * f - c * e) * x + (c * d - a * f) * y + (a * e - b * d) * z  # along the normal of the plane
    instance = text("InstanceNumber")
    return _File(
        relative,
        frames=dicom.frames(header),
        patient=text("PatientID"),
        study=text("StudyInstanceUID"),
        when=(text("StudyDate") or text("AcquisitionDate"), text("StudyTime")),
        series=series,
        number=text("SeriesNumber"),
        place=(round(place, 3), int(instance) if instance.lstrip("-").isdecimal() else 0),
        instance=text("SOPInstanceUID"),
        view=_view(header),
        sex=text("PatientSex").upper() if text("PatientSex").upper() in ("F", "M") else "",
        age=_age(text("PatientAge"), text("PatientBirthDate"), text("StudyDate") or text("AcquisitionDate")),
        burned=text("BurnedInAnnotation").upper() == "YES",
    )


def _all_hidden(flow: Flow) -> Callable[[str], str]:
    return lambda path: flow.shown(path, every=True)


def _view(header: "Dataset") -> str:
    if stated := dicom.text(header, "ViewPosition").upper():
        return stated if stated in _TERMS else ""
    for item in (header.get("ViewCodeSequence") or [])[:1]:
        meaning = dicom.text(item, "CodeMeaning").lower()
        return _VIEWS.get(dicom.text(item, "CodeValue")) or _MEANINGS.get(meaning, "")
    return ""


def _age(stated: str, born: str, seen: str) -> int | None:
    """Return full years from PatientAge such as 045Y or 018M, else from the dates of birth and study."""
    if stated[:-1].isdecimal() and stated[-1:] in "YMWD":
        return int(int(stated[:-1]) / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[stated[-1]])
    if len(born) == len(seen) == 8 and born.isdecimal() and seen.isdecimal():
        years = int(seen[:4]) - int(born[:4]) - (seen[4:] < born[4:])
        return years if years >= 0 else None
    return None


def _dropped(file: _File, flow: Flow) -> bool:
    flow.read += file.frames
    if file.damaged:
        flow.drop("damaged file")
        if sum(note.startswith("damaged file") for note in flow.notes) < 5:
            flow.notes.append(f"damaged file: {flow.shown(file.relative, every=True)}: {file.damaged}")
    elif file.refused:
        flow.drop(file.refused)
    return bool(file.damaged or file.refused)


def _examinations(files: list[_File]) -> dict[str, int]:
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


def _names(files: list[_File]) -> tuple[list[str], dict[str, int]]:
    """Return an id for each file, its place in its series if it has one, else its path; and the places, by path."""
    names = dict(zip((f.relative for f in files), ids(f.relative for f in files), strict=True))
    series: dict[tuple[str, tuple[float, ...]], list[_File]] = defaultdict(list)
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


def _notes(files: list[_File], flow: Flow) -> None:
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
