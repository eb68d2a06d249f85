"""What a run is judged against: for every query the expert's ranks, or the labels and what its catalogue holds."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cbir_cli import registry, relevance
from cbir_cli.artifacts.ranks import RankRow
from cbir_cli.artifacts.run import Key, RunRow
from cbir_cli.errors import UsageError
from cbir_cli.label_policy import IGNORED, collapse
from cbir_cli.records import MISSING
from cbir_cli.splits import SplitRow

REFERENCE_RATER = "R1"


class Lacking(UsageError):
    """Something that a metric needs is not there: an error if the metric was named, else it is passed over."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the catalogue of a query holds, without the query and whatever is kept from it.

    Attributes
    ----------
    relevant : int
        Images with the query's label.
    size : int
        All images.
    """

    relevant: int
    size: int


@dataclass(frozen=True)
class Policy:
    """What becomes of labels that are uncertain or not stated when a run or classifier is scored; see ``label_policy``.

    By default both are ignored: such an image makes no query, and as a result it is not relevant.
    """

    uncertain: str = "ignore"
    blank: str = "ignore"

    def __post_init__(self) -> None:
        for kind, known in (("uncertain", ("ignore", "positive", "negative")), ("blank", ("ignore", "negative"))):
            if getattr(self, kind) not in known:
                raise registry.unknown(f"policy for {kind} labels", getattr(self, kind), known)

    def __call__(self, code: int) -> int:
        """Return the code that counts for a raw code; what is ignored stays as it is."""
        target = int(collapse(code, uncertain=self.uncertain, blank=self.blank))
        return code if target == IGNORED else target

    def __str__(self) -> str:
        parts = [f"{kind}={name}" for kind, name in asdict(self).items() if name != "ignore"]
        return f" ({', '.join(parts)})" if parts else ""


@dataclass(frozen=True)
class Case:
    """One query, with what metrics may ask for under the names of their parameters."""

    key: Key
    relevance: NDArray[np.float64]
    ideal: NDArray[np.float64] | None = None
    relevant: int | None = None
    size: int | None = None
    total: float | None = None


@dataclass(frozen=True)
class Truth:
    """The lists of a run, and what is known about them."""

    rows: Sequence[RunRow]
    ranks: Sequence[RankRow]
    asked_rater: str | None
    asked_label: str | None
    catalogues: Mapping[Key, Catalogue]

    @cached_property
    def lists(self) -> dict[Key, list[RunRow]]:
        """Results of each query, by rank."""
        lists: dict[Key, list[RunRow]] = defaultdict(list)
        for row in self.rows:
            lists[row.key].append(row)
        if not lists:
            raise UsageError("the run holds no results")
        return {key: sorted(found, key=lambda row: row.rank) for key, found in lists.items()}

    @cached_property
    def rater(self) -> str | None:
        """Whose ranks count: the one asked for, else R1, else the first."""
        raters = list(dict.fromkeys(row.rater for row in self.ranks))
        if self.asked_rater is not None and self.asked_rater not in raters:
            raise registry.unknown("rater", self.asked_rater, raters)
        default = REFERENCE_RATER if REFERENCE_RATER in raters else next(iter(raters), None)
        return self.asked_rater or default

    @cached_property
    def orders(self) -> dict[Key, dict[str, float]]:
        """Image to rank, for every query of the run that the rater ranked."""
        given: dict[Key, dict[str, float]] = defaultdict(dict)
        for row in self.ranks:
            if row.rater == self.rater:
                given[row.key][row.id] = row.rank
        with_sets = any(seed is not None for seed, _, _ in given)
        if with_sets and any(seed is None for seed, _, _ in self.lists):
            raise UsageError("the expert ranks have a seed and a set for each query, but the run has none")
        keys = {key: key if with_sets else (None, None, key[2]) for key in self.lists}
        return {key: given[place] for key, place in keys.items() if place in given}

    @cached_property
    def label(self) -> str:
        """Which label decides what is relevant."""
        label = pick_label(self.rows, self.asked_label)
        if label is None:
            raise Lacking("the run states no labels (a TREC run never does), so nothing says what is relevant")
        return label

    @cached_property
    def graded(self) -> list[Case]:
        """Cases by expert ranks; queries that were not ranked are left out."""
        if not self.ranks:
            raise Lacking("nDCG needs expert ranks: give --raters TABLE")
        cases = []
        for key, order in self.orders.items():
            found = [row.id for row in self.lists[key]]
            if strange := [name for name in found if name not in order]:
                raise UsageError(
                    f"query {key[2]!r}: rater {self.rater} ranked {len(order)} images, but not the result "
                    f"{strange[0]!r}: search in the images that were ranked (query --split)"
                )
            grades = relevance.from_ranks([order[name] for name in found], len(order))
            ideal = relevance.from_ranks(list(order.values()), len(order))
            cases.append(Case(key, grades, ideal=ideal, size=len(order)))
        if not cases:
            raise Lacking(f"rater {self.rater} ranked no query of the run")
        return cases

    @cached_property
    def binary(self) -> list[Case]:
        """Cases by label; queries whose label is uncertain or missing are left out."""
        cases = []
        for key, found in self.lists.items():
            code = found[0].query_labels.get(self.label, MISSING)
            if relevance.stated(code):
                labels = [row.labels.get(self.label, MISSING) for row in found]
                agreement = relevance.from_labels([code], [labels])[0]
                catalogue = self._catalogue(key, agreement)
                known = (None, None) if catalogue is None else (catalogue.relevant, catalogue.size)
                cases.append(Case(key, agreement, None, *known))
        if not cases:
            raise Lacking(f"no query of the run is positive or negative for {self.label}")
        return cases

    def _catalogue(self, key: Key, agreement: NDArray[np.float64]) -> Catalogue | None:
        listed = Catalogue(int(agreement.sum()), len(agreement))
        catalogue = self.catalogues.get(key)
        if catalogue is None:
            ranked = self.orders.get(key, {}).keys()
            return listed if ranked == {row.id for row in self.lists[key]} else None
        irrelevant, others = listed.size - listed.relevant, catalogue.size - catalogue.relevant
        if listed.relevant > catalogue.relevant or irrelevant > others:
            raise UsageError(
                f"query {key[2]!r}: the run lists {listed.relevant} relevant of {listed.size} images, but its "
                f"catalogue holds {catalogue.relevant} of {catalogue.size}: run and index do not belong together"
            )
        return catalogue


def pick_label(rows: Iterable[RunRow], label: str | None = None) -> str | None:
    """Return the label that decides what is relevant: the one asked for, else the only one that the run states.

    Returns
    -------
    str or None
        None if the run states no label at all.

    Raises
    ------
    UsageError
        If the run does not state the label asked for, or states several and none is asked for.
    """
    known = sorted({name for row in rows for name in (*row.query_labels, *row.labels)})
    if label is not None and label not in known:
        raise registry.unknown("label of the run", label, known)
    if label is None and len(known) > 1:
        raise Lacking(f"the run states several labels, choose one with --label: {', '.join(known)}")
    return label or (known[0] if known else None)


def label_names(rows: Iterable[RunRow]) -> list[str]:
    """Return the labels that a run states, sorted.

    Raises
    ------
    Lacking
        If it states none.
    """
    names = sorted({name for row in rows for name in (*row.query_labels, *row.labels)})
    if not names:
        raise Lacking("the run states no labels (a TREC run never does), so nothing says what is relevant")
    return names


def with_policy(rows: Iterable[RunRow], label: str, policy: Policy) -> list[RunRow]:
    """Return a run with one label's codes as a policy takes them."""

    def counted(labels: Mapping[str, int]) -> dict[str, int]:
        code = policy(labels.get(label, MISSING))
        return {**labels, label: code} if code != MISSING else dict(labels)

    return [replace(row, query_labels=counted(row.query_labels), labels=counted(row.labels)) for row in rows]


