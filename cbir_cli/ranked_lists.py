"""A run as arrays: the results of all queries, one list after the other.

Half a million results take tenths of a second in this form, and seconds as objects of one row each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cbir_cli.records import MISSING

Key = tuple[int | None, int | None, str]
"""A query: seed and set (None without a split table), and id."""


class Row(Protocol):
    """One result of one query, as ``artifacts.run.RunRow``."""

    @property
    def key(self) -> Key: ...  # noqa: D102
    @property
    def rank(self) -> int: ...  # noqa: D102
    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def distance(self) -> float: ...  # noqa: D102
    @property
    def query_labels(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def labels(self) -> Mapping[str, int]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class RankedLists:
    """The ranked lists of a run.

    Attributes
    ----------
    keys : list of Key, (Q,)
        The queries, in the order of the run.
    starts : ndarray (Q + 1,), int64
        Where the list of each query begins, and at last where the last one ends.
    names : list of str, (M,)
        Ids of all images that are results, each once.
    results : ndarray (R,), int64
        Which of the names each result is; the lists one after the other, each by rank.
    distances : ndarray (R,), float64
    cells : list of mapping of str to int
        Label cells of the run: the raw codes that are stated, by label.
    query_cells : ndarray (Q,), int64
        Which of the cells each query has.
    result_cells : ndarray (R,), int64
        Which of the cells each result has.
    """

    keys: list[Key]
    starts: NDArray[np.int64]
    names: list[str]
    results: NDArray[np.int64]
    distances: NDArray[np.float64]
    cells: list[Mapping[str, int]]
    query_cells: NDArray[np.int64]
    result_cells: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "RankedLists":
        """Arrange the rows of a run, which may come in any order."""
        numbers: dict[Key, int] = {}
        names: dict[str, int] = {}
        cells: dict[tuple[tuple[str, int], ...], int] = {}
        columns: list[tuple[int, int, int, float, int, int]] = []
        for row in rows:
            asked, answered = (tuple(labels.items()) for labels in (row.query_labels, row.labels))
            columns.append(
                (
                    numbers.setdefault(row.key, len(numbers)),
                    row.rank,
                    names.setdefault(row.id, len(names)),
                    row.distance,
                    cells.setdefault(asked, len(cells)),
                    cells.setdefault(answered, len(cells)),
                )
            )
        each = list(zip(*columns, strict=True)) or [()] * 6
        query, rank, name, distance, of_query, of_result = (np.array(column) for column in each)
        return cls.arranged(
            list(numbers), query, rank, list(names), name, distance, [dict(cell) for cell in cells], of_query, of_result
        )

    @classmethod
    def arranged(
        cls,
        keys: list[Key],
        query: NDArray[np.int64],
        rank: NDArray[np.int64],
        names: list[str],
        name: NDArray[np.int64],
        distance: NDArray[np.float64],
        cells: list[Mapping[str, int]],
        asked: NDArray[np.int64],
        answered: NDArray[np.int64],
    ) -> "RankedLists":
        """Sort columns (R,) of query, rank, name, distance and cells, as numbers, by query and rank."""
        query, rank = query.astype(np.int64), rank.astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=len(keys)))])
        columns = [np.asarray(column) for column in (name, distance, answered)]
        same = query[1:] == query[:-1]
        if not ((query[1:] > query[:-1]) | (same & (rank[1:] > rank[:-1]))).all():
            order = np.lexsort((rank, query))
            columns = [column[order] for column in columns]
        of_query = np.zeros(len(keys), np.int64)
        of_query[query] = asked
        return cls(
            keys,
            starts,
            names,
            columns[0].astype(np.int64),
            columns[1].astype(np.float64),
            cells,
            of_query,
            columns[2].astype(np.int64),
        )

    @cached_property
    def queries(self) -> list[str]:
        """Id of each query, (Q,)."""
        return [key[2] for key in self.keys]

    @cached_property
    def label_names(self) -> list[str]:
        """Labels that the run states anywhere, sorted."""
        return sorted({name for cell in self.cells for name in cell})

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """Which query each result answers, (R,)."""
        return np.repeat(np.arange(len(self.keys)), np.diff(self.starts))

    def codes(self, label: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Raw codes of a label for all queries (Q,) and all results (R,); ``MISSING`` where it is not stated."""
        table = np.array([cell.get(label, MISSING) for cell in self.cells], dtype=np.int64)
        return table[self.query_cells], table[self.result_cells]

    def of_names(self, values: Mapping[str, int], default: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What a mapping of ids has for all queries (Q,) and all results (R,)."""
        named = np.fromiter((values.get(name, default) for name in self.names), np.int64, len(self.names))
        asked = np.fromiter((values.get(name, default) for name in self.queries), np.int64, len(self.queries))
        return asked, named[self.results]

    def ids(self, query: int) -> list[str]:
        """Ids of the results of a query, best first."""
        return [self.names[place] for place in self.results[self.starts[query] : self.starts[query + 1]].tolist()]

    def far(self, query: int) -> NDArray[np.float64]:
        """Distances of the results of a query, best first."""
        return self.distances[self.starts[query] : self.starts[query + 1]]
