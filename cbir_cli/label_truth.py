"""What a run is judged against by sets of labels: each query's labels, its results' and those of its catalogue."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_cli import label_sets, registry, shared_labels
from cbir_cli.artifacts.run import Key, RunRow
from cbir_cli.errors import UsageError
from cbir_cli.records import MISSING
from cbir_cli.splits import SplitRow
from cbir_cli.truth import Case, Lacking, Policy

SETS = {
    "chexpert-5": label_sets.CHEXPERT_5,
    "chexpert-13": label_sets.CHEXPERT_13,
    "chexpert-14": label_sets.CHEXPERT_14,
}
"""Sets of labels by name."""

Pool = tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]
"""How many images of a catalogue have each pattern of labels (U,), over all and of each patient."""


def named(text: str, known: Iterable[str]) -> list[str]:
    """Return the labels of a set: one of ``SETS``, names between commas, or all that are known for no text.

    Raises
    ------
    UsageError
        If a label is not among the known ones, or none is left.
    """
    names = sorted(known)
    if not names:
        raise Lacking("the run states no labels (a TREC run never does), so nothing says what is relevant")
    if not text:
        return names
    wanted = SETS.get(text) or [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in names:
            raise registry.unknown("label", name, names)
    return list(dict.fromkeys(wanted))


class LabelTruth:
    """The lists of a run, and the labels of their images.

    Parameters
    ----------
    rows : sequence of RunRow
        Their ranks are the order.
    names : sequence of str
        Labels that count.
    policy : Policy
        What becomes of labels that are uncertain or not stated.
    labels : mapping of str to mapping of str to int, optional
        For each label the raw code of every image of the index. Without it, and without a split table, the catalogues
        are not known, and so no random baseline.
    patients : mapping of str to str, optional
        Patient of each image as far as known; images of the query's patient are not in its catalogue.
    split : iterable of SplitRow, optional
        Split table of a run with seeds and sets.
    """

    def __init__(
        self,
        rows: Sequence[RunRow],
        names: Sequence[str],
        policy: Policy,
        *,
        labels: Mapping[str, Mapping[str, int]] | None = None,
        patients: Mapping[str, str] | None = None,
        split: Iterable[SplitRow] | None = None,
    ) -> None:
        if not rows:
            raise UsageError("the run holds no results")
        self.names, self.policy = list(names), policy
        lists: dict[Key, list[RunRow]] = defaultdict(list)
        for row in rows:
            lists[row.key].append(row)
        self.lists = {key: sorted(found, key=lambda row: row.rank) for key, found in lists.items()}
        self._patients = patients or {}
        self._patterns: dict[tuple[int, ...], int] = {}
        self._pools = self._catalogues(labels, split)

    def __str__(self) -> str:
        few = len(self.names) <= 5
        return (f"labels {', '.join(self.names)}" if few else f"{len(self.names)} labels") + str(self.policy)

    def cases(self, kind: str) -> list[Case]:
        """Cases by one of the relevances of ``shared_labels``; queries that it has no meaning for are left out.

        Raises
        ------
        Lacking
            If it has none for any query.
        UsageError
            If a list holds more that is relevant than its catalogue: run and index do not belong together.
        """
        known = np.array(list(self._patterns), dtype=np.int64).reshape(-1, len(self.names))
        cases = []
        for key, found in self.lists.items():
            query = np.array([self._codes(found[0].query_labels)])
            if not shared_labels.defined(kind, query)[0]:
                continue
            results = np.array([[self._codes(row.labels) for row in found]])
            grades = shared_labels.relevance(kind, query, results)[0]
            pool = self._pool(key)
            if pool is None:
                cases.append(Case(key, grades))
                continue
            held = shared_labels.relevance(kind, query, known[None])[0][: len(pool)]
            total = float(held @ pool)
            if grades.sum() > total + 1e-6 or len(grades) > pool.sum():
                raise UsageError(
                    f"query {key[2]!r}: the run lists more than its catalogue of {pool.sum()} images holds: "
                    "run and index do not belong together"
                )
            cases.append(Case(key, grades, size=int(pool.sum()), total=total, levels=_levels(held, pool)))
        if not cases:
            raise Lacking(f"no query of the run has labels that count: {', '.join(self.names)}")
        return cases

    def _codes(self, stated: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(self.policy(stated.get(name, MISSING)) for name in self.names)

    def _catalogues(
        self, labels: Mapping[str, Mapping[str, int]] | None, split: Iterable[SplitRow] | None
    ) -> dict[tuple[int | None, int | None], Pool]:
        """Count the patterns of labels in every catalogue."""
        if labels is None and split is None:
            return {}
        if labels is None:
            every = {row.id: self._codes(row.labels) for found in self.lists.values() for row in found}
        else:
            ids = {name for codes in labels.values() for name in codes}
            columns = [labels.get(name, {}) for name in self.names]
            every = {one: tuple(self.policy(codes.get(one, MISSING)) for codes in columns) for one in ids}
        images: dict[tuple[int | None, int | None], list[str]] = defaultdict(list)
        for row in split or ():
            if row.role == "catalogue":
                images[row.seed, row.set].append(row.id)
        if split is None:
            images[None, None] = list(every)
        for pool in images.values():
            for one in pool:
                if one not in every:
                    raise UsageError(f"nothing says what labels the catalogue image {one!r} has: give --items INDEX")
                self._patterns.setdefault(every[one], len(self._patterns))
        pools: dict[tuple[int | None, int | None], Pool] = {}
        for place, pool in images.items():
            counts = np.bincount([self._patterns[every[one]] for one in pool], minlength=len(self._patterns))
            owned: dict[str, list[int]] = defaultdict(list)
            for one in pool:
                owned[self._owner(one)].append(self._patterns[every[one]])
            pools[place] = counts, {name: np.array(patterns) for name, patterns in owned.items()}
        return pools

    def _pool(self, key: Key) -> NDArray[np.int64] | None:
        """Images of each pattern in the catalogue of a query, (U,); None where it is not known."""
        if not self._pools:
            return None
        place = key[:2]
        if place not in self._pools:
            found = f"set {place[1]} of seed {place[0]} is not in it"
            raise UsageError(f"the catalogue of query {key[2]!r} comes from a split table (--split), but {found}")
        counts, owned = self._pools[place]
        own = owned.get(self._owner(key[2]), np.empty(0, np.int64))
        return counts - np.bincount(own, minlength=len(counts))

    def _owner(self, image: str) -> str:
        """Patient of an image, which counts as an owner of its own where its patient is not known."""
        patient = self._patients.get(image)
        return f"patient {patient}" if patient else f"image {image}"


def _levels(relevance: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values of relevance in a catalogue, and how many images have each."""
    values, place = np.unique(relevance, return_inverse=True)
    return values, np.bincount(place, counts, len(values)).astype(np.int64)
