"""Files that hold several images: how many, a record for each, and one of them for each file."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from cbir_cli import dicom, npz, volumes
from cbir_cli.data._files import ENDINGS, ending
from cbir_cli.records import Flow, Record

_START = 2**12


def count(path: Path) -> int | None:
    """Return how many frames, slices or images a file holds; None for one image, and where it cannot be told.

    Files that are called as PNG, JPEG, TIFF or BMP are not opened. Of a file that is damaged or refused decoding says
    what is wrong.
    """
    if ending(path.name) in ENDINGS or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            start = file.read(_START)
            if dicom.is_dicom(start):
                file.seek(0)
                header = dicom.pydicom().dcmread(file, stop_before_pixels=True, force=True)
                found = 1 if dicom.refusal(header) else dicom.frames(header)
                return found if found > 1 else None
        if volumes.is_volume(start):
            return volumes.depth(path)
        return sum(images.shape[0] for images in npz.arrays(path)) if start[:4] == b"PK\x03\x04" else None
    except Exception:  # on a damaged file the libraries raise nearly anything
        return None


def each(record: Record) -> Iterator[Record]:
    """Yield a record for each image of a file, called ``ID/0000`` and so on; of one image the record as it is."""
    found = count(record.path)
    if found is None:
        yield record
    for part in range(found or 0):
        yield replace(record, id=f"{record.id}/{part:04d}", part=part)


def only(records: Iterable[Record], frame: int, flow: Flow) -> list[Record]:
    """Return one image of each file that holds several, and every other file's.

    Parameters
    ----------
    records : iterable of Record
    frame : int
        Its ``part``.
    flow : Flow
        Counts the others, and names the first five files that do not have it.
    """
    files: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        files[record.relative].append(record)
    kept: list[Record] = []
    lacking: list[str] = []
    for relative, images in files.items():
        found = [image for image in images if image.part in (None, frame)]
        kept += found
        if found and len(found) < len(images):
            flow.drop(f"another frame than {frame}", len(images) - len(found))
        elif not found:
            flow.drop(f"no frame {frame}", len(images))
            last = max(image.part or 0 for image in images)
            lacking.append(f"{relative} (the last is {last})")
    if lacking:
        flow.notes.append(f"no frame {frame}: {', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}")
    return kept
