"""One answer from several indexes: the library behind ``cbir query --with``.

Each index is asked for its own nearest, with the same filters; the lists are then made one by a method of ``fusion/``.
Images are matched by id. What is in one index only can be found there only, and counts as not found by the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError, UsageError
from cbir_cli.records import MISSING
from cbir_cli.splits import SplitRow
from cbir_cli.stages.query import Answer, Found, Part, Queries, Wanted, finish, search_part
from cbir_cli.where import TEXTS

_COLUMNS = ("examination", "study", "series", "part", "position")
"""What results are put in order by; besides, their labels are shown."""


@dataclass(frozen=True)
class How:
    """How lists are made one.

    Attributes
    ----------
    method : str
        A module of ``fusion/``.
    weights : sequence of float
        Of the indexes.
    depth : int
        How many results of each index are considered.
    parameters : mapping
        Of the method.
    """

    method: str
    weights: Sequence[float]
    depth: int
    parameters: Mapping[str, Any]


def chosen(method: str, count: int, values: Mapping[str, Any]) -> How:
    """Return how lists are made one; ``values`` has all that ``defaults`` has, and may have more.

    Raises
    ------
    UsageError
        If the weights are not those of so many indexes, or the depth is none.
    """
    known = {key: values[key] for key in defaults(method, count)}
    weights, depth = known.pop("weights"), known.pop("depth")
    if len(weights) != count or not all(0 < weight < np.inf for weight in weights):
        raise UsageError(f"weights: expected {count} numbers above 0, one for each index, found {len(weights)}")
    if depth < 1:
        raise UsageError(f"depth={depth}: expected at least 1")
    return How(method, weights, depth, known)


def defaults(method: str, count: int) -> dict[str, Any]:
    """Return what can be set, for so many indexes."""
    own = registry.parameters(registry.load("fusion", method).fuse)
    return {**own, "weights": (1.0,) * count, "depth": 1000}


def aligned(queries: Queries, first: Queries, name: str) -> Queries:
    """Return the queries in the order of those of the first index, found by their ids.

    Raises
    ------
    ArtifactError
        If one is not there; ``name`` says where.
    """
    places = {key: row for row, key in enumerate(queries.items.ids.tolist())}
    wanted = first.items.ids.tolist()
    if lacking := [key for key in wanted if key not in places]:
        raise ArtifactError(f"{name}: {len(lacking)} of {len(wanted)} queries are not there, such as {lacking[0]!r}")
    return queries.take([places[key] for key in wanted])


def search_all(
    parts: Sequence[Part], how: How, k: int | None, wanted: Wanted, split: Sequence[SplitRow] | None = None
) -> Found:
    """Find the k best images of each query in several indexes together.

    Parameters
    ----------
    parts : sequence of Part
        The queries are the same, in the same order.
    how : How
    k : int or None
        None for all that are found.
    wanted : Wanted
        Filters hold in each index; the largest distance and the order are those of the list that comes out.
    split : sequence of SplitRow, optional
        Each query is ranked within its own catalogue.
    """
    filters = Wanted(wanted.filters)
    lists = [search_part(part, how.depth, filters, split).answers for part in parts]
    items, numbers = _together(parts, lists)
    method = registry.load("fusion", how.method)
    answers = []
    for same in zip(*lists, strict=True):
        found = [(number[one.rows], one.distances) for number, one in zip(numbers, same, strict=True)]
        rows, distances = method.fuse(found, how.weights, **how.parameters)
        answers.append(Answer(same[0].query, rows[:k], distances[:k], same[0].seed, same[0].set))
    targets = list(dict.fromkeys(name for part in parts for name in part.index.embedding.space.targets))
    known = [name for name in targets if name in items.label_names]
    return Found(items, known, finish(items, answers, wanted))


def _together(parts: Sequence[Part], lists: Sequence[Sequence[Answer]]) -> tuple[Items, list[np.ndarray]]:
    """Return the table of all that was found, and for each index the number in it of each of its rows."""
    tables = [part.index.embedding.items for part in parts]
    rows = [np.unique(np.concatenate([np.empty(0, np.int64), *(one.rows for one in answers)])) for answers in lists]
    ids = np.unique(np.concatenate([table.cells("_index", found) for table, found in zip(tables, rows, strict=True)]))
    places = [np.searchsorted(ids, table.cells("_index", found)) for table, found in zip(tables, rows, strict=True)]
    numbers = []
    for table, found, place in zip(tables, rows, places, strict=True):
        number = np.full(table.count, -1, np.int64)
        number[found] = place
        numbers.append(number)
    names = dict.fromkeys(name for table in tables for name in table if name in _COLUMNS or name.startswith("label:"))
    columns: dict[str, np.ndarray] = {}
    for name in names:
        have = [i for i, table in enumerate(tables) if name in table]
        some = {i: tables[i].cells(name, rows[i]) if name in TEXTS else tables[i][name][rows[i]] for i in have}
        column = np.full(len(ids), "" if name in TEXTS else MISSING, np.result_type(*some.values()))
        for i in reversed(have):  # the first index that has an image says what is known of it
            column[places[i]] = some[i]
        columns[name] = column
    return Items(ids, columns, tables[0].pseudonyms), numbers
