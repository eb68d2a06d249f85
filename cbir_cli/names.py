"""Which names of files and folders may be written, and what stands for the others.

A name is a component of a path: a folder's or the file's. It is written as it is, or it is hidden as a whole: a keyed
stand-in of it without its ending, and the ending if that is a usual one. The stand-in follows from the name and the key
alone, wherever the name stands; so whoever has the key finds the file again by hiding the names that he sees. A name
that is an identifier has the same stand-in as that identifier.

Hidden is, in a DICOM path, every name: exports call folders and files by patients, dates and UIDs. In any other path of
private images, a name that holds the identifier of its patient or study, or that looks as if it held one.
"""

import os
import posixpath
import re
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

Hide = Callable[[str], str]
"""An identifier to its stand-in."""

ENDINGS = (
    ".bmp .csv .dcm .dic .dicom .gif .gz .hdr .htm .html .ima .img .jpe .jpeg .jpg .json .md .mhd .nii .npy .npz .nrrd "
    ".pdf .png .raw .tar .tif .tiff .tsv .txt .xls .xlsx .xml .zip"
).split()
"""Endings that tell what a file is and nothing else."""

_HASH = re.compile(r"(?<![0-9A-Za-z.])[0-9a-f]{16,}(?![0-9A-Za-z])")
_DERIVED = re.compile(r"(?<![0-9.])2\.25\.(\d{30,39})(?![0-9.])")
_LOOKS = {
    "absolute path": re.compile(r"(?<![\w.~/\\)\]-])(?:/[^/\s\"']+){2,}|(?<![A-Za-z])[A-Za-z]:\\\S|\\\\\w+\\\w"),
    "UID": re.compile(r"(?<![\d.])[012](?:\.(?:0|[1-9]\d*)){4,}"),
    "person name": re.compile(r"[^\W\d]\^|\^[^\W\d]"),
    "e-mail": re.compile(r"[\w.+-]+@[\w-]+\.\w"),
    "date": re.compile(r"(?<!\d)(?<!\d\.)(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)"),
}


def is_uid(text: str) -> bool:
    """Whether a text is a UID: numbers without leading zeros between dots, at least three of them, 64 characters."""
    return len(text) <= 64 and re.fullmatch(r"[012](\.(0|[1-9]\d*)){2,}", text) is not None


def uid_of(digest: bytes) -> str:
    """Return the UID below ``2.25.`` of 16 bytes, as PS3.5 B.2 derives one from a UUID; the UUID is of version 8.

    Parameters
    ----------
    digest : bytes
        At least 16.
    """
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) | 8 << 76  # the version, "custom" in RFC 9562
    value = value & ~(0x3 << 62) | 2 << 62  # the variant
    return f"2.25.{value}"


def looks_like(text: str) -> list[str]:
    """Return what a text holds that looks like an identifier: a path, UID, person name, e-mail or date.

    Stand-ins and hashes do not count.
    """
    text = _HASH.sub("", text)
    found = [kind for kind, pattern in _LOOKS.items() if pattern.search(text)]
    for number in _DERIVED.findall(text):
        if int(number) >= 2**128 or uuid.UUID(int=int(number)).version != 8:
            found.append("UID")
    return list(dict.fromkeys(found))


def holds(name: str, identifiers: Iterable[str]) -> bool:
    """Whether a name holds an identifier, whatever the case, the separators and the zeros before it.

    One of fewer than four characters has to stand apart from other letters or other digits.
    """
    plain = _plain(name)
    for identifier in identifiers:
        for piece in identifier.split("/"):
            sought = _plain(piece).lstrip("0")
            if len(sought) >= 4 and sought in plain:
                return True
            if sought and re.search(rf"{_edge(sought[0])}0*{re.escape(sought)}{_edge(sought[-1], after=True)}", plain):
                return True
    return False


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "_", text.casefold()).strip("_")


def _edge(character: str, *, after: bool = False) -> str:
    kind = r"\d" if character.isdigit() else r"[^\W\d_]"
    return f"(?!{kind})" if after else f"(?<!{kind})"


def hidden(path: str, hide: Hide) -> str:
    """Return a path with every name hidden."""
    return "/".join(hidden_name(name, hide) for name in path.split("/"))


def hidden_name(name: str, hide: Hide) -> str:
    """Return what stands for one name."""
    if name in ("", ".", ".."):
        return name
    stem, ending = cut(name)
    return hide(stem) + ending


def cut(name: str) -> tuple[str, str]:
    """Return a name and its ending, which is empty unless it is a usual one."""
    stem, ending = os.path.splitext(name)
    if ending.lower() == ".gz" and os.path.splitext(stem)[1].lower() in ENDINGS:
        stem = os.path.splitext(stem)[0]  # .nii.gz, .csv.gz
    elif ending.lower() not in ENDINGS:
        return name, ""
    return stem, name[len(stem) :]


def shown(path: str, hide: Hide, identifiers: Iterable[str] = ()) -> str:
    """Return a path with those names hidden that hold an identifier or look as if they did."""
    identifiers = [i for i in identifiers if i]
    return "/".join(
        hidden_name(name, hide) if looks_like(name) or holds(name, identifiers) else name for name in path.split("/")
    )


def shown_id(key: str, old: str, new: str, hide: Hide, identifiers: Iterable[str] = (), *, every: bool = False) -> str:
    """Return an id whose names are hidden as those of its path are.

    Parameters
    ----------
    key : str
        The id: the path, without its ending or with it, and a number; or the path's first folders and what a reader
        counts below them; or what the user calls the image.
    old, new : str
        The path, and what is written of it.
    hide : Hide
    identifiers : iterable of str
    every : bool
        The path is that of a DICOM file.
    """
    stem = os.path.splitext(old)[0]
    for own, written in ((old, new), (stem, posixpath.join(posixpath.dirname(new), cut(posixpath.basename(new))[0]))):
        if key == own or key.startswith((own + "/", own + "#")):
            return written + key[len(own) :]
    parts, olds, news = key.split("/"), old.split("/"), new.split("/")
    same = 0
    while same < min(len(parts), len(olds)) - 1 and parts[same] == olds[same]:
        same += 1
    own = "/".join(parts[same:])
    if not every:
        return "/".join([*news[:same], shown(own, hide, identifiers)])
    counted = re.compile(r"(series-\d{1,5}(-\d{1,5})?|\d{1,9})(#\d+)?")
    return "/".join([*news[:same], *(p if counted.fullmatch(p) else hidden_name(p, hide) for p in parts[same:])])


class Finder:
    """Finds files below a folder whose names may be hidden.

    Parameters
    ----------
    hide : Hide
        With the key that the names were hidden with.
    """

    def __init__(self, hide: Hide) -> None:
        self._hide = hide
        self._listed: dict[Path, dict[str, str]] = {}

    def __call__(self, folder: Path, path: str) -> Path | None:
        """Return the file or folder that a path below a folder stands for, or None where there is none."""
        plain = folder / path
        if plain.exists():
            return plain
        for name in path.split("/"):
            if (folder / name).exists():
                folder = folder / name
            elif name in (there := self._names(folder)):
                folder = folder / there[name]
            else:
                return None
        return folder

    def _names(self, folder: Path) -> dict[str, str]:
        if folder not in self._listed:
            try:
                entries = sorted(entry.name for entry in os.scandir(folder))
                self._listed[folder] = {hidden_name(name, self._hide): name for name in entries if name.isprintable()}
            except (OSError, UnicodeEncodeError):
                self._listed[folder] = {}
        return self._listed[folder]
