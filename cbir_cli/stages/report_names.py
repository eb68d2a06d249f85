"""What a page calls things of several files: names that tell them apart and show no folder."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cbir_cli.artifacts import files, history
from cbir_cli.scores import RATER

_METHODS = {"ssim": "SSIM", "cnn": "CNN", "att": "ATT", "cnn(ig)": "CNN(IG)", "ig": "IG"}


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


def place(name: str) -> tuple[bool, list[tuple[int, str]]]:
    """Return what to sort methods by: files as they came, then raters by name, R2 before R10."""
    rater = name.startswith(RATER)
    parts = re.findall(r"\d+|\D+", name) if rater else []
    return rater, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def of_files(names: Sequence[str]) -> dict[str, str]:
    """Return what the page calls files: by their last names if those differ; raters keep theirs."""
    every = [name for name in dict.fromkeys(names) if not name.startswith(RATER)]
    stems = [Path(name).stem for name in every]
    told = stems if len(set(stems)) == len(stems) else history.public_paths(every)
    return {**{name: name for name in names}, **dict(zip(every, told, strict=True))}
