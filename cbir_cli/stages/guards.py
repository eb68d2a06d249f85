"""Which images may answer a query: guards against finding himself, and filters.

By default a query is not answered with himself: the same image, by the content of its file or by its id in the same
source; the same study; or another image of the same patient. A query that is the same image as one of the index is of
that one's patient and study, whatever it is called. Each level leaves out the finer ones too:

=========== ==========================================================================================================
``image``   the same file, or the same frame or slice of it; the same id in the same source
``study``   the same file, whatever frame or slice; the same study
``patient`` and other images of the same patient, and their studies
``source``  and all images of the same hospital or collection
=========== ==========================================================================================================

``only`` turns it round, for cross-examination: nothing but the same patient, study or series answers, or the patient's
earlier examinations (K. Wickstrøm et al., A clinically motivated self-supervised approach for content-based image
retrieval of CT liver images, 2022, section 7.3). Then the query's own study is left out, or within a study or series
the same image.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from cbir_cli import where_grammar
from cbir_cli.allowed import Allowed
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError, UsageError
from cbir_cli.records import MISSING
from cbir_cli.stages.relatives import Relatives, common, joined
from cbir_cli.where import TEXTS, evaluate, used

log = logging.getLogger("cbir")

LEVELS = ("none", "image", "study", "patient", "source")
"""What ``exclude`` may be, the coarsest last."""

ONLY = {"patient": "study", "earlier": "study", "study": "image", "series": "image"}
"""What ``only`` may be, and what is then left out."""

_SAID = {"study": "image or study", "patient": "image, study or patient", "source": "image, study, patient or source"}


def say(level: str, count: int, later: int) -> None:
    """Say how many results of the query's own were left out, and of how many queries the examination is not known."""
    if count:
        log.info("left out: %d results of the same %s", count, _SAID.get(level, "image"))
    if later:
        log.warning(
            "the examinations of %d queries are not in the index: all others of the patient count as earlier", later
        )


def warn(level: str, only: str | None, *, sources: Callable[[], bool], apart: Callable[[], bool]) -> None:
    """Say if what is asked for cannot be kept.

    Parameters
    ----------
    level, only
        As in ``Filters``.
    sources, apart : callable
        Whether sources are known on both sides; whether patients are, but hidden with different keys. Called only
        where it matters, since to know it takes time.
    """
    if level in ("none", "image") and only is None:
        return
    if level == "source" and not sources():
        log.warning("the source of the images is not known: those of the same source cannot be left out")
    if apart():
        log.warning(
            "patients of query and index were hidden with different keys: the same patient cannot be %s",
            "left out" if only is None else "found",
        )


def check_order(visits: Iterable[tuple[int, str]]) -> None:
    """Refuse examinations, each with its study, of which two have the same number.

    Raises
    ------
    ArtifactError
        They were counted apart.
    """
    counted = [examination for examination, _ in set(visits) if examination != MISSING]
    if len(set(counted)) < len(counted):
        raise ArtifactError(
            "two studies of a patient have the same number of examination: they were embedded from different sources, "
            "so their order is not known; embed them together"
        )


@dataclass(frozen=True)
class Filters:
    """What may answer, as the options say it.

    Attributes
    ----------
    where : str or None
        An expression over the item table, as ``where_grammar`` has it.
    exclude : str or None
        One of ``LEVELS``; None for ``patient``, or what ``only`` needs.
    only : str or None
        One of ``ONLY``.
    """

    where: str | None = None
    exclude: str | None = None
    only: str | None = None

    @property
    def level(self) -> str:
        """What is left out of the query's own."""
        return self.exclude or (ONLY[self.only] if self.only else "patient")

    def check(self, items: Items) -> None:
        """Refuse what cannot be, before anything is computed.

        Raises
        ------
        UsageError
            If the expression is none, names a column that the table does not have, or nothing could ever answer.
        """
        if self.where is not None:
            where_grammar.parse(self.where, items)
        if self.only is None:
            return
        coarsest = {"earlier": "patient", "series": "study"}.get(self.only, self.only)
        if LEVELS.index(self.level) >= LEVELS.index(coarsest):
            raise UsageError(f"--exclude-same {self.level} leaves nothing of --only-same {self.only}")
        needs = {"earlier": "examination", "series": "series"}.get(self.only)
        if needs and needs not in items and not (needs == "series" and (items.parts >= 0).any()):
            raise UsageError(
                f"--only-same {self.only}: the index has no column {needs}; images are DICOM files, or rows of a "
                f"manifest that has it, when it is embedded"
            )

    def rows(self, items: Items) -> ndarray | None:
        """Return the rows (M,) int64, ascending, for which the expression holds; None without one."""
        if self.where is None:
            return None
        tree = where_grammar.parse(self.where, items)
        columns = {
            name: items.stored("_index" if name == "id" else name) if name in TEXTS else items[name]
            for name in used(tree)
        }
        return np.flatnonzero(evaluate(tree, columns))


