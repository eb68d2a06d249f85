"""The labels of a run's queries and results as arrays of codes, those that an index knows among them."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_cli import classes, registry
from cbir_cli.label_policy import Policy
from cbir_cli.ranked_lists import RankedLists
from cbir_cli.records import MISSING
from cbir_cli.truth import Lacking

Codes = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Of the queries (Q,) and of the results (R,)."""


class RunLabels:
    """Labels of the images of a run.

    Parameters
    ----------
    lists : RankedLists
    known : mapping of str to mapping of str to int, optional
        For each label the raw code of every image of the index. They count for labels that the run does not state at
        all, as a TREC run.
    policy : Policy, optional
        What becomes of labels that are uncertain or not stated; without one they stay as they are.
    """

    def __init__(
        self,
        lists: RankedLists,
        known: Mapping[str, Mapping[str, int]] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.lists, self.known, self.policy = lists, known or {}, policy or Policy()
        self.names = lists.label_names or sorted(
            name for name, codes in self.known.items() if any(code != MISSING for code in codes.values())
        )
        """Labels that may be asked for."""

    def codes(self, name: str, *, complete: bool = False) -> Codes:
        """Codes of a label, after the policy.

        Parameters
        ----------
        name : str
        complete : bool
            Take what the index knows wherever the run does not say.
        """
        asked, found = self.lists.codes(name)
        if name not in self.lists.label_names or complete:
            of_queries, of_results = self.lists.of_names(self.known.get(name, {}), MISSING)
            asked = np.where(asked == MISSING, of_queries, asked)
            found = np.where(found == MISSING, of_results, found)
        return self.policy.of(asked), self.policy.of(found)

    def classes(self, labels: Sequence[str]) -> Codes:
        """Number of the class, by ``classes.names(labels)``; -1 for images of no class or of several."""
        codes = [self.codes(label) for label in labels]
        return classes.single([asked for asked, _ in codes]), classes.single([found for _, found in codes])

    def known_classes(self, labels: Sequence[str], ids: Iterable[str]) -> NDArray[np.int64]:
        """Number of the class of images of the index, as the index knows them, (N,)."""
        every = list(ids)
        columns = (self.known.get(label, {}) for label in labels)
        return classes.single(
            [
                self.policy.of(np.fromiter((of.get(one, MISSING) for one in every), np.int64, len(every)))
                for of in columns
            ]
        )

    def pick(self, label: str | None = None) -> str | None:
        """Return the label that decides what is relevant: the one asked for, else the only one.

        Returns
        -------
        str or None
            None if no label is stated at all.

        Raises
        ------
        UsageError
            If the label asked for is not stated, or several are and none is asked for.
        """
        if label is not None and label not in (every := {*self.names, *self.known}):
            raise registry.unknown("label of the run", label, sorted(every))
        if label is None and len(self.names) > 1:
            raise Lacking(f"the run states several labels, choose one with --label: {', '.join(self.names)}")
        return label or (self.names[0] if self.names else None)

    def all(self) -> list[str]:
        """Return all labels.

        Raises
        ------
        Lacking
            If there is none.
        """
        if not self.names:
            raise Lacking("the run states no labels (a TREC run never does), so nothing says what is relevant")
        return self.names
