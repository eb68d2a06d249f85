"""A folder of image files, searched recursively; nothing is labelled.

What is labelled: nothing. The id is the path below the folder without its ending; the patient comes from a pattern.
Size, origin, paper: whatever the folder holds.
Access and licence: those of the images.
"""

from collections.abc import Iterator
from pathlib import Path

from cbir_cli.data._files import Patients, ids, images_below
from cbir_cli.records import Flow, Record

CITATION = "none: a layout of files, not a data set"
LICENSE = "that of the images"


def recognise(root: Path) -> bool:
    """Any folder."""
    return root.is_dir()


def read(root: Path, *, flow: Flow, patient: str | None = None) -> Iterator[Record]:
    """Every image below a folder, by path.

    Parameters
    ----------
    root : Path
    flow : Flow
        Counts what was read; files that are no images are counted by ending in its notes.
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
    for name, relative in zip(ids(relatives), relatives, strict=True):
        who, study = patients(relative)
        yield Record(id=name, path=root / relative, relative=relative, patient=who, study=study)
    patients.report(flow)
