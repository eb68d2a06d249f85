"""What the readers share about files: which are images, what they are called, whose they are."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cbir_cli import names
from cbir_cli.errors import SourceError, UsageError
from cbir_cli.records import Flow

NOT_TEXT = "file name is not UTF-8"
ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp")

# Whose image it is, from names that carry it. Each looks at whole name parts, wherever the file lies.
# - CheXpert-like folders: patient00001/study1/view1_frontal.jpg.
# - NIH ChestX-ray14: 00000061_012.png is patient 61, as its table says.
# - Kermany's chest set as it is mostly spread: person12_virus_3.jpeg and person12_bacteria_4.jpeg; IM-0115-0001.jpeg
#   and NORMAL2-IM-0115-0001-0002.jpeg. It is nowhere said that person12 is one child under both diseases, nor that
#   IM-0115 and NORMAL2-IM-0115 are one: they are grouped all the same. Taking two patients for one costs a few
#   candidates; taking one for two finds a patient for himself and lets him into training and test.
# - The same set in its published archive: NORMAL-28501-0001.jpeg, BACTERIA-227418-0001.jpeg.
PATIENTS = (
    re.compile(r"(?:^|/)(?P<study>(?P<patient>patient\d+)/study\d+)/"),
    re.compile(r"(?:^|/)(?P<patient>patient\d+)/"),
    re.compile(r"(?:^|/)000(?=\d{5}_)0*(?P<patient>\d+)_\d{3}\.png$"),
    re.compile(r"(?:^|/)(?P<patient>person\d+)_(?:bacteria|virus)_[^/]*$"),
    re.compile(r"(?:^|/)(?:NORMAL\d*-)?(?P<patient>IM-\d+)-[^/]*$"),
    re.compile(r"(?:^|/)(?:NORMAL|BACTERIA|VIRUS)-(?P<patient>\d+)-[^/]*$"),
)


def ending(name: str) -> str:
    """Return a file name's ending in lower case, with ``.nii.gz`` as one; "no ending" where there is none."""
    lower = name.lower()
    return ".nii.gz" if lower.endswith(".nii.gz") else os.path.splitext(lower)[1] or "no ending"


def usual_ending(name: str) -> str:
    """Return a file's ending to count it by; what follows a dot in a name may tell a patient."""
    found = ending(name)
    return found if found in ("no ending", ".nii.gz") or found in names.ENDINGS else "another ending"


def walk(folder: Path, shown: Callable[[str], str] = str, above: str = "") -> Iterator[os.DirEntry[str]]:
    """Entries below a folder that are not folders, in the order of their names; hidden ones are passed over.

    ``shown`` says what may be told of a folder's path below the first, which is ``above``.

    Raises
    ------
    SourceError
        If a folder cannot be listed: an unknown number of images would be missing without a word.
    """
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(f"{shown(above) if above else folder}: {error.strerror}") from error
    for entry in listed:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path), shown, f"{above}/{entry.name}" if above else entry.name)
        else:
            yield entry


def images_below(root: Path, flow: Flow) -> list[str]:
    """Paths of the images below a folder, relative to it with forward slashes, sorted.

    Symbolic links to files are read; those to folders are not followed, because they may lead in a circle or give an
    image two names. What is left alone is counted in ``flow.notes``.
    """
    found: list[str] = []
    missing: list[str] = []
    others: Counter[str] = Counter()
    for entry in walk(root, flow.shown):
        relative = Path(entry.path).relative_to(root).as_posix()
        if entry.is_dir():
            others["linked folder"] += 1
        elif ending(entry.name) not in ENDINGS:
            others[usual_ending(entry.name)] += 1
        elif not entry.is_file():
            missing.append(flow.shown(relative))  # a link to nothing
        elif is_text(relative):
            found.append(relative)
        else:
            flow.read += 1
            flow.drop(NOT_TEXT)
    flow.read += len(found) + len(missing)
    drop_missing(flow, missing)
    if others:
        flow.notes.append("not images: " + counted(others))
    return sorted(found)


def images_by_name(root: Path, folders: Iterable[str]) -> dict[str, str]:
    """Path below a root by the name of each image in some of its folders; of two with one name the first.

    One listing is quicker than asking for each of 100,000 files. A folder that is not there is passed over; all folders
    are searched with what is below them but the root itself, given as ``.``, which is listed alone.
    """
    found: dict[str, str] = {}
    for folder in folders:
        if folder == ".":
            for file in sorted(root.iterdir()):
                if not file.name.startswith(".") and ending(file.name) in ENDINGS and file.is_file():
                    found.setdefault(file.name, file.name)
        elif (root / folder).is_dir():
            for entry in walk(root / folder):
                if ending(entry.name) in ENDINGS and entry.is_file() and is_text(entry.name):
                    found.setdefault(entry.name, Path(entry.path).relative_to(root).as_posix())
    return found


def is_text(name: str) -> bool:
    """Whether a file's name can be written as UTF-8: an artifact or a table could not hold it otherwise."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def counted(counts: Counter[str]) -> str:
    """Return counts as ``.dcm 3, .txt 1``, the most frequent first."""
    return ", ".join(
        f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def drop_missing(flow: Flow, names: list[str]) -> None:
    """Count files that are named but not there, and note the first five."""
    if names:
        flow.drop("missing file", len(names))
        flow.notes.append(f"missing file: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}")


def ids(relatives: Iterable[str]) -> list[str]:
    """Return a unique name for each path: without its ending, or with it where two files differ in nothing else."""
    relatives = list(relatives)
    # A number after a dot is no ending: 1.2.840.7 and IM.0001 are whole names.
    stems = [r if os.path.splitext(r)[1][1:].isdecimal() else os.path.splitext(r)[0] for r in relatives]
    count, taken = Counter(stems), set(relatives)
    return [
        stem if count[stem] == 1 and stem not in taken else relative
        for stem, relative in zip(stems, relatives, strict=True)
    ]


class Patients:
    """Patient and study from a path, by the user's pattern or by the built-in ones.

    Parameters
    ----------
    pattern : str, optional
        Regular expression searched for in the relative path; its group ``patient``, else its first group, is the
        patient.

    Raises
    ------
    UsageError
        If the pattern is not a regular expression or has no group.
    """

    def __init__(self, pattern: str | None) -> None:
        self.pattern = pattern
        self.unknown = self.known = 0
        self._expressions: tuple[re.Pattern[str], ...] = PATIENTS
        if pattern is not None:
            try:
                expression = re.compile(pattern)
            except re.error as error:
                raise UsageError(f"patient pattern {pattern!r}: {error}") from error
            if not expression.groups:
                raise UsageError(f"patient pattern {pattern!r}: has no group, such as (?P<patient>\\d+)")
            self._expressions = (expression,)

    def __call__(self, path: str) -> tuple[str, str]:
        """Return patient and study of a path; empty where no pattern fits."""
        for expression in self._expressions:
            if match := expression.search(path):
                groups = match.groupdict()
                if patient := groups.get("patient", match[1]):
                    self.known += 1
                    return patient, groups.get("study") or ""
        self.unknown += 1
        return "", ""

    def report(self, flow: Flow) -> None:
        """Note how many images have no patient.

        Raises
        ------
        SourceError
            If the user's pattern fits no image at all: it was meant to keep patients apart.
        """
        if self.pattern is not None and self.unknown and not self.known:
            raise SourceError(f"patient pattern {self.pattern!r} fits none of {self.unknown:,} images")
        if self.unknown:
            flow.notes.append(f"patient not known: {self.unknown:,} of {self.unknown + self.known:,} images")
