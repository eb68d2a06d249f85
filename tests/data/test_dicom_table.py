"""``docs/dicom-files.md`` says of each file that pydicom ships what happens to it now."""

import re
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from cbir_cli import dicom
from cbir_cli.errors import ImageError
from cbir_cli.images import decode

FILES = Path(pydicom.__file__).parent / "data"
DOCS = Path(__file__).parents[2] / "docs"
FRAMES = "frame by frame; one needs its number"


def documented():
    """Return how many files of which name or folder have which modality, pixels, transfer syntax and result."""
    found = Counter()
    for line in (DOCS / "dicom-files.md").read_text().splitlines():
        if line.startswith("| `"):
            files, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            for name, count in re.findall(r"`([^`]+)`(?: \((\d+)\))?", files):
                found[(name, *cells)] += int(count or 1)
    return found


def happens(path):
    """Return the row of one file."""
    parts = [part for part in path.relative_to(FILES).parts if part != "test_files"]
    name = f"{parts[0]}/" if len(parts) > 1 else parts[0]
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    modality = str(header.get("Modality") or "none stated")
    try:
        decode(path)
        result = "read"
    except ImageError as error:
        result = str(error).removeprefix(f"{path.name}: ")
        if "frames" in result:
            decode(path, part=1)
            result = FRAMES
    known = result in ("read", FRAMES)
    syntax = header.file_meta.TransferSyntaxUID.name if known else ""
    pixels = header.PhotometricInterpretation if known else ""
    return name, modality, pixels, _short(syntax), result


def _short(syntax):
    return re.sub(r"\s*[,(].*", "", syntax)


@pytest.mark.filterwarnings("ignore")
def test_the_table_is_true():
    paths = [p for p in sorted(FILES.rglob("*")) if p.is_file() and dicom.is_dicom(p.read_bytes()[:132])]
    found = Counter(map(happens, paths))
    told = Counter()
    for (name, modality, pixels, syntax, result), count in documented().items():
        told[name, modality, pixels, _short(syntax), result] += count
    assert found == told
    # The summary of docs/datasets.md is the sum of the table.
    words = (DOCS / "datasets.md").read_text()
    read = sum(count for row, count in told.items() if row[4] in ("read", FRAMES))
    assert f"Of the {len(paths)} DICOM files that pydicom ships {read} are read" in words
    for reason in ("holds no image", "modality", "ultrasound clips", "damaged", "CT without a window"):
        refused = sum(count for row, count in told.items() if row[4].startswith(reason))
        assert re.search(rf"\b{refused}\b[^,;.]*{reason}", words), (reason, refused)
