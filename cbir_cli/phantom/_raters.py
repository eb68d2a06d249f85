"""Readers who rank a catalogue by similarity to a query: the truth, and people who see it less than exactly."""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import SourceError, UsageError
from cbir_cli.phantom._layouts import NIH, OBSERVATIONS

DISAGREEMENT = 0.5
"""What it costs to differ in whether there is an effusion at all: half of the range of one side's severity."""

UNSEEN = 0.1
"""A reader who perceives less than this on a side reports no fluid there."""


LEVELS = (0.0, 1 / 3, 2 / 3)
"""Above the first it is mild, above the second moderate, above the third severe."""

_TABLES = {"Data_Entry_2017*.csv": NIH, "train.csv": OBSERVATIONS, "*chexpert.csv*": OBSERVATIONS}
"""Files that tell a set's layout, and what findings are called there."""


class Rank(NamedTuple):
    """One row of a rank table: ``rank`` 1 is the most similar; severities are 0 to 3, labels ``name=code`` or empty."""

    query: str
    rater: str
    rank: int
    id: str
    seed: str
    set: str
    query_severity: int
    severity: int
    query_labels: str
    labels: str


def rank(directory: Path, split: Path | TextIO, *, raters: int = 3, seed: int = 1) -> Iterator[Rank]:
    """Rank each query's catalogue as readers would.

    The dissimilarity of two images is the difference of their severities, summed over the right and the left side, plus
    ``DISAGREEMENT`` where one has an effusion and the other has none. Rater ``R1`` knows the severities. The others
    perceive each image once, with an error that grows with the amount of fluid, a habit of their own of over- or
    understating, and blindness below ``UNSEEN``. Equal dissimilarities are ordered by id. As a reader perceives the
    worse side, so he grades and labels the image; labels are given where the set has one finding.

    Parameters
    ----------
    directory : Path
        A phantom set; its ``severity.csv`` is read.
    split : Path or text file
        Tab-separated ``seed set role id`` with a header; roles other than ``query`` and ``catalogue`` are passed over.
        An id is an image's name, or a path to it, with or without its ending.
    raters : int
        How many, R1 included.
    seed : int
        Of the readers' errors.

    Yields
    ------
    Rank
        By split seed and set as they come, then query, rater, rank. Ids stand as in the split table.

    Raises
    ------
    SourceError
        If a table is missing, lacks a column, or names an image that the set does not have.
    UsageError
        If ``raters`` is less than one.
    """
    if raters < 1:
        raise UsageError(f"expected at least 1 rater, found {raters}")
    images, truth, kinds = _severities(directory / "severity.csv")
    label = _label(directory, kinds)
    views = [truth, *(_perceive(truth, np.random.default_rng([seed, r])) for r in range(2, raters + 1))]
    for (split_seed, name), roles in _groups(split).items():
        catalogue = sorted(roles["catalogue"])
        columns = [_find(images, i) for i in catalogue]
        for query in roles["query"]:
            row = _find(images, query)
            for number, seen in enumerate(views, 1):
                order = np.argsort(dissimilarity(seen[row], seen[columns]), kind="stable")
                asked, levels = level(seen[row]), level(seen[columns])
                for place, c in enumerate(order, 1):
                    found = int(levels[c])
                    said = [f"{label}={int(grade > 0)}" if label else "" for grade in (asked, found)]
                    yield Rank(query, f"R{number}", place, catalogue[c], split_seed, name, int(asked), found, *said)


def dissimilarity(query: NDArray[np.float64], catalogue: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how unlike a query's severities (2,) are those of a catalogue (N, 2); (N,), rounded to 1e-6."""
    differs = (query > 0).any() != (catalogue > 0).any(axis=1)
    # Rounded, so that sums that are equal on paper are ties.
    return np.round(np.abs(catalogue - query).sum(axis=1) + DISAGREEMENT * differs, 6)


def level(severities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return 0 (none) to 3 (severe) for severities (..., 2) of both sides: that of the worse one."""
    return (severities.max(axis=-1)[..., None] > LEVELS).sum(axis=-1)


def _perceive(truth: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return severities as one reader sees them; Kendall's tau to the truth is 0.7 to 0.9."""
    habit, blur = np.exp(rng.normal(0, 0.15)), rng.uniform(0.25, 0.35)
    seen = truth * habit + (0.15 + truth) * blur * rng.standard_normal(truth.shape)
    return np.where(seen < UNSEEN, 0.0, np.minimum(seen, 1.0))


def _label(directory: Path, kinds: Sequence[str]) -> str:
    """Return what the data set calls its finding; empty if it has several, or another layout."""
    called = next((names for pattern, names in _TABLES.items() if list(directory.glob(pattern))), {})
    return called[kinds[0]][-1] if len(kinds) == 1 and kinds[0] in called else ""


def _severities(path: Path) -> tuple[dict[str, int], NDArray[np.float64], list[str]]:
    """Return image stem -> row, (right, left) severities (N, 2), and the findings of the set."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
            values = [[float(r["severity_right"]), float(r["severity_left"])] for r in rows]
            names = [r["Image Index"] for r in rows]
            # Where names repeat from folder to folder, only paths tell images apart.
            stems = Counter(Path(name).stem for name in names)
            found = {Path(name).stem: i for i, name in enumerate(names) if stems[Path(name).stem] == 1}
            found |= {os.path.splitext(name)[0]: i for i, name in enumerate(names)}
            kinds = [kind for kind in NIH if rows and f"mask_{kind}" in rows[0]] or ["effusion"]
            return found, np.array(values).reshape(-1, 2), kinds
    except OSError as error:
        raise SourceError(f"{path}: expected the severities of a phantom set: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{path}: expected Image Index, severity_right, severity_left in each row") from error


def _groups(split: Path | TextIO) -> dict[tuple[str, str], dict[str, list[str]]]:
    if isinstance(split, Path):
        try:
            with split.open(encoding="utf-8", newline="") as file:
                return _groups(file)
        except OSError as error:
            raise SourceError(f"{split}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SourceError(f"{split}: expected a split table, found data that is not UTF-8 text") from error
    reader = csv.DictReader(split, delimiter="\t")
    missing = {"seed", "set", "role", "id"} - set(reader.fieldnames or ())
    if missing:
        raise SourceError(f"{getattr(split, 'name', 'split table')}: lacks the column {', '.join(sorted(missing))}")
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in reader:
        roles = groups.setdefault((row["seed"], row["set"]), {"query": [], "catalogue": []})
        if row["role"] in roles:
            roles[row["role"]].append(row["id"])
    return groups


def _find(images: dict[str, int], name: str) -> int:
    whole = os.path.splitext(name)[0]
    known = next((images[n] for n in (name, whole, Path(name).stem, Path(name).name) if n in images), None)
    if known is None:
        raise SourceError(f"{name}: not an image of this phantom set")
    return known
