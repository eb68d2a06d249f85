"""MedMNIST: small images of twelve data sets, each in one ``.npz``, of 28, 64, 128 or 224 pixels a side.

What is labelled: every image, with one class of several (each class a label, 1 or 0) or, in ChestMNIST, fourteen
findings, each 1 or 0. The labels have MedMNIST's names; RetinaMNIST's are called ``grade 0`` to ``grade 4``.
Size: from 780 images (BreastMNIST) to 236,386 (TissueMNIST); 8-bit, grey or RGB.
Origin: twelve public data sets, see the paper's Table 1; ChestMNIST is ChestX-ray14, PneumoniaMNIST is Kermany's set.
Paper: J. Yang et al., MedMNIST v2, Scientific Data 2023. arXiv:2110.14795.
Access: open, zenodo.org/records/10519652. Layout: ``pneumoniamnist.npz`` or ``pneumoniamnist_64.npz``: the file, or the
folder of this one file. The sets of volumes (``organmnist3d.npz``) are not read.
Licence: CC BY 4.0; DermaMNIST CC BY-NC 4.0.

Patients are not stated. ChestMNIST, OrganAMNIST and others hold several images of one person, whom retrieval may find
for himself; their official split keeps persons apart, their images of one split do not. An image has its place in the
archive as ``Record.part``, counted through train, val and test.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cbir_cli import npz
from cbir_cli.data._tables import split_name
from cbir_cli.errors import ImageError, SourceError
from cbir_cli.records import NEGATIVE, POSITIVE, Flow, Record

CITATION = (
    "J. Yang, R. Shi, D. Wei, Z. Liu, L. Zhao, B. Ke, H. Pfister, B. Ni. MedMNIST v2: A large-scale lightweight "
    "benchmark for 2D and 3D biomedical image classification. Scientific Data 10, 41 (2023)."
)
LICENSE = "CC BY 4.0; DermaMNIST CC BY-NC 4.0"

_ORGANS: tuple[str, ...] = ("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver")
_ORGANS += ("lung-left", "lung-right", "pancreas", "spleen")
CLASSES: Mapping[str, tuple[str, ...]] = {
    "pathmnist": (
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    "chestmnist": (
        "atelectasis",
        "cardiomegaly",
        "effusion",
        "infiltration",
        "mass",
        "nodule",
        "pneumonia",
        "pneumothorax",
        "consolidation",
        "edema",
        "emphysema",
        "fibrosis",
        "pleural",
        "hernia",
    ),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma",
        "basal cell carcinoma",
        "benign keratosis-like lesions",
        "dermatofibroma",
        "melanoma",
        "melanocytic nevi",
        "vascular lesions",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
    "breastmnist": ("malignant", "normal, benign"),
    "bloodmnist": (
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
    "tissuemnist": (
        "Collecting Duct, Connecting Tubule",
        "Distal Convoluted Tubule",
        "Glomerular endothelial cells",
        "Interstitial endothelial cells",
        "Leukocytes",
        "Podocytes",
        "Proximal Tubule Segments",
        "Thick Ascending Limb",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}
"""Class names by number, from medmnist 3.0.2."""
ROWS: Mapping[str, tuple[int, int, int]] = {
    "pathmnist": (89996, 10004, 7180),
    "chestmnist": (78468, 11219, 22433),
    "dermamnist": (7007, 1003, 2005),
    "octmnist": (97477, 10832, 1000),
    "pneumoniamnist": (4708, 524, 624),
    "retinamnist": (1080, 120, 400),
    "breastmnist": (546, 78, 156),
    "bloodmnist": (11959, 1712, 3421),
    "tissuemnist": (165466, 23640, 47280),
    "organamnist": (34561, 6491, 17778),
    "organcmnist": (12975, 2392, 8216),
    "organsmnist": (13932, 2452, 8827),
}
"""Images for training, validation and testing, from medmnist 3.0.2."""
_FILE = re.compile(r"([a-z]+mnist(?:3d)?)(?:_(28|64|128|224))?\.npz")


def recognise(root: Path) -> bool:
    """Whether this is a file with the name of a data set of MedMNIST, or a folder that holds one."""
    return bool(_found(root))


def read(root: Path, *, flow: Flow) -> Iterator[Record]:
    """Every image of the archive.

    Parameters
    ----------
    root : Path
        The archive, or the folder that holds it and no other of MedMNIST.
    flow : Flow
        Counts images; its notes say where a split has not the images that it was published with.

    Yields
    ------
    Record
        ``id`` is the split and the number in it, such as ``train/00012``; ``split`` is train, validation or test.

    Raises
    ------
    SourceError
        If there is no archive or are several, it holds volumes, or images and labels do not fit or are not known.
    """
    path, name = _archive(root)
    if name not in CLASSES:
        raise SourceError(f"{path}: {name} is not read; known: {', '.join(CLASSES)}")
    classes = CLASSES[name]
    try:
        found = [(images, npz.labels(path, images.split)) for images in npz.arrays(path)]
    except ImageError as error:
        raise SourceError(f"{path}: {error}") from error
    if lacking := [split for split in npz.SPLITS if split not in {images.split for images, _ in found}]:
        flow.notes.append(f"{path.name}: lacks {', '.join(lacking)}")
    first = 0
    for images, labels in found:
        count = images.shape[0]
        if len(labels) != count:
            raise SourceError(f"{path}: {count:,} images and {len(labels):,} labels for {images.split}")
        if (official := ROWS[name][npz.SPLITS.index(images.split)]) != count:
            flow.notes.append(f"{path.name}: {count:,} images for {images.split}, as published {official:,}")
        codes = _Codes(path, classes, many=name == "chestmnist")
        split = split_name(images.split)
        digits = len(str(count - 1))
        for number in range(count):
            flow.read += 1
            yield Record(
                id=f"{split}/{number:0{digits}}",
                path=path,
                relative=path.name,
                labels=codes(images.split, number, labels[number].tolist()),
                split=split,
                part=first + number,
            )
        first += count


class _Codes:
    """Label mapping of a row; rows that state the same share one."""

    def __init__(self, path: Path, classes: Sequence[str], *, many: bool) -> None:
        self._path, self._classes, self._many = path, classes, many
        self._seen: dict[tuple[int, ...], Mapping[str, int]] = {}

    def __call__(self, split: str, number: int, row: list[int]) -> Mapping[str, int]:
        key = tuple(row)
        if key not in self._seen:
            wide, highest = (len(self._classes), 1) if self._many else (1, len(self._classes) - 1)
            if len(key) != wide or not all(0 <= value <= highest for value in key):
                raise SourceError(
                    f"{self._path}: {split}_labels, row {number}: expected {wide} from 0 to {highest}, found {row}"
                )
            positive = {i for i, value in enumerate(key) if value} if self._many else {key[0]}
            self._seen[key] = {c: POSITIVE if i in positive else NEGATIVE for i, c in enumerate(self._classes)}
        return self._seen[key]


def _found(root: Path) -> list[tuple[Path, str]]:
    """Archives and the data sets that they hold by their names."""
    files = [root] if root.is_file() else sorted(root.glob("*.npz")) if root.is_dir() else []
    return [(path, match[1]) for path in files if (match := _FILE.fullmatch(path.name))]


def _archive(root: Path) -> tuple[Path, str]:
    found = _found(root)
    if not found:
        raise SourceError(f"{root}: expected an archive such as pneumoniamnist.npz, found none")
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        raise SourceError(f"{root}: holds {len(found)} archives ({names}); name one: medmnist:{found[0][0]}")
    return found[0]
