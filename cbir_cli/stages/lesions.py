"""Which mask of a lesion belongs to which image, and what is left out.

A table or READER:ROOT whose records state masks, as those of the Decathlon's volumes and of ISIC do, gives the mask
of each image by its id; that of a slice is the same slice of the volume of labels, turned as the image is. In a
folder of masks a mask belongs to the image whose path it has, or the end of that path: ``images/a/1.png`` goes with
``images/a/1``, ``a/1`` or ``1`` below the folder of masks, with the ending of any image format; the longest that is
there counts. A name that fits twice is an error, since a wrong mask would give a wrong score without a word. In a
mask, what is not zero is lesion.

One mask is in memory at a time.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_cli import data, images, volumes
from cbir_cli.artifacts import files
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.pseudonyms import from_environment
from cbir_cli.data import directory, manifest
from cbir_cli.errors import ImageError, SourceError
from cbir_cli.names import cut
from cbir_cli.progress import track
from cbir_cli.reading import content_hash
from cbir_cli.records import Flow, Record
from cbir_cli.records import images as counted

_JPEG = (".jpg", ".jpeg", ".jpe")
_LOG = logging.getLogger("cbir")


class Lesions:
    """What ``--masks`` names: a folder of masks, or a source of images that states them.

    Parameters
    ----------
    name : str
        As typed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._stated = _stated(name)
        self._known, self._revealed = ({}, str) if self._stated else _masks_below(Path(name))

    def each(
        self, name: str, tables: Sequence[tuple[Items, Collection[int]]]
    ) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
        """Yield each lesion, and which image it is in; what is left out is said after the last.

        Parameters
        ----------
        name : str
            Of the artifact with the maps, for messages.
        tables : sequence of (Items, collection of int)
            Images, and the rows that have maps.

        Yields
        ------
        tuple of (int, int, ndarray (H, W) of bool)
            Number of the table, row in it, and where the lesion is: not empty.

        Raises
        ------
        SourceError
            If a name fits twice, no image has a mask, all masks are empty, or a mask is its image itself.
        ImageError
            If a mask cannot be decoded.
        """
        with files.reading(name):
            ids, relatives, contents, seen = (
                [column.tolist() for column in columns]
                for columns in zip(*((t.ids, t["path"], t["content"], t["seen"]) for t, _ in tables), strict=True)
            )
        found = {
            (number, row): record
            for number, (_, rows) in enumerate(tables)
            for row, record in self._of(ids[number], relatives[number]).items()
            if row in rows
        }
        # An image may stand in two tables, as a query and as a result of another one: it counts once.
        every = {ids[number][row]: relatives[number][row] for number, (_, rows) in enumerate(tables) for row in rows}
        if not found:
            raise SourceError(f"{name}: {self._lacking(list(every.values()))}")
        empty, scored, known = set(), set(), set()
        for (number, row), record in track(found.items(), len(found), f"{name}: masks"):
            key, lesion = ids[number][row], read(record, contents[number][row])
            if not lesion.any():
                empty.add(key)
                continue
            scored.add(key)
            if seen[number][row] in ("train", "validation"):
                known.add(key)
            yield number, row, lesion
        if not scored:
            raise SourceError(f"{name}: all {len(empty)} masks are empty")
        _LOG.info(
            "%s: %d of %d images scored%s; left out: %d without a mask, %d with an empty one",
            name,
            len(scored),
            len(every),
            f", {len(known)} of them of patients that the network was trained or selected on" if known else "",
            len(every) - len(scored) - len(empty),
            len(empty),
        )
        lossy = len({record.mask for record in found.values() if record.mask and record.mask.suffix.lower() in _JPEG})
        if lossy:
            _LOG.warning(
                "%d masks are JPEG, whose noise around a lesion is not zero and counts as lesion; use PNG", lossy
            )

    def _of(self, ids: Sequence[str], relatives: Sequence[str]) -> dict[int, Record]:
        """Return the record of the mask of each image that has one, by its row."""
        if self._stated:
            return {row: self._stated[key] for row, key in enumerate(ids) if key in self._stated}
        folder = Path(self.name)
        paired = pair(relatives, self._known, folder, self._revealed)
        return {row: Record(ids[row], Path(), relative, mask=folder / relative) for row, relative in paired.items()}

    def _lacking(self, relatives: Sequence[str]) -> str:
        """Return that no image has a mask, and how masks would have to be called."""
        if self._stated:
            return f"none of {counted(len(relatives))} has a mask in {self.name}"
        sought = list(dict.fromkeys(_stem(key) for key in (relatives[0], Path(relatives[0]).name))) if relatives else []
        hint = f"; of {relatives[0]} it would be {' or '.join(sought)}, with the ending of an image" if sought else ""
        return f"none of {len(relatives)} images has a mask in {Path(self.name)}{hint}"


