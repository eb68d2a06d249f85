"""Liver CT of the Medical Segmentation Decathlon, Task03_Liver: five slices with and five without liver a volume.

What is labelled: every slice, from the volume of labels: liver (1 or 2 in it) and cancer (2; called tumour or tumor in
some copies). The lesion mask of a record is that volume.
Size: 131 volumes of 0.5 to 1 mm in plane with labels, 1,310 slices; 70 more without labels are left out.
Origin: the LiTS challenge, seven hospitals; patients with primary or metastatic cancer of the liver.
Paper: M. Antonelli et al. The Medical Segmentation Decathlon. Nature Communications 2022. The choice of slices is that
of K. Wickstrøm et al. A clinically motivated self-supervised approach for content-based image retrieval of CT liver
images. 2022, which takes the first 100 volumes for training and the last 31 for testing.
Access and licence: http://medicaldecathlon.com, CC BY-SA 4.0.

Layout: ``dataset.json``, ``imagesTr/``, ``labelsTr/``, in the form of the Decathlon or in that of nnU-Net (whose labels
are name to number, and whose images end in ``_0000``). "First" is the order of the numbers in the names, liver_2 before
liver_10, since that in ``dataset.json`` is another in every copy; the split stands in every record, and the volumes of
each part in the notes. Another number of volumes is cut at the same share. Which slices of a volume are taken depends
on its name and nothing else.
"""

import json
import posixpath
import re
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli import volumes
from cbir_cli.errors import ImageError, SourceError
from cbir_cli.records import NEGATIVE, POSITIVE, Flow, Record

CITATION = "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 2022"
LICENSE = "CC BY-SA 4.0"

LABELS = ("liver", "cancer")
SLICES = 5
"""Slices of each class of a volume."""
_TRAINING = 100 / 131
_CANCER = ("cancer", "tumor", "tumour")
_SEED = 1
_THREADS = 2
"""Volumes whose labels are read at once: one of 1,000 slices has 260 MB."""


def recognise(root: Path) -> bool:
    """Whether there are ``dataset.json`` with a liver among its labels, and ``labelsTr``."""
    try:
        return root.is_dir() and (root / "labelsTr").is_dir() and "liver" in _numbers(_description(root))
    except (OSError, SourceError):
        return False


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Slices of every volume that has labels.

    Parameters
    ----------
    root : Path
        Folder of ``dataset.json``.
    flow : Flow
        Counts slices, and volumes that are left out.

    Yields
    ------
    Record
        ``part`` is the slice, ``patient`` and ``study`` the volume, ``split`` train or test.

    Raises
    ------
    SourceError
        If ``dataset.json`` is missing, is not JSON, or names no liver and no cancer.
    """
    description = _description(root)
    numbers = _numbers(description)
    liver, cancer = numbers.get("liver"), next((numbers[name] for name in _CANCER if name in numbers), None)
    if liver is None or cancer is None:
        raise SourceError(f"{root / 'dataset.json'}: expected labels liver and cancer, found {', '.join(numbers)}")
    pairs = _pairs(root, description)
    missing = sorted(path for pair in pairs.values() for path in pair if not (root / path).is_file())
    there = {name: pair for name, pair in pairs.items() if not set(pair) & set(missing)}
    flow.read += len(pairs) - len(there)
    if len(there) < len(pairs):
        flow.drop("volume or its labels missing", len(pairs) - len(there))
    flow.notes += [f"missing file: {path}" for path in missing[:5]]
    if unlabelled := len(description.get("test") or []):
        flow.notes.append(f"volumes without labels, left out: {unlabelled:,}")
    names = sorted(there, key=_natural)
    # Of all that are listed, so that a missing one moves no other; one at least is for testing.
    first = min(round(len(pairs) * _TRAINING), max(1, len(pairs) - 1))
    training = set(sorted(pairs, key=_natural)[:first])

    def slices(name: str) -> list[tuple[int, bool, bool]] | ImageError:
        image, labels = there[name]
        try:
            held = volumes.present(root / labels, (liver, cancer), like=root / image)
        except ImageError as error:
            return error
        except Exception as error:  # on a damaged file nibabel raises nearly anything
            return ImageError(next(iter(str(error).splitlines()), type(error).__name__))
        return [(part, bool(held[part].any()), bool(held[part, 1])) for part in _chosen(name, held)]

    few = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for name, found in zip(names, pool.map(slices, names), strict=True):
            if isinstance(found, ImageError):
                flow.read += 1
                flow.drop("damaged volume or labels")
                flow.notes.append(f"damaged: {name}: {found}")
                continue
            few += len(found) < 2 * SLICES
            for part, with_liver, with_cancer in found:
                flow.read += 1
                yield Record(
                    id=f"{name}/{part:04d}",
                    path=root / there[name][0],
                    relative=there[name][0],
                    labels={
                        "liver": POSITIVE if with_liver else NEGATIVE,
                        "cancer": POSITIVE if with_cancer else NEGATIVE,
                    },
                    patient=name,
                    study=name,
                    split="train" if name in training else "test",
                    part=part,
                    mask=root / there[name][1],
                )
    if few:
        flow.notes.append(f"volumes with fewer than {SLICES} slices with or without liver: {few}; all are taken")
    for split, some in (("train", training), ("test", set(pairs) - training)):
        if listed := sorted(some, key=_natural):
            flow.notes.append(f"{split}: {len(listed)} volumes: {', '.join(listed)}")


def _description(root: Path) -> Mapping[str, Any]:
    path = root / "dataset.json"
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SourceError(f"{path}: expected an object")
    return found


def _numbers(description: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of each label, from ``{"1": "liver"}`` or ``{"liver": 1}``."""
    found = description.get("labels")
    numbers: dict[str, int] = {}
    for key, value in found.items() if isinstance(found, dict) else ():
        name, number = (value, key) if isinstance(value, str) else (key, value)
        # nnU-Net gives a region as a list; its label is the last and most special one there only by habit.
        if str(number).isdecimal():
            numbers[str(name).lower()] = int(number)
    return numbers


def _pairs(root: Path, description: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the paths of volume and labels by the name of the volume."""
    listed = description.get("training")
    found: dict[str, tuple[str, str]] = {}
    if isinstance(listed, list):
        for entry in listed:
            if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
                raise SourceError(f"{root / 'dataset.json'}: training: expected image and label, found {entry!r:.60}")
            image, label = (posixpath.normpath(str(entry[key])) for key in ("image", "label"))
            if image.startswith(("/", "..")) or label.startswith(("/", "..")):
                raise SourceError(f"{root / 'dataset.json'}: training: {image} is outside of the folder")
            found[_name(label)] = image, label
        return found
    ending = str(description.get("file_ending") or ".nii.gz")
    for path in sorted((root / "labelsTr").iterdir()):
        if path.name.endswith(ending) and not path.name.startswith("."):  # copies from a Mac hold ._ files
            name = path.name.removesuffix(ending)
            found[name] = f"imagesTr/{name}_0000{ending}", f"labelsTr/{path.name}"
    return found


def _name(path: str) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", posixpath.basename(path))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _chosen(name: str, held: np.ndarray) -> list[int]:
    """Return some slices with and some without liver or cancer, the same ones for a name always."""
    liver = held.any(axis=1)
    rng = np.random.Generator(np.random.PCG64([_SEED, zlib.crc32(name.encode())]))
    drawn = [rng.permutation(np.flatnonzero(liver == with_liver))[:SLICES] for with_liver in (True, False)]
    return sorted(int(part) for part in np.concatenate(drawn))
