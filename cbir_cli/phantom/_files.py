"""Files that hold the same bytes whenever they are written: tables, compressed files, pictures, volumes."""

import csv
import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbir_cli import registry
from cbir_cli.errors import UsageError

SEX = {"F": "female", "M": "male"}


def chosen(what: str, names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the names, each once and in the order of the known ones.

    Raises
    ------
    UsageError
        If one is not known, or there is none.
    """
    for name in names:
        if name not in known:
            raise registry.unknown(what, name, list(known))
    if not names:
        raise UsageError(f"expected at least one {what} of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that all have the columns of the first; compressed, if the name ends in ``.gz``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(squeeze(data) if path.suffix == ".gz" else data)


def lines(path: Path, text: Iterable[str]) -> None:
    """Write lines of text."""
    path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")


def squeeze(data: bytes) -> bytes:
    """Compress without the clock time that gzip keeps."""
    return gzip.compress(data, 4, mtime=0)


def picture(image: NDArray[np.uint8], path: Path, quality: int = 92) -> None:
    """Write an image (H, W) or (H, W, 3) as JPEG or PNG, by its ending."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(image).save(path, compress_level=3)
    else:
        Image.fromarray(image).save(path, quality=quality)


def nifti(
    voxels: NDArray[Any],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    codes: str,
    path: Path,
) -> None:
    """Write a volume as compressed NIfTI-1.

    Parameters
    ----------
    voxels : ndarray (Z, Y, X), int16 or uint8
        X runs to the patient's left, Y to his back, Z to his head.
    spacing, origin : tuple of float
        Of x, y and z in mm; where the first voxel lies, in the same axes.
    codes : str
        Order and direction of the axes in the file, for instance ``RAS``, nibabel's canonical one.
    path : Path
        Ends in ``.nii.gz``.
    """
    import nibabel
    from nibabel import orientations

    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -origin[0], -origin[1], origin[2]
    image = nibabel.Nifti1Image(voxels.T, affine)
    image.header.set_xyzt_units("mm", "sec")
    turn = orientations.ornt_transform(orientations.axcodes2ornt("LPS"), orientations.axcodes2ornt(tuple(codes)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(squeeze(image.as_reoriented(turn).to_bytes()))
