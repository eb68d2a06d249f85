"""What the tags of DICOM files say, of many files at once, in processes of their own."""

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cbir_cli import dicom
from cbir_cli.data._files import ending
from cbir_cli.errors import ImageError
from cbir_cli.progress import Progress

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

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
class Tags:
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


def read_all(base: Path, relatives: list[str]) -> list[Tags | None]:
    """Read the tags of many files at once, in processes: pydicom is all Python, so that threads would take turns.

    They are plain processes with their own command, since those of multiprocessing run the main program's file again.
    """
    cores = min(len(os.sched_getaffinity(0)), -(-len(relatives) // _SHARE))
    if cores < 2:
        return [read(base, relative) for relative in relatives]
    command = [sys.executable, "-P", "-c", "from cbir_cli.data import _dicom_tags; _dicom_tags.serve()"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    running: list[subprocess.Popen[bytes]] = []

    def work(share: list[str]) -> list[Tags | None]:
        given = pickle.dumps((base, share))
        try:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            running.append(process := subprocess.Popen(command, env=variables, **pipes))  # type: ignore[call-overload]
            answer, _ = process.communicate(given)
        except OSError:  # no room for another process
            return [read(base, relative) for relative in share]
        if process.returncode:  # killed, for want of memory
            return [] if ended else [read(base, relative) for relative in share]
        return list(pickle.loads(answer))

    size = min(_SHARE, -(-len(relatives) // cores))
    shares = [relatives[start : start + size] for start in range(0, len(relatives), size)]
    progress = Progress(len(relatives), "reading DICOM tags")
    found: list[Tags | None] = []
    ended = False
    with ThreadPoolExecutor(cores) as pool:
        try:
            for some in pool.map(work, shares):
                found += some
                progress.advance(len(some))
        except BaseException:
            ended = True
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.kill()
            raise
    progress.close()
    return found


def serve() -> None:
    """Answer a folder and paths below it, pickled on standard input, with what their tags say, on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that asks sees to that
    base, relatives = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps([read(base, relative) for relative in relatives]))


def read(base: Path, relative: str) -> Tags | None:
    """Return what the tags of a file say, or None if it is not DICOM."""
    library = dicom.pydicom()
    try:
        with (base / relative).open("rb") as file:
            if not dicom.is_dicom(file.read(132)):
                return Tags(relative, damaged="not DICOM") if ending(relative) in (".dcm", ".dicom") else None
            file.seek(0)
            header = library.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            return _facts(relative, header)
    except ImageError as error:
        return Tags(relative, damaged=str(error))
    except Exception as error:  # on a damaged file pydicom raises nearly anything
        strerror = error.strerror if isinstance(error, OSError) else None
        # Only the kind: the words quote what the tags hold.
        return Tags(relative, damaged=strerror or f"its tags cannot be read ({type(error).__name__})")


def _facts(relative: str, header: "Dataset") -> Tags:
    def text(name: str) -> str:
        return dicom.text(header, name)

    kind = str(getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", ""))
    if _DIRECTORY in (kind, text("SOPClassUID")):
        return Tags(relative, directory=True)
    refused = dicom.refusal(header)
    if not refused and text("Modality") == "CT":
        types = [str(value).upper() for value in header.get("ImageType") or []]
        refused = "localizer of CT" if "LOCALIZER" in types else ""
    if refused:
        return Tags(relative, refused=refused)
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
    return Tags(
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
