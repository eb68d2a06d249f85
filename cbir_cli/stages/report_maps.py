"""From saliency artifacts to maps side by side: the part of ``cbir report`` that shows maps files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cbir_cli import classes, windows
from cbir_cli.artifacts.saliency import Maps
from cbir_cli.errors import CbirError, UsageError
from cbir_cli.images import InputSpec
from cbir_cli.maps import shown, summed
from cbir_cli.records import POSITIVE
from cbir_cli.reports import board, gallery
from cbir_cli.stages import pictures as originals
from cbir_cli.stages import report_names
from cbir_cli.stages.embed import targets_of


def board_of(opened: Sequence[Maps], *, root: str | None, images: str | None, k: int, label: str | None) -> board.Board:
    """Return some images with their maps in each of several artifacts.

    Parameters
    ----------
    opened : sequence of Maps
        At least one, of open artifacts: a column each.
    root : str, optional
        Folder that the images are in; else the source as the artifacts remember it.
    images : str, optional
        Ids of the images to show, separated by commas.
    k : int
        How many to show if none are named: the first that all artifacts hold, those with the label before the others.
    label : str, optional
        The label; by default the one that the network was trained to.

    Raises
    ------
    UsageError
        If no artifact has the label, or a named image is not in all of them.
    CbirError
        If no image is in all artifacts.
    SourceError, ImageError
        If an image is not where it should be, is another one, or cannot be decoded.
    """
    first = opened[0].items
    rows = [{key: row for row, key in enumerate(one.items.ids.tolist())} for one in opened]
    labels = _labels(opened, label)
    if images is not None:
        ids, chosen = _named(images, opened, rows), ""
    else:
        ids, chosen = _first(opened, rows, k, labels)
    table = first.take([rows[0][key] for key in ids])
    input_ = InputSpec(size=max(int(one.maps.shape[-1]) for one in opened), window=_window(opened))
    paths = _files(opened, rows, ids, root)
    pixels = originals.Pictures(input_, paths, {}).load(paths, table)
    lines = []
    for number, key in enumerate(ids):
        words = gallery.words(table.stated(number, labels))
        tile = gallery.Tile(key, np.rint(pixels[number] * 255).astype(np.uint8), words)
        cells = [_cell(one, row[key]) for one, row in zip(opened, rows, strict=True)]
        lines.append(board.Line(tile, [values for values, _ in cells], [note for _, note in cells]))
    return board.Board(_columns(opened), lines, chosen)


def notes_of(opened: Sequence[Maps]) -> list[str]:
    """Return a sentence for each artifact: what its maps explain, and how they were made."""
    said = []
    for title, one in zip(_titles(opened), opened, strict=True):
        how = [f"{key} {_spell(value)}" for key, value in sorted({**one.parameters, "input": one.input}.items())]
        parts = [f"maps of {one.target}", f"network {one.model[:12]}", *how]
        said.append(f"{title}: {_file(one)}, {', '.join(parts)}.")
    return said


def _labels(opened: Sequence[Maps], label: str | None) -> list[str]:
    """Return the labels that an image is described by: the one asked for, else the task's, else the only one."""
    names = opened[0].items.label_names
    if label is not None:
        return classes.labels_of(opened[0].items, [], label)
    for entry in opened[0].history:
        wanted = entry.get("parameters", {}).get("labels")
        if isinstance(wanted, list) and (found := targets_of(names, [map(str, wanted)])):
            return found
    return names if len(names) == 1 else []


def _window(opened: Sequence[Maps]) -> tuple[float, float] | None:
    """Return the window that the first network with one was trained with: its images are shown as it saw them."""
    for one in opened:
        for entry in one.history:
            if found := windows.parse(str(entry.get("parameters", {}).get("window", ""))):
                return found
    return None


_Rows = Sequence[dict[str, int]]


def _named(images: str, opened: Sequence[Maps], rows: _Rows) -> list[str]:
    # An id may hold a comma itself.
    named = [images] if images in rows[0] else [part.strip() for part in images.split(",") if part.strip()]
    if not named:
        raise UsageError("--images: expected ids separated by commas, found none")
    for key in named:
        for one, row in zip(opened, rows, strict=True):
            if key not in row:
                raise UsageError(f"--images: {one.name} has no map of {key}")
            if not _same(opened, rows, key):
                raise UsageError(f"--images: {key} is not the same image in all of the maps files")
    return list(dict.fromkeys(named))


def _first(opened: Sequence[Maps], rows: _Rows, k: int, labels: Sequence[str]) -> tuple[list[str], str]:
    """Choose images, and say how."""
    common = [key for key in rows[0] if all(key in row for row in rows) and _same(opened, rows, key)]
    if not common:
        raise CbirError(f"no image is in all of {', '.join(one.name for one in opened)}")
    table = opened[0].items
    positive = {key for key in common if POSITIVE in table.stated(rows[0][key], labels).values()}
    ids = sorted(common, key=lambda key: key not in positive)[:k]
    held = "" if len(opened) == 1 else " that all maps files hold"
    count = (
        f"All {len(ids)} images{held}" if len(ids) == len(common) else f"{len(ids)} of the {len(common)} images{held}"
    )
    order = f": first those with {' or '.join(labels)}" if positive else ""
    return ids, f"{count}{order}, in the order of the {'file' if len(opened) == 1 else 'first file'}."


def _same(opened: Sequence[Maps], rows: _Rows, key: str) -> bool:
    """Say whether an id stands for the same image file everywhere."""
    contents = [one.items["content"] for one in opened]
    return len({str(content[row[key]]) for content, row in zip(contents, rows, strict=True)}) == 1


def _files(opened: Sequence[Maps], rows: _Rows, ids: Sequence[str], root: str | None) -> dict[str, Path]:
    """Return the file of each image: where any of the artifacts says that it is, if it is there."""
    found: dict[str, Path] = {}
    for one, row in zip(opened, rows, strict=True):
        chosen = [row[key] for key in ids]
        paths = originals.paths(one.items.ids[chosen], one.items["path"][chosen], root, one.source)
        for key, path in paths.items():
            if key not in found or (path.exists() and not found[key].exists()):
                found[key] = path
    return found


def _cell(one: Maps, row: int) -> tuple[np.ndarray, str]:
    """Return a map of one value a pixel, and its largest magnitude in words."""
    stored = one.maps[row]
    largest = float(np.abs(summed(stored)).max()) * float(one.scale[row])
    return shown(stored[None])[0], f"largest {largest:.2g}"


def _columns(opened: Sequence[Maps]) -> list[board.Column]:
    """Return the head of each column; what tells maps of one method apart is said below its name."""
    columns = []
    for title, one in zip(_titles(opened), opened, strict=True):
        ways = [{**other.parameters, "input": other.input} for other in opened if other.method == one.method]
        own = {**one.parameters, "input": one.input}
        note = [f"{key} {_spell(own[key])}" for key in sorted(own) if any(way.get(key) != own[key] for way in ways)]
        columns.append(board.Column(title, ", ".join(note)))
    return columns


def _titles(opened: Sequence[Maps]) -> list[str]:
    return report_names.distinct([one.method for one in opened], [one.name for one in opened])


def _file(one: Maps) -> str:
    return Path(one.name).name


def _spell(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