def count_catalogues(
    rows: Iterable[RunRow],
    *,
    label: str,
    items: Mapping[str, int] | None = None,
    patients: Mapping[str, str] | None = None,
    split: Iterable[SplitRow] | None = None,
) -> dict[Key, Catalogue]:
    """Count what the catalogue of each query of a run holds.

    Parameters
    ----------
    rows : iterable of RunRow
        The run: which queries there are, and their labels.
    label : str
        Decides what is relevant.
    items : mapping of str to int, optional
        Raw label code of every image of the index. By default what the run says of its results, which will do with a
        split table whose catalogues the run lists in full.
    patients : mapping of str to str, optional
        Patient of each image, queries included, as far as known. If given, images of the query's patient do not count,
        since ``cbir query`` leaves them out; the query itself never counts.
    split : iterable of SplitRow, optional
        Split table of a run with seeds and sets: the catalogue of its set counts for a query.

    Returns
    -------
    dict
        Only queries with a stated label.

    Raises
    ------
    UsageError
        If there are neither items nor a split table, if the run has sets but there is no split table, or if a set or
        the label of one of its images is not to be found.
    """
    rows = list(rows)
    if items is None and split is None:
        raise UsageError("what the catalogues hold is not to be had from the run alone: give --items INDEX")
    queries = {row.key: row.query_labels.get(label, MISSING) for row in rows}
    codes = {row.id: row.labels.get(label, MISSING) for row in rows} if items is None else items
    pools: dict[tuple[int | None, int | None], list[str]] = defaultdict(list)
    for image in split or ():
        if image.role == "catalogue":
            pools[image.seed, image.set].append(image.id)
    if split is None:
        pools[None, None] = list(codes)
    of = patients or {}
    catalogues = {}
    counts: dict[tuple[int | None, int | None], dict[str, Counter[int]]] = {}
    for (seed, number, query), code in queries.items():
        if not relevance.stated(code):
            continue
        if (place := (seed, number)) not in pools:
            found = f"set {number} of seed {seed} is not in it" if split is not None else "there is none"
            raise UsageError(f"the catalogue of query {query!r} comes from a split table (--split), but {found}")
        if place not in counts:
            counts[place] = _by_owner(pools[place], codes, of)
        # The query counts as an owner of its own where its patient is not known.
        rest = counts[place][""] - counts[place].get(_owner(query, of), Counter())
        catalogues[seed, number, query] = Catalogue(rest[code], rest.total())
    return catalogues


def _owner(image: str, patients: Mapping[str, str]) -> str:
    patient = patients.get(image)
    return f"patient {patient}" if patient else f"image {image}"


def _by_owner(pool: Iterable[str], codes: Mapping[str, int], patients: Mapping[str, str]) -> dict[str, Counter[int]]:
    """Count label codes for every patient, and over all under the empty name."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for image in pool:
        if image not in codes:
            raise UsageError(f"nothing says what label the catalogue image {image!r} has: give --items INDEX")
        counts[_owner(image, patients)][codes[image]] += 1
        counts[""][codes[image]] += 1
    return counts
