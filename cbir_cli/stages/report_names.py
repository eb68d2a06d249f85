"""What a page calls things of several files: names that tell them apart and show no folder."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cbir_cli.artifacts import files

_METHODS = {"ssim": "SSIM", "cnn": "CNN", "cnn(ig)": "CNN(IG)", "ig": "IG"}


def distinct(names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Return names, with the file's where several are alike, and a number where that is no help.

    Parameters
    ----------
    names : sequence of str
    paths : sequence of str
        The file of each.
    """
    count = Counter(names)
    told = [
        name if count[name] == 1 else f"{name} ({Path(path).stem})"
        for name, path in zip(names, map(last_name, paths), strict=True)
    ]
    return [name if told.count(name) == 1 else f"{name[:-1]}, {i})" for i, name in enumerate(told, 1)]


def last_name(path: str) -> str:
    """Return a file's name without its folder."""
    return "standard input" if path == files.STDIO else Path(path).name


def network(encoder: str) -> str:
    """Return the name of a way to compare images as the papers have it."""
    return _METHODS.get(encoder, encoder)
