"""Pictures of saliency maps in a folder, one an image: the library behind ``cbir saliency --preview``."""

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from cbir_cli.errors import CbirError, ImageError, UsageError
from cbir_cli.images import grey
from cbir_cli.maps import summed
from cbir_cli.progress import track
from cbir_cli.records import Record
from cbir_cli.reports import preview

log = logging.getLogger("cbir")

_LONGEST = 150  # characters of a file's name; beyond, systems begin to refuse
_OURS = b"Software\0" + preview.SOFTWARE.encode()


def file_names(ids: Sequence[str]) -> list[str]:
    """Return a file name for each id, no two alike, not even where a file system ignores case.

    An id of ASCII letters, digits, ``.``, ``_`` and ``-`` is kept. In any other one each other character becomes ``_``,
    and ``~`` with 16 digits of the id's sha256 is added; so it is to long ids, to hidden ones, and to those that differ
    in case alone.
    """
    alike = Counter(key.casefold() for key in ids)
    return [_file_name(key, alone=alike[key.casefold()] == 1) for key in ids]


def check(folder: str, ids: Sequence[str]) -> None:
    """Refuse a folder that the pictures cannot be written to, before any work is done.

    Raises
    ------
    UsageError
        If it has no name.
    CbirError
        If it is a file, cannot be made or written, or holds other files under the names of the pictures.
    """
    if not folder:
        raise UsageError("--preview: expected the name of a folder, found nothing")
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise CbirError(f"{folder}: is a file, not a folder")
    parent = next(p for p in (place, *place.absolute().parents) if p.exists())
    if not parent.is_dir():
        raise CbirError(f"{folder}: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise CbirError(f"{folder}: the folder {parent} cannot be written")
    if place.exists():
        for name in file_names(ids):
            _refuse_others(place / name)


def write_previews(
    folder: str,
    records: Sequence[Record],
    load: Callable[[Record], np.ndarray],
    maps: np.ndarray,
    scale: np.ndarray,
    *,
    method: str,
) -> int:
    """Write one picture an image: the image, and beside it the image under its map.

    Parameters
    ----------
    folder : str
        Made if it does not exist. Pictures of an earlier run are replaced, each in one step; other files are not.
    records : sequence of Record
        N images.
    load : callable
        Record to pixels (H, W) or (H, W, 3), float in [0, 1]; for instance ``InputSpec.load``.
    maps : ndarray (N, S, S) or (N, 3, S, S), float16
        As the saliency artifact holds them: each divided by its largest magnitude.
    scale : ndarray (N,), float32
        That magnitude. The colour bars are in units of ``maps * scale``.
    method : str
        Said in the caption, before the id.

    Returns
    -------
    int
        How many were written. An image that cannot be read again is named in a warning and left out.

    Raises
    ------
    CbirError
        As ``check``, or if a picture cannot be written.
    """
    ids = [record.id for record in records]
    check(folder, ids)
    place, written = Path(folder), 0
    # One run, one set of colours: a map that happens to have no negative value is drawn as its neighbours are.
    signed = any(bool((summed(one) < 0).any()) for one in maps)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CbirError(f"{folder}: {error.strerror}") from error
    for record, name, one, size in zip(
        track(records, len(records), "preview"), file_names(ids), maps, scale, strict=True
    ):
        try:
            pixels = np.rint(grey(load(record)) * 255).astype(np.uint8)
        except ImageError as error:
            log.warning("no preview of %s: %s", record.id, error)
            continue
        caption = f"{method}   {record.id}"
        _replace(place / name, preview.preview(pixels, summed(one) * size, caption=caption, signed=signed))
        written += 1
    log.info("%d previews are in %s", written, place.name)
    return written


def _file_name(key: str, *, alone: bool) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", key)
    if plain != key or not alone or len(key) > _LONGEST or key.startswith((".", "-")) or not key:
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        plain = f"{plain[:_LONGEST].lstrip('.-')}~{digest}"  # no id that is kept has a ~
    return f"{plain}.png"


def _refuse_others(path: Path) -> None:
    """Refuse to replace a file that is not a picture of ours: the folder may be that of the images."""
    try:
        with path.open("rb") as file:
            if _OURS in file.read(1024):
                return
    except FileNotFoundError:
        return
    except OSError as error:
        raise CbirError(f"{path}: {error.strerror}") from error
    raise CbirError(f"{path}: is there already and no preview; choose another folder")


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".cbir-{os.getpid()}-{path.name}.tmp")  # shards may share a folder
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        raise CbirError(f"{path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
