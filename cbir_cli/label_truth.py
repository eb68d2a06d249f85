"""What a run is judged against by sets of labels: each query's labels, its results' and those of its catalogue."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_cli import label_sets, registry, shared_labels
from cbir_cli.catalogues import Catalogues
from cbir_cli.errors import UsageError
from cbir_cli.records import MISSING
from cbir_cli.run_labels import RunLabels
from cbir_cli.truth import Case, Lacking

SETS = {
    "chexpert-5": label_sets.CHEXPERT_5,
    "chexpert-13": label_sets.CHEXPERT_13,
    "chexpert-14": label_sets.CHEXPERT_14,
}
"""Sets of labels by name."""


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
    labels : RunLabels
    names : sequence of str
        Labels that count.
    catalogues : Catalogues, optional
        Without them there is no random baseline.
    """

    def __init__(self, labels: RunLabels, names: Sequence[str], catalogues: Catalogues | None = None) -> None:
        self.lists, self.names, self.policy = labels.lists, list(names), labels.policy
        codes = [labels.codes(name, complete=True) for name in self.names]
        self._asked = np.stack([asked for asked, _ in codes], axis=1)
        self._found = np.stack([found for _, found in codes], axis=1)
        self._catalogues = catalogues
        if catalogues is not None:
            every = self._every(labels, catalogues.ids)
            self._patterns, inverse = np.unique(every, axis=0, return_inverse=True)
            self._pattern_of = inverse.reshape(-1)

    def cases(self, kind: str) -> list[Case]:
        """Cases by one of the relevances of ``shared_labels``; queries that it has no meaning for are left out.

        Raises
        ------
        Lacking
            If it has none for any query.
        UsageError
            If a list holds more that is relevant than its catalogue: run and index do not belong together.
        """
        cases = []
        for number in np.flatnonzero(shared_labels.defined(kind, self._asked)).tolist():
            key, here = self.lists.keys[number], slice(self.lists.starts[number], self.lists.starts[number + 1])
            query = self._asked[number][None]
            grades = shared_labels.relevance(kind, query, self._found[here][None])[0]
            if self._catalogues is None:
                cases.append(Case(key, grades, self.lists.distances[here]))
                continue
            pool = self._catalogues.count(key, self._pattern_of, len(self._patterns))
            levels = shared_labels.relevance(kind, query, self._patterns[None])[0]
            total = float(levels @ pool)
            if grades.sum() > total + 1e-6 or len(grades) > pool.sum():
                raise UsageError(
                    f"query {key[2]!r}: the run lists more than its catalogue of {pool.sum()} images holds: "
                    "run and index do not belong together"
                )
            far = self.lists.distances[here]
            cases.append(Case(key, grades, far, size=int(pool.sum()), total=total, levels=(levels, pool)))
        if not cases:
            raise Lacking(f"no query of the run has labels that count: {', '.join(self.names)}")
        return cases

    def against(self, kind: str) -> str:
        """What the cases go by, in words."""
        few = len(self.names) <= 5
        labels = (f"labels {', '.join(self.names)}" if few else f"{len(self.names)} labels") + str(self.policy)
        return f"{labels}: {shared_labels.WORDS[kind]}"

    def _every(self, labels: RunLabels, ids: Sequence[str]) -> NDArray[np.int64]:
        """Codes (N, L) of all images of the catalogues: as the index knows them, else as the run states them."""
        if labels.known:
            columns = [[labels.known.get(name, {}).get(one, MISSING) for one in ids] for name in self.names]
            return self.policy.of(np.array(columns, dtype=np.int64).reshape(len(self.names), -1).T)
        row = dict(zip(self.lists.results.tolist(), range(len(self.lists.results)), strict=False))
        first = {self.lists.names[place]: number for place, number in row.items()}
        return self._found[[first[one] for one in ids]]
