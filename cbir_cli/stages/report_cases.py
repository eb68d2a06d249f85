"""From explanation artifacts to queries with their results: the part of ``cbir report`` that shows what was found.

Artifacts of the same pairs, which say in several ways why the same results were found, are one row with a switch;
artifacts of other pairs are rows of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cbir_cli import classes
from cbir_cli.artifacts import files
from cbir_cli.artifacts.explanation import ON_QUERY, ON_RESULT, Explanation
from cbir_cli.artifacts.run import Key
from cbir_cli.errors import UsageError
from cbir_cli.records import UNCERTAIN
from cbir_cli.reports import gallery
from cbir_cli.reports.look import Look
from cbir_cli.stages import report_names
from cbir_cli.stages.report_looks import Looks

NONE = "none"
"""The method of an artifact that holds images alone."""

_Place = tuple[Key, str]  # a pair: its query, and the id of its result


@dataclass(frozen=True)
class Explained:
    """One artifact.

    Attributes
    ----------
    file : str
        As it was given.
    name : str
        Of its method, unlike that of any other artifact of the same pairs.
    artifact : Explanation
    looks : Looks
    pairs : mapping
        The row of each pair, in the order of the artifact.
    """

    file: str
    name: str
    artifact: Explanation
    looks: Looks
    pairs: Mapping[_Place, int]


@dataclass(frozen=True)
class Row:
    """Artifacts of the same pairs.

    Attributes
    ----------
    title : str
        How the results were found, unlike any other row's.
    explained : sequence of Explained
        In the order given; the first one's images are shown.
    """

    title: str
    explained: Sequence[Explained]

    @property
    def first(self) -> Explained:
        """The artifact that images, ranks and distances are taken from."""
        return self.explained[0]


def rows_of(made: Sequence[tuple[str, Explanation]]) -> list[Row]:
    """Put artifacts of the same pairs together.

    Parameters
    ----------
    made : sequence of (str, Explanation)
        File and content, in the order given.

    Returns
    -------
    list of Row
        Artifacts share a row if index, network and all pairs with their ranks are the same.
    """
    together: dict[tuple[str, str, frozenset[tuple[_Place, int]]], list[tuple[str, Explanation]]] = {}
    for file, one in made:
        pairs = frozenset((place, int(one.rank[row])) for place, row in _pairs(one).items())
        together.setdefault((one.index, one.encoder, pairs), []).append((file, one))
    groups = list(together.values())
    titles = [report_names.network(group[0][1].encoder) + _itself(group[0][1]) for group in groups]
    titles = report_names.distinct(titles, [group[0][0] for group in groups])
    return [Row(title, _explained(group)) for title, group in zip(titles, groups, strict=True)]


def _explained(group: Sequence[tuple[str, Explanation]]) -> list[Explained]:
    names = report_names.distinct([one.method for _, one in group], [file for file, _ in group])
    return [
        Explained(file, name, one, Looks(one, files.spelt(file)), _pairs(one))
        for name, (file, one) in zip(names, group, strict=True)
    ]


def _pairs(one: Explanation) -> dict[_Place, int]:
    return {(_key(one, row), str(one.results.ids[one.result[row]])): row for row in range(len(one.query))}


def _itself(one: Explanation) -> str:
    return ", each with itself" if len(one.rank) and not one.rank.any() else ""


def _key(one: Explanation, pair: int) -> Key:
    seed, number = int(one.seed[pair]), int(one.set[pair])
    query = str(one.queries.ids[one.query[pair]])
    return (None, None, query) if seed < 0 else (seed, number, query)


def cases_of(rows: Sequence[Row], ranks: Mapping[Key, Mapping[str, int]], label: str | None) -> list[gallery.Case]:
    """Return a case for each query (of each set) that any artifact has, its rows in the order of the files.

    Parameters
    ----------
    rows : sequence of Row
    ranks : mapping
        For each query the expert's rank of each image.
    label : str, optional
        Label that frames agree on; the task's by default.

    Raises
    ------
    UsageError
        If an artifact does not have the label.
    """
    found: dict[Key, dict[str, list[_Place]]] = {}
    for row in rows:
        for place in row.first.pairs:
            found.setdefault(place[0], {}).setdefault(row.title, []).append(place)
    return [
        _case(key, [(row, places[row.title]) for row in rows if row.title in places], ranks.get(key, {}), label)
        for key, places in found.items()
    ]


def _case(
    key: Key, rows: Sequence[tuple[Row, Sequence[_Place]]], order: Mapping[str, int], label: str | None
) -> gallery.Case:
    drawn: list[gallery.Row] = []
    pictures: dict[str, gallery.Tile] = {}
    query: gallery.Tile | None = None
    for row, places in rows:
        one, pairs = row.first.artifact, row.first.pairs
        chosen = classes.labels_of(one.results, one.targets, label, one.queries)
        at = int(one.query[pairs[places[0]]])
        codes = one.queries.stated(at, [name for name in chosen if name in one.queries.label_names])
        query = query or gallery.Tile(key[2], one.query_images[at], gallery.words(codes))
        on_query = _looks(row, places[0], ON_QUERY)
        neighbours = []
        for place in places:
            pair, found = pairs[place], place[1]
            result = int(one.result[pair])
            stated = one.results.stated(result, [name for name in chosen if name in one.results.label_names])
            words = gallery.words(stated)
            picture = gallery.Tile(found, one.result_images[result], words, _looks(row, place, ON_RESULT))
            pictures.setdefault(found, gallery.Tile(found, picture.image, words))
            rank = int(one.rank[pair])
            agrees = _agrees(codes, stated) if rank else None  # an image agrees with itself in any case
            own = _looks(row, place, ON_QUERY)
            neighbours.append(
                gallery.Neighbour(
                    picture,
                    rank,
                    float(one.distance[pair]),
                    agrees,
                    order.get(found),
                    own if _other_maps(own, on_query) else {},
                )
            )
        if any(not _other_maps(on_query, above.query_looks) for above in drawn):
            on_query = {}  # the same maps as another row's, shown once
        drawn.append(gallery.Row(row.title, neighbours, "", on_query))
    if query is None:
        raise UsageError(f"query {key[2]}: no explanation holds it")
    if order:
        drawn.insert(0, _expert(order, pictures, query, max(len(row.neighbours) for row in drawn)))
    return gallery.Case(query, query.label, drawn)


def _looks(row: Row, place: _Place, on: int) -> dict[str, Look]:
    """Return what each artifact of a row says of one image of a pair; those that hold no map of it say nothing."""
    seen = {each.name: each.looks.of(each.pairs[place], on) for each in row.explained}
    return {name: look for name, look in seen.items() if look is not None}


def _other_maps(one: Mapping[str, Look], other: Mapping[str, Look]) -> bool:
    """Whether two sets of maps are not the same."""
    if one.keys() != other.keys():
        return True
    return any(not np.array_equal(look.map, other[name].map) for name, look in one.items())  # type: ignore[arg-type]


def _expert(
    order: Mapping[str, int], pictures: Mapping[str, gallery.Tile], query: gallery.Tile, most: int
) -> gallery.Row:
    """Return the expert's order of the images that any method found."""
    shown = sorted((rank, found) for found, rank in order.items() if found in pictures)
    expert = [
        gallery.Neighbour(pictures[found], rank, None, _agreement(query.label, pictures[found].label), rank)
        for rank, found in shown[:most]
    ]
    last = expert[-1].rank if expert else 0
    absent = [str(rank) for rank in range(1, last) if rank not in {n.rank for n in expert}]
    note = f"no method retrieved rank {', '.join(absent)}" if absent else ""
    return gallery.Row(gallery.EXPERT, expert, note)


def _agrees(codes: Mapping[str, int], stated: Mapping[str, int]) -> bool | None:
    """Whether two images have the same labels; None where one is not known."""
    if not codes or codes.keys() != stated.keys() or UNCERTAIN in (*codes.values(), *stated.values()):
        return None
    return codes == stated


def _agreement(one: str, other: str) -> bool | None:
    return one == other if one and other else None
