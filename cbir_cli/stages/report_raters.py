"""Raters as rows of the page: the part of ``cbir report`` that shows how experts ordered the catalogue of a query."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cbir_cli import classes, raters
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.ranked_lists import Key
from cbir_cli.reports import gallery

_Orders = Mapping[Key, Mapping[str, Sequence[RankRow]]]


@dataclass(frozen=True)
class Panel:
    """The raters of a rank table.

    Attributes
    ----------
    reference : str
        Whose ranks stand above the images of all rows; empty without raters.
    orders : mapping
        By query and rater the ranks, the most similar image first; the reference comes first.
    disputed : mapping of (Key, str, str) to str
        By query, rater and image what the rater says of it, where that is not what the data set says.
    """

    reference: str = ""
    orders: _Orders = field(default_factory=dict)
    disputed: Mapping[tuple[Key, str, str], str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All raters, the reference first."""
        return list(dict.fromkeys(rater for of_query in self.orders.values() for rater in of_query))

    def ranks(self, key: Key) -> dict[str, float]:
        """Return the reference's rank of each image of a query's catalogue; halves where a panel's order has ties."""
        return {row.id: row.rank for row in self.orders.get(key, {}).get(self.reference, ())}

    def says(self, key: Key, image: str, rater: str = "") -> str:
        """Return what a rater, by default the reference, says of an image otherwise than the data set; else nothing."""
        words = self.disputed.get((key, rater or self.reference, image), "")
        return f"{rater or self.reference}: {words}" if words else ""


def panel_of(
    rows: Sequence[RankRow], rater: str | None, labels: Mapping[str, Mapping[str, int]], label: str | None
) -> Panel:
    """Return the raters of a rank table.

    Parameters
    ----------
    rows : sequence of RankRow
    rater : str, optional
        The reference; by default R1, else the first. ``panel`` for the mean order of all, which is then a row, too.
    labels : mapping of str to mapping
        For each image the raw codes of the labels that the page is about.
    label : str, optional
        The only label that frames agree on; else a severity counts as a label where the images have only one.

    Raises
    ------
    UsageError
        If there is no such rater.
    """
    first = raters.reference(rows, rater)
    every = [*(raters.panel(rows) if first == raters.PANEL else ()), *rows]
    names = raters.names(every)
    orders: dict[Key, dict[str, list[RankRow]]] = {}
    for row in sorted(every, key=lambda row: (row.rater != first, names.index(row.rater), row.rank)):
        orders.setdefault(row.key, {}).setdefault(row.rater, []).append(row)
    disputed: dict[tuple[Key, str, str], dict[str, int]] = {}
    stated = {name for codes in labels.values() for name in codes}
    only = label if label not in (None, classes.ALL) else next(iter(stated)) if len(stated) == 1 else None
    for image, found in raters.disagreements(rows, labels, label=only).items():
        for one in found:
            disputed.setdefault((one.key, one.rater, image), {})[one.label] = one.expert
    return Panel(first, orders, {place: gallery.words(codes) for place, codes in disputed.items()})


def rows_of(
    panel: Panel, key: Key, query: str, tile: Callable[[str], gallery.Tile], first: int, last: int
) -> list[gallery.Row]:
    """Return a row for each rater of a query, with the images that come first in the rater's own order.

    Parameters
    ----------
    panel : Panel
    key : Key
    query : str
        Label of the query in words.
    tile : callable
        Gives the picture of an image by its id, without a picture where there is none.
    first, last : int
        How many images from either end of the order.
    """
    order, drawn = panel.orders.get(key, {}), []
    expected = panel.ranks(key)
    for rater, ranked in order.items():
        shown = [(place, row) for place, row in enumerate(ranked, 1) if place <= first or place > len(ranked) - last]
        neighbours = []
        for place, row in shown:
            own = replace(tile(row.id), disputed=panel.says(key, row.id, rater))
            agrees = own.label == query if own.label and query else None
            neighbours.append(gallery.Neighbour(own, place, None, agrees, expected.get(row.id), far=place > first))
        absent = sum(n.tile.image is None for n in neighbours)
        note = f"{absent} without a picture: no explanation holds {'it' if absent == 1 else 'them'}" if absent else ""
        reference = rater == panel.reference
        drawn.append(gallery.Row(f"{gallery.EXPERT} {rater}", neighbours, note, rater=True, reference=reference))
    return drawn
