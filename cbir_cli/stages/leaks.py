"""What leaks between the sets of a split, or from a network's training: the check behind several commands.

A command refuses to go on where something certain leaks, with the count; ``--allow-leaks`` makes it a warning. Images
that only look alike are said and never refused.
"""

import itertools
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cbir_cli import leaks, phash, reading
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.model import Model
from cbir_cli.artifacts.pseudonyms import Pseudonyms
from cbir_cli.errors import ArtifactError, CbirError
from cbir_cli.images import InputSpec
from cbir_cli.leaks import Leak, Side
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.records import Record
from cbir_cli.splits import SplitRow

log = logging.getLogger("cbir")

SEEN = ("train", "validation")
"""Sets of a network's training: those whose patients it has learnt from or was selected on."""

_PAIRS: tuple[tuple[str, str], ...] = (
    ("train", "validation"),
    ("train", "test"),
    ("validation", "test"),
    ("catalogue", "query"),
)
_JUDGED = ("validation", "test", "query", "catalogue")
COLUMNS = ("seed", "set", "kind", "first", "second", "images", "of", "patients", "example")


@dataclass(frozen=True)
class Known:
    """What is known of images: patient, content hash and perceptual hash of each id, empty where unknown."""

    patients: Mapping[str, str]
    contents: Mapping[str, str]
    hashes: Mapping[str, str]

    def side(self, name: str, ids: Sequence[str]) -> Side:
        """Return a set of images.

        Raises
        ------
        ArtifactError
            If one of them is not known.
        """
        if unknown := [key for key in ids if key not in self.patients]:
            raise ArtifactError(
                f"split table: {unknown[0]!r} is not among the {len(self.patients)} images of the source"
            )
        columns = [[of.get(key, "") for key in ids] for of in (self.patients, self.contents, self.hashes)]
        return Side(name, ids, columns[0], columns[1], phash.parse(columns[2]))


