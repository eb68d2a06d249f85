"""From explanation artifacts to queries with their results: the part of ``cbir report`` that shows what was found.

Artifacts of the same pairs, which say in several ways why the same results were found, are one row with a switch;
artifacts of other pairs are rows of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cbir_cli import classes
from cbir_cli.artifacts import files
from cbir_cli.artifacts.explanation import ON_QUERY, ON_RESULT, Explanation
from cbir_cli.ranked_lists import Key
from cbir_cli.records import UNCERTAIN
from cbir_cli.reports import gallery
from cbir_cli.reports.look import Look
from cbir_cli.stages import report_names, report_raters
from cbir_cli.stages.report_looks import Looks
from cbir_cli.stages.report_raters import Panel

NONE = "none"
"""The method of an artifact that holds images alone."""

_Held = tuple[np.ndarray, np.ndarray | None, int]  # small images, the same in Hounsfield units if known, and a row
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


def labels_in(rows: Sequence[Row], label: str | None) -> dict[str, dict[str, int]]:
    """Return for every image of some artifacts the codes of the labels that frames agree on.

    Raises
    ------
    UsageError
        If an artifact does not have the label.
    """
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        one = row.first.artifact
        chosen = classes.labels_of(one.results, one.targets, label, one.queries)
        for table in (one.results, one.queries):
            names = [name for name in chosen if name in table.label_names]
            for place, key in enumerate(table.ids.tolist()):
                found.setdefault(str(key), table.stated(place, names))
    return found


def cases_of(rows: Sequence[Row], panel: Panel, labels: Mapping[str, Mapping[str, int]]) -> list[gallery.Case]:
    """Return a case for each query (of each set) that any artifact has, its rows in the order of the files.

    Parameters
    ----------
    rows : sequence of Row
    panel : Panel
        The raters; each is a row of the queries that were ranked, before the methods.
    labels : mapping
        As ``labels_in`` returns them.
    """
    found: dict[Key, dict[str, list[_Place]]] = {}
    for row in rows:
        for place in row.first.pairs:
            found.setdefault(place[0], {}).setdefault(row.title, []).append(place)
    held = _pictures(rows)
    cases = []
    for key, places in found.items():
        query = _tile(held, key[2], labels, panel.says(key, key[2]))
        shown = [_row(row, places[row.title], held, labels, panel) for row in rows if row.title in places]
        for number, one in enumerate(shown):  # the same maps as another row's are shown once
            for above in shown[:number]:
                if one.query_looks and not _other_maps(one.query_looks, above.query_looks):
                    shown[number] = replace(one, query_looks={}, query_looks_of=above.method)
                    break
        first = max(sum(not n.far for n in one.neighbours) for one in shown)
        last = max(sum(n.far for n in one.neighbours) for one in shown)

        def tile(image: str) -> gallery.Tile:
            return _tile(held, image, labels)

        cases.append(
            gallery.Case(query, query.label, report_raters.rows_of(panel, key, query.label, tile, first, last) + shown)
        )
    return cases


def _pictures(rows: Sequence[Row]) -> dict[str, _Held]:
    """Return for every image the stack of pictures that holds it, and its row there."""
    held: dict[str, _Held] = {}
    for row in rows:
        one = row.first.artifact
        for table, images, units in (
            (one.results, one.result_images, one.result_hounsfield),
            (one.queries, one.query_images, one.query_hounsfield),
        ):
            for place, key in enumerate(table.ids.tolist()):
                held.setdefault(str(key), (images, units, place))
    return held


def _tile(
    held: Mapping[str, _Held], image: str, labels: Mapping[str, Mapping[str, int]], disputed: str = ""
) -> gallery.Tile:
    words = gallery.words(labels.get(image, {}))
    if image not in held:
        return gallery.Tile(image, None, words, disputed=disputed)
    images, units, place = held[image]
    return gallery.Tile(
        image, images[place], words, disputed=disputed, hounsfield=None if units is None else units[place]
    )


def _row(
    row: Row,
    places: Sequence[_Place],
    held: Mapping[str, _Held],
    labels: Mapping[str, Mapping[str, int]],
    panel: Panel,
) -> gallery.Row:
    one, pairs, key = row.first.artifact, row.first.pairs, places[0][0]
    codes, order = labels[key[2]], panel.ranks(key)
    on_query = _looks(row, places[0], ON_QUERY)
    neighbours: list[gallery.Neighbour] = []
    far = False
    for place in places:
        pair, found = pairs[place], place[1]
        rank = int(one.rank[pair])
        far = far or (bool(neighbours) and rank > neighbours[-1].rank + 1)  # past a gap: among the least similar
        own = _looks(row, place, ON_QUERY)
        neighbours.append(
            gallery.Neighbour(
                replace(_tile(held, found, labels, panel.says(key, found)), looks=_looks(row, place, ON_RESULT)),
                rank,
                float(one.distance[pair]),
                _agrees(codes, labels[found]) if rank else None,  # an image agrees with itself in any case
                order.get(found),
                own if _other_maps(own, on_query) else {},
                far,
            )
        )
    return gallery.Row(row.title, neighbours, "", on_query)


def _looks(row: Row, place: _Place, on: int) -> dict[str, Look]:
    """Return what each artifact of a row says of one image of a pair; those that hold no map of it say nothing."""
    seen = {each.name: each.looks.of(each.pairs[place], on) for each in row.explained}
    return {name: look for name, look in seen.items() if look is not None}


def _other_maps(one: Mapping[str, Look], other: Mapping[str, Look]) -> bool:
    """Whether two sets of maps are not the same."""
    if one.keys() != other.keys():
        return True
    return any(not np.array_equal(look.map, other[name].map) for name, look in one.items())  # type: ignore[arg-type]


def _agrees(codes: Mapping[str, int], stated: Mapping[str, int]) -> bool | None:
    """Whether two images have the same labels; None where one is not known."""
    if not codes or codes.keys() != stated.keys() or UNCERTAIN in (*codes.values(), *stated.values()):
        return None
    return codes == stated
