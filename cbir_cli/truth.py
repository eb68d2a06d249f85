"""What a run is judged against: for every query an expert's ranks, or its class and what its catalogue holds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cbir_cli import classes, raters, registry, relevance
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.catalogues import Catalogues
from cbir_cli.errors import UsageError
from cbir_cli.ranked_lists import Key, RankedLists

if TYPE_CHECKING:
    from cbir_cli.run_labels import RunLabels


class Lacking(UsageError):
    """Something that a metric needs is not there: an error if the metric was named, else it is passed over."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the catalogue of a query holds, without the query and whatever is kept from it.

    Attributes
    ----------
    relevant : int
        Images of the query's class.
    size : int
        All images.
    sizes : tuple of int
        Images of each class; empty where not known.
    """

    relevant: int
    size: int
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """One query, with what metrics may ask for under the names of their parameters.

    Attributes
    ----------
    key : Key
    relevance : ndarray (K,), float64
        Of the results, best first.
    distances : ndarray (K,), float64
    ideal : ndarray (M,), float64, or None
        Relevance of the images in the catalogue; those that are not in it have none.
    relevant, size : int or None
        Relevant images, and all images, in the catalogue.
    total : float or None
        Sum of the relevance of all images in the catalogue.
    query_class : int or None
        Class of the query, by number.
    classes : ndarray (K,), int64, or None
        Class of each result; -1 for none.
    class_sizes : ndarray (C,), int64, or None
        Images of each class in the catalogue.
    levels : tuple of ndarray (L,) and ndarray (L,), or None
        Values that the relevance has in the catalogue, and how many images have each.
    """

    key: Key
    relevance: NDArray[np.float64]
    distances: NDArray[np.float64]
    ideal: NDArray[np.float64] | None = None
    relevant: int | None = None
    size: int | None = None
    total: float | None = None
    query_class: int | None = None
    classes: NDArray[np.int64] | None = None
    class_sizes: NDArray[np.int64] | None = None
    levels: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """The lists of a run, and what is known about them.

    Attributes
    ----------
    lists : RankedLists
    ranks : sequence of RankRow
        Expert ranks.
    asked_rater : str or None
        Whose ranks count.
    labels : RunLabels
    class_labels : sequence of str
        The labels that make the classes; one label makes two of them. Empty for the only one that the run states.
    catalogues : mapping of Key to Catalogue
        What is known of them.
    """

    lists: RankedLists
    labels: "RunLabels"
    ranks: Sequence[RankRow] = ()
    asked_rater: str | None = None
    class_labels: Sequence[str] = ()
    catalogues: Mapping[Key, Catalogue] = field(default_factory=dict)

    def cases(self, kind: str) -> list[Case]:
        """Cases by expert ranks (``graded``), else by class; queries without are left out.

        Raises
        ------
        Lacking
            If there are no ranks or labels, or none for any query.
        UsageError
            If run, ranks and catalogues do not belong together.
        """
        return self.graded if kind == "graded" else self.binary

    def against(self, kind: str) -> str:
        """What the cases go by, in words."""
        if kind == "graded":
            return f"rater {self.rater}"
        names = self.classes
        return (f"label {names[0]}" if len(names) == 1 else f"classes {', '.join(names)}") + str(self.labels.policy)

    @cached_property
    def rater(self) -> str | None:
        """Whose ranks count: the one asked for, else R1, else the first."""
        known = raters.names(self.ranks)
        if self.asked_rater is not None and self.asked_rater not in known:
            raise registry.unknown("rater", self.asked_rater, known)
        return self.asked_rater or raters.usual(known)

    @cached_property
    def orders(self) -> dict[Key, dict[str, float]]:
        """Image to rank, for every query of the run that the rater ranked."""
        given: dict[Key, dict[str, float]] = defaultdict(dict)
        for row in self.ranks:
            if row.rater == self.rater:
                given[row.key][row.id] = row.rank
        with_sets = any(seed is not None for seed, _, _ in given)
        if with_sets and any(seed is None for seed, _, _ in self.lists.keys):
            raise UsageError("the expert ranks have a seed and a set for each query, but the run has none")
        keys = {key: key if with_sets else (None, None, key[2]) for key in self.lists.keys}
        return {key: given[place] for key, place in keys.items() if place in given}

    @cached_property
    def classes(self) -> list[str]:
        """The labels that make the classes."""
        if self.class_labels:
            return list(self.class_labels)
        label = self.labels.pick()
        if label is None:
            raise Lacking("the run states no labels (a TREC run never does), so nothing says what is relevant")
        return [label]

    @cached_property
    def graded(self) -> list[Case]:
        """Cases by expert ranks; queries that were not ranked are left out."""
        if not self.ranks:
            raise Lacking("nDCG needs expert ranks: give --raters TABLE (or grades, --qrels FILE)")
        cases = []
        orders = self.orders
        for number, key in enumerate(self.lists.keys):
            if key not in orders:
                continue
            order, found = orders[key], self.lists.ids(number)
            if strange := [name for name in found if name not in order]:
                raise UsageError(
                    f"query {key[2]!r}: rater {self.rater} ranked {len(order)} images, but not the result "
                    f"{strange[0]!r}: search in the images that were ranked (query --split)"
                )
            grades = relevance.from_ranks([order[name] for name in found], len(order))
            ideal = relevance.from_ranks(list(order.values()), len(order))
            cases.append(Case(key, grades, self.lists.far(number), ideal=ideal, size=len(order)))
        if not cases:
            raise Lacking(f"rater {self.rater} ranked no query of the run")
        return cases

    @cached_property
    def numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Class of all queries (Q,) and of all results (R,), by number; -1 for none, or several."""
        return self.labels.classes(self.classes)

    @cached_property
    def binary(self) -> list[Case]:
        """Cases by class; queries that are of no class, or of several, are left out."""
        asked, found = self.numbers
        agree = (found == asked[self.lists.owners]).astype(np.float64)
        starts = self.lists.starts.tolist()
        cases = []
        for number, (key, its) in enumerate(zip(self.lists.keys, asked.tolist(), strict=True)):
            if its == classes.NO_CLASS:
                continue
            here = slice(starts[number], starts[number + 1])
            known = self._catalogue(key, agree[here], found[here], number)
            cases.append(
                Case(
                    key,
                    agree[here],
                    self.lists.distances[here],
                    relevant=known.relevant if known else None,
                    size=known.size if known else None,
                    query_class=its,
                    classes=found[here],
                    class_sizes=np.array(known.sizes) if known and known.sizes else None,
                )
            )
        if not cases:
            names = self.classes
            what = f"positive or negative for {names[0]}" if len(names) == 1 else f"of one class of {', '.join(names)}"
            raise Lacking(f"no query of the run is {what}")
        return cases

    def _catalogue(
        self, key: Key, agreement: NDArray[np.float64], found: NDArray[np.int64], number: int
    ) -> Catalogue | None:
        listed = Catalogue(int(agreement.sum()), len(agreement))
        catalogue = self.catalogues.get(key)
        if catalogue is None:
            ranked = self.orders.get(key) if self.ranks else None
            if not ranked or ranked.keys() != set(self.lists.ids(number)):
                return None
            sizes = np.bincount(found[found >= 0], minlength=len(classes.names(self.classes)))
            return Catalogue(listed.relevant, listed.size, tuple(sizes.tolist()))
        irrelevant, others = listed.size - listed.relevant, catalogue.size - catalogue.relevant
        if listed.relevant > catalogue.relevant or irrelevant > others:
            raise UsageError(
                f"query {key[2]!r}: the run lists {listed.relevant} relevant of {listed.size} images, but its "
                f"catalogue holds {catalogue.relevant} of {catalogue.size}: run and index do not belong together"
            )
        return catalogue


def count_classes(
    known: Catalogues, keys: Sequence[Key], asked: NDArray[np.int64], codes: NDArray[np.int64], number: int
) -> dict[Key, Catalogue]:
    """Count what the catalogue of each query of a run holds.

    Parameters
    ----------
    known : Catalogues
    keys : sequence of Key, (Q,)
    asked : ndarray (Q,), int64
        Class of each query, by number.
    codes : ndarray (N,), int64
        Class of each image of the catalogues.
    number : int
        How many classes there are.

    Returns
    -------
    dict
        Only queries of a class.

    Raises
    ------
    UsageError
        If the set of a query is not known.
    """
    shifted = np.where(codes == classes.NO_CLASS, number, codes)
    found = {}
    for key, its in zip(keys, asked.tolist(), strict=True):
        if its != classes.NO_CLASS:
            counts = known.count(key, shifted, number + 1)
            found[key] = Catalogue(int(counts[its]), int(counts.sum()), tuple(counts[:number].tolist()))
    return found