class Noting:
    """Loads images as ``InputSpec`` does, and notes the content hash and the perceptual hash of each by its id.

    Called from several threads at once.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self.contents: dict[str, str] = {}
        self.hashes: dict[str, str] = {}

    def load(self, record: Record) -> np.ndarray:
        """Return the pixels of a record.

        Raises
        ------
        ImageError
            If it cannot be decoded.
        """
        pixels = self._spec.load(record)
        self.contents[record.id] = reading.content_of(record)
        self.hashes[record.id] = phash.of(pixels)
        return pixels


def of_items(table: Items) -> Known:
    """Return what an item table knows; tables of older versions have no perceptual hash."""
    names = ("patient", "content", "phash")
    ids = table.ids.tolist()
    columns = [dict(zip(ids, table[name].tolist(), strict=True)) if name in table else {} for name in names]
    return Known(*columns)


def of_records(records: Sequence[Record], hide: Pseudonyms) -> Known:
    """Return whom the images of records show, without reading them."""
    return Known({record.id: hide(record.patient) for record in records}, {}, {})


def read(records: Sequence[Record], hide: Pseudonyms, *, workers: int) -> Known:
    """Read every image of some records, and return what is known then; one that cannot be read is named and counted."""
    noting = Noting(InputSpec())
    reading.readable(records, noting.load, workers=workers)
    return replace(of_records(records, hide), contents=noting.contents, hashes=noting.hashes)


def of_split(rows: Iterable[SplitRow], known: Known) -> list[Leak]:
    """Find what leaks between the sets of a split table: from training to held-out sets, from catalogues to queries.

    Parameters
    ----------
    rows : iterable of SplitRow
    known : Known
        Has to know every image of the table.

    Returns
    -------
    list of Leak
        By seed and set.

    Raises
    ------
    ArtifactError
        If it does not.
    """
    found = []
    for (seed, number), roles in _sets(rows).items():
        sides = {role: known.side(role, ids) for role, ids in roles.items()}
        for first, second in _PAIRS:
            if first in sides and second in sides:
                found += [replace(leak, seed=seed, set=number) for leak in leaks.compare(sides[first], sides[second])]
    return found


def of_roles(records: Sequence[Record], roles: Sequence[str], noting: Noting, hide: Pseudonyms) -> list[Leak]:
    """Find what leaks between training, validation and test images that ``noting`` has loaded."""
    known = replace(of_records(records, hide), contents=noting.contents, hashes=noting.hashes)
    found = []
    for first, second in _PAIRS[:3]:
        sides = [
            known.side(role, [r.id for r, its in zip(records, roles, strict=True) if its == role])
            for role in (first, second)
        ]
        found += leaks.compare(*sides)
    return found


def of_model(rows: Iterable[SplitRow], known: Known, model: Model, check: str) -> list[Leak]:
    """Find the images of a split table whose patients a network was trained or selected on.

    Parameters
    ----------
    rows : iterable of SplitRow
    known : Known
    model : Model
    check : str
        Which key the patients of ``known`` were hidden with.

    Returns
    -------
    list of Leak
        For the held-out sets, the queries and the catalogues.

    Raises
    ------
    ArtifactError
        If the network's patients were hidden with another key.
    """
    if model.split and model.pseudonyms != check:
        raise ArtifactError(
            f"{model.name}: its patients were hidden with another key (or --keep-ids differs), so they cannot be "
            "compared; use the same CBIR_KEY"
        )
    found = []
    for (seed, number), roles in _sets(rows).items():
        for role in _JUDGED:
            if role in roles:
                side = known.side(role, roles[role])
                leak = seen(
                    side, [model.split.get(who or key, "") for key, who in _people(side)], Path(model.name).name
                )
                found += [replace(leak, seed=seed, set=number)] if leak else []
    return found


def seen(side: Side, sets: Sequence[str], model: str) -> Leak | None:
    """Return the leak from a network's training to some images, if there is one.

    Parameters
    ----------
    side : Side
    sets : sequence of str, (N,)
        The network's set of each image's patient.
    model : str
        Its name.
    """
    places = [i for i, name in enumerate(sets) if name in SEEN]
    if not places:
        return None
    owners = side.owners
    people = len({owners[i] for i in places})
    return Leak("patient", _training(model), side.name, len(places), people, len(sets), side.ids[places[0]])


def of_catalogue(table: Items, model: str, *, allow: bool) -> None:
    """Refuse a catalogue in which the same image has two patients, and say how many images a network was trained on.

    Parameters
    ----------
    table : Items
    model : str
        Name of the network.
    allow : bool
        Warn instead.

    Raises
    ------
    CbirError
        With the count and the way out.
    """
    ids, patients, contents = (column.tolist() for column in (table.ids, table["patient"], table["content"]))
    if count := leaks.identities(patients, contents):
        found = f"{count} images have a copy under another patient's name"
        if not allow:
            raise CbirError(f"leak: {found} and would be found for him (--allow-leaks goes on all the same)")
        log.warning("leak: %s", found)
    side = Side("catalogue", ids, patients, contents, np.zeros(len(ids), dtype=np.uint64))
    if leak := seen(side, table["seen"].tolist(), Path(model).name):
        log.info("%s", leak)


def of_run(lists: RankedLists, patients: Mapping[str, str], sets: Mapping[str, str]) -> list[Leak]:
    """Find the queries of a run that a network was trained on, and the results that show the query's own patient.

    Parameters
    ----------
    lists : RankedLists
    patients, sets : mapping of str to str
        Patient of each image, and the network's set of him, as far as known.
    """
    asked = list(dict.fromkeys(lists.queries))
    nothing = [""] * len(asked)
    side = Side("query", asked, [patients.get(key, "") for key in asked], nothing, phash.parse(nothing))
    leak = seen(side, [sets.get(key, "") for key in asked], "the network")
    found = [leak] if leak else []
    owner = {key: f"patient {who}" for key, who in patients.items() if who}
    numbers: dict[str, int] = {}
    for name in (*lists.names, *asked):
        numbers.setdefault(owner.get(name, name), len(numbers))
    of = {name: numbers[owner.get(name, name)] for name in (*lists.names, *asked)}
    queries, results = lists.of_names(of, -1)
    own = np.flatnonzero(queries[lists.owners] == results)
    if len(own):
        people = len(np.unique(results[own]))
        first = lists.names[lists.results[own[0]]]
        of_all = len(lists.results)
        found.append(Leak("patient", "the query that they answer", "result", len(own), people, of_all, first))
    return found


def guard(found: Iterable[Leak], *, allow: bool) -> None:
    """Refuse what leaks for certain, unless it is allowed; what only looks alike is said.

    That a network was trained on patients of a catalogue is said too: a search among the training images may be wanted.

    Raises
    ------
    CbirError
        With the counts and the way out.
    """
    said: list[Leak] = []
    refused: list[Leak] = []
    for leak in found:
        stops = leak.certain and not (leak.second == "catalogue" and leak.first.startswith(_training("")))
        (refused if stops else said).append(leak)
    for line in _summary(said):
        log.warning("%s", line)
    if refused and not allow:
        raise CbirError(f"leak: {'; '.join(_summary(refused))} (--allow-leaks goes on all the same)")
    for line in _summary(refused):
        log.warning("leak: %s", line)


def tsv(found: Iterable[Leak]) -> Iterator[str]:
    """Write leaks as a table, line by line; without any it is the header alone."""
    yield "\t".join(COLUMNS) + "\n"
    for x in found:
        place = ["" if number is None else str(number) for number in (x.seed, x.set)]
        yield (
            "\t".join([*place, x.kind, x.first, x.second, *map(str, (x.images, x.size, x.patients)), x.example]) + "\n"
        )


def _summary(found: Sequence[Leak]) -> list[str]:
    """Return a line for each kind of leak: the first, and in how many other sets there is one too."""
    lines = []
    groups = itertools.groupby(sorted(found, key=_kind), key=_kind)
    for _, several in groups:
        first, *others = several
        where = "" if first.set is None else f" (seed {first.seed}, set {first.set}"
        more = f"; {len(others)} other sets too" if others else ""
        lines.append(f"{first}{where}{more}{')' if where else ''}, such as {first.example!r}")
    return lines


def _training(model: str) -> str:
    return f"the training of {model}"


def _kind(leak: Leak) -> tuple[int, str, str]:
    return leaks.KINDS.index(leak.kind), leak.first, leak.second


def _people(side: Side) -> Iterator[tuple[str, str]]:
    return zip(side.ids, side.patients, strict=True)


def _sets(rows: Iterable[SplitRow]) -> dict[tuple[int, int], dict[str, list[str]]]:
    sets: dict[tuple[int, int], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        sets[row.seed, row.set][row.role].append(row.id)
    return sets