def pair(
    relatives: Sequence[str],
    known: Mapping[str, Sequence[str]],
    folder: Path,
    revealed: Callable[[str], str] = str,
) -> dict[int, str]:
    """Find the mask of each image.

    Parameters
    ----------
    relatives : sequence of str
        Paths of the images below their source.
    known : mapping of str to sequence of str
        Paths of the masks below their folder, by the path without its ending.
    folder : Path
        For messages.
    revealed : callable
        Makes of the path of an image, in which names may be hidden, the one that it has on the disk.

    Returns
    -------
    dict of int to str
        Path of the mask, by the row of the image; images without a mask are not in it.

    Raises
    ------
    SourceError
        If two masks fit one image, or two images one mask.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, relative in enumerate(relatives):
        if (key := next((key for key in _keys(revealed(relative)) if key in known), None)) is not None:
            rows[key].append(row)
    for key, several in rows.items():
        if len(known[key]) > 1:
            raise SourceError(f"{folder}: ambiguous: {_list(known[key])} all fit the image {relatives[several[0]]}")
        if len(several) > 1:
            names = _list([relatives[row] for row in several])
            raise SourceError(
                f"{folder}: ambiguous: {known[key][0]} fits the images {names}; name masks by their paths"
            )
    return {row: known[key][0] for row, key in sorted((row, key) for key, (row,) in rows.items())}


def read(record: Record, content: str) -> NDArray[np.bool_]:
    """Return where a mask is not zero (H, W), unless it is the very file that the map explains."""
    path = record.mask or record.path
    try:
        with suppress(OSError), path.open("rb") as file:
            if volumes.is_volume(file.read(2**12)):
                return volumes.labels(path, record.part or 0, like=record.path) != 0
        if content and content_hash(path) == content:
            raise SourceError(f"{path}: is the image itself, not its mask")
        pixels = images.decode(path)
    except ImageError as error:
        raise ImageError(f"mask {error}") from error
    lesion = pixels != 0
    return lesion.any(axis=2) if lesion.ndim == 3 else lesion


def _stated(masks: str) -> dict[str, Record]:
    """Return the images of a source that states masks, by id; nothing for a folder of masks."""
    path = Path(masks)
    if (path.exists() and not manifest.recognise(path)) or (not path.exists() and ":" not in masks):
        return {}
    stated = {record.id: record for record in data.read_source(masks).records if record.mask}
    if not stated:
        raise SourceError(f"{masks}: states no masks")
    return stated


def _masks_below(folder: Path) -> tuple[dict[str, list[str]], Callable[[str], str]]:
    """Return the paths of all images below a folder by the path without its ending, and what reveals hidden names.

    Names of images may be hidden, some of a path or all; those that are here are known by hiding them as well.
    """
    known: dict[str, list[str]] = defaultdict(list)
    hide = from_environment()
    behind: dict[str, str] = {}
    for record in directory.read(folder, flow=Flow()):
        known[_stem(record.relative)].append(record.relative)
        behind |= {hide(stem): stem for stem, _ in map(cut, record.relative.split("/"))}

    def revealed(relative: str) -> str:
        names = map(cut, relative.split("/"))
        return "/".join(behind.get(stem, stem) + ending for stem, ending in names)

    return dict(known), revealed


def _keys(relative: str) -> Iterator[str]:
    """Yield what the mask of an image may be called, the longest first; dots need not be the start of an ending."""
    parts = relative.split("/")
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        yield end
        yield _stem(end)


def _stem(relative: str) -> str:
    return os.path.splitext(relative)[0]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
