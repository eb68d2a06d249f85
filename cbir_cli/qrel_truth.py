"""What a run is judged against by qrels, and the qrels that other tools judge it by."""

import logging
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cbir_cli.catalogues import Catalogues
from cbir_cli.classes import NO_CLASS
from cbir_cli.errors import UsageError
from cbir_cli.ranked_lists import Key, RankedLists
from cbir_cli.truth import Case, Lacking, Truth

_LOG = logging.getLogger("cbir")


class QrelTruth:
    """The lists of a run, and the grades of their images.

    What is not listed is not relevant, as in trec_eval. Queries of the run without a line in the qrels are left out.

    Parameters
    ----------
    lists : RankedLists
    qrels : mapping of Key to mapping of str to int
        Grades of at least 0. Queries without seeds and sets serve a run that has them.
    name : str
        What they are called.
    catalogues : Catalogues, optional
        Without them there is no random baseline.
    """

    def __init__(
        self,
        lists: RankedLists,
        qrels: Mapping[Key, Mapping[str, int]],
        name: str,
        catalogues: Catalogues | None = None,
    ) -> None:
        self.lists, self._name, self._catalogues = lists, name, catalogues
        self._cases: dict[str, list[Case]] = {}
        with_sets = any(seed is not None for seed, _, _ in qrels)
        places = {key: key if with_sets else (None, None, key[2]) for key in lists.keys}
        self._grades = {key: qrels[place] for key, place in places.items() if place in qrels}
        if not self._grades:
            raise UsageError("the qrels judge no query of the run")
        answered = {places[key] for key in self._grades}
        if lacking := [key for key in qrels if key not in answered]:
            _LOG.warning(
                "%d queries of the qrels have no list in the run, such as %r: they do not count",
                len(lacking),
                lacking[0][2],
            )

    def against(self, kind: str) -> str:
        """What the cases go by, in words."""
        return f"qrels {self._name}"

    def cases(self, kind: str) -> list[Case]:
        """Cases by grade (``graded``), or by a grade of at least 1 (``binary``).

        Raises
        ------
        Lacking
            If the metric looks at labels, or no query has a relevant image.
        UsageError
            If the qrels hold more images than the catalogue of a query.
        """
        if kind not in ("graded", "binary"):
            raise Lacking("qrels say which images are relevant; a metric of labels or classes cannot go by them")
        if kind not in self._cases:
            self._cases[kind] = list(self._each(kind))
        return self._cases[kind]

    def _each(self, kind: str) -> Iterator[Case]:
        for number, key in enumerate(self.lists.keys):
            if key not in self._grades:
                continue
            of = self._grades[key]
            found = np.array([of.get(one, 0) for one in self.lists.ids(number)], dtype=np.float64)
            ideal = np.array([grade for grade in of.values() if grade > 0], dtype=np.float64)
            size = None if self._catalogues is None else len(self._catalogues.rows(key))
            if size is not None and max(len(ideal), len(found)) > size:
                raise UsageError(
                    f"query {key[2]!r}: the qrels have {len(ideal)} relevant images and the run {len(found)} results, "
                    f"but its catalogue holds {size}: qrels, run and index do not belong together"
                )
            far = self.lists.far(number)
            if kind == "binary":
                yield Case(key, (found > 0).astype(np.float64), far, relevant=len(ideal), size=size)
            else:
                levels = None if size is None else _levels(ideal, size)
                yield Case(key, found, far, ideal=ideal, size=size, levels=levels)


def qrels_of(
    truth: Truth, catalogues: Catalogues | None, codes: NDArray[np.int64] | None
) -> Iterator[tuple[Key, str, int]]:
    """Yield query, image and grade of all that is relevant in the catalogue of each query of a run.

    An expert's rank becomes the grade ``2 rel = size + 2 - rank``, an integer where ``rel`` has halves: 2 for the least
    similar image. nDCG with linear gain does not change with the factor; with exponential gain it does, so tools that
    have it agree only with nDCG of these grades (``--qrels``), not of the ranks (``--raters``).

    Parameters
    ----------
    truth : Truth
        With expert ranks these count, else the class.
    catalogues : Catalogues or None
        Needed where classes count.
    codes : ndarray (N,), int64, or None
        Class of each image of the catalogues.

    Raises
    ------
    Lacking
        If what the catalogues hold is not known.
    """
    if truth.ranks:
        for key, order in truth.orders.items():
            for image, rank in order.items():
                if rank != int(rank):
                    raise UsageError("qrels hold whole grades, which ties of a panel are not: choose a rater (--rater)")
                yield key, image, len(order) + 2 - int(rank)
        return
    if catalogues is None or codes is None:
        raise Lacking("which images of the catalogue are relevant is not to be had from the run: give --items INDEX")
    for key, its in zip(truth.lists.keys, truth.numbers[0].tolist(), strict=True):
        if its != NO_CLASS:
            rows = catalogues.rows(key)
            for row in rows[codes[rows] == its].tolist():
                yield key, catalogues.ids[row], 1


def _levels(values: NDArray[np.float64], size: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the values of relevance in a catalogue, and how many images have each; what is not listed has 0."""
    levels, counts = np.unique(values, return_counts=True)
    return np.append(levels, 0.0), np.append(counts, size - len(values))