class Guard:
    """Says which rows of an index may answer each query, and counts what it kept away.

    Parameters
    ----------
    items : Items
        Of the index.
    queries : Items
    filters : Filters
    same_source : bool
        Whether an id names the same image in both.
    judged : collection of int
        Rows that may answer no query.
    """

    def __init__(
        self,
        items: Items,
        queries: Items,
        filters: Filters,
        *,
        same_source: bool,
        judged: Collection[int] = (),
    ) -> None:
        self._items, self._queries, self._filters = items, queries, filters
        self._same_source = same_source
        self._relatives = Relatives(items)
        self._where = filters.rows(items)
        self._judged = np.unique(np.array([*judged], dtype=np.int64))
        self._shared: dict[tuple[Any, int], tuple[ndarray, ndarray | None]] = {}
        self._count = self._later = 0
        if self._where is not None:
            log.info("--where: %d of %d images", len(self._where), items.count)
        self._warn()

    @property
    def free(self) -> bool:
        """Whether every row may answer every query."""
        return (
            self._filters.level == "none" and self._where is None and not self._filters.only and not len(self._judged)
        )

    def allowed(self, query: int, within: ndarray | None = None) -> Allowed:
        """Return which rows of the index may answer a query, among some rows (ascending) or all.

        Queries that share what may answer them share the array.
        """
        level, asked = self._filters.level, self._queries
        only = self._joined("where", self._where, within)
        if self._filters.only:
            only = self._joined(*self._only(query, self._filters.only), only)
        if level == "source":  # half of an index may be left out: an array for each source, not for each query
            before = self._size(only)
            only = self._joined(*self._elsewhere(query), only)
            self._count += before - self._size(only)
        own = self._relatives.of(asked, query, level, same_ids=self._same_source)
        self._count += len(own if only is None else common(own, only))
        return Allowed(only, joined([own, self._judged]))

    def say(self) -> None:
        """Say how many were kept away."""
        say(self._filters.level, self._count, self._later)
        if len(self._judged):
            log.info("left out: %d judged images", len(self._judged))

    def _joined(self, name: Any, rows: ndarray | None, others: ndarray | None) -> ndarray | None:
        """Return the rows that are in both, None being all; the same array for the same two."""
        if rows is None or others is None:
            return others if rows is None else rows
        key = name, id(others)
        if key not in self._shared:
            self._shared[key] = common(rows, others), others  # kept, so that no other array gets its number
        return self._shared[key][0]

    def _once(self, name: Any, find: Callable[[], ndarray]) -> ndarray:
        if (name, 0) not in self._shared:
            self._shared[name, 0] = find(), None
        return self._shared[name, 0][0]

    def _size(self, rows: ndarray | None) -> int:
        return self._items.count if rows is None else len(rows)

    def _elsewhere(self, query: int) -> tuple[Any, ndarray | None]:
        """Return the rows of other sources, and what they are called by; None where the query's is not known."""
        name = "elsewhere", self._relatives.values(self._queries, query, "source")

        def find() -> ndarray:
            others = np.ones(self._items.count, dtype=bool)
            others[self._relatives.having("source", name[1])] = False
            return np.flatnonzero(others)

        return name, self._once(name, find) if name[1] else None

    def _only(self, query: int, only: str) -> tuple[Any, ndarray]:
        """Return the rows of the same patient, study or series, and what they are called by."""
        kind = "patient" if only == "earlier" else only
        values = self._relatives.values(self._queries, query, kind)
        # The slices of one file are a series.
        files = _files(self._queries, query) if kind == "series" else ()
        before = self._examination(query) if only == "earlier" else None
        self._later += only == "earlier" and before is None
        name = only, values, files, before

        def find() -> ndarray:
            rows = joined([self._relatives.having(kind, values), self._relatives.having("content", files)])
            return rows if before is None else self._earlier(rows, before)

        return name, self._once(name, find)

    def _examination(self, query: int) -> int | None:
        """Return which examination of its patient the query is of, as the index counts them; None if it has it not."""
        studies = self._relatives.values(self._queries, query, "study")
        known = self._items["examination"][self._relatives.having("study", studies)]
        known = known[known != MISSING]
        return int(known.min()) if len(known) else None

    def _earlier(self, rows: ndarray, before: int) -> ndarray:
        """Return the rows of earlier examinations."""
        examinations, studies = self._items["examination"][rows], self._items.cells("study", rows)
        check_order(zip(examinations.tolist(), studies.tolist(), strict=True))
        return rows[(examinations != MISSING) & (examinations < before)]

    def _warn(self) -> None:
        tables = self._items, self._queries
        warn(
            self._filters.level,
            self._filters.only,
            sources=lambda: all(table.stated_anywhere("source") for table in tables),
            apart=lambda: (
                self._items.pseudonyms != self._queries.pseudonyms
                and all(table.stated_anywhere("patient") for table in tables)
            ),
        )


def _files(table: Items, row: int) -> tuple[str, ...]:
    """Return the content of an image's file, if that holds several."""
    content = tuple(table.cells("content", [row]).tolist()) if table.parts[row] >= 0 else ()
    return content if content != ("",) else ()
