"""What goes into an index and into a search, checked; and queries with one filter, taken together."""

from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy import ndarray

from cbir_cli.allowed import Allowed, check
from cbir_cli.errors import ShapeError, UsageError
from cbir_cli.registry import unknown

Filter = Callable[[int], Allowed | None]
"""Takes the number of a query and returns which rows may answer it, None for all; called once for each, in order."""

_ALL = Allowed()


def check_vectors(vectors: ndarray, metric: str, metrics: Collection[str]) -> None:
    """Refuse what no index can be made of.

    Raises
    ------
    UsageError
        If the metric is none of the kind's.
    ShapeError
        If vectors are not (N, D) float32.
    """
    if metric not in metrics:
        raise unknown("metric", metric, metrics)
    if vectors.ndim != 2 or vectors.shape[1] == 0 or vectors.dtype != np.float32:
        raise ShapeError(f"expected vectors of shape (N, D) and type float32, found {vectors.shape} {vectors.dtype}")


def check_queries(queries: ndarray, k: int, width: int) -> None:
    """Refuse queries that are not (Q, width) float32, with ShapeError, and a k below 1, with UsageError."""
    if k < 1:
        raise UsageError(f"expected k of at least 1, found {k}")
    if queries.ndim != 2 or queries.shape[1] != width or queries.dtype != np.float32:
        raise ShapeError(
            f"expected queries of shape (Q, {width}) and type float32, found {queries.shape} {queries.dtype}"
        )


def together(
    queries: int, rows: int, allowed: Filter | None, most: int
) -> Iterator[tuple[slice, ndarray | None, list[ndarray]]]:
    """Yield consecutive queries that share the array of their filter, at most so many.

    Parameters
    ----------
    queries, rows : int
        How many there are of each.
    allowed : Filter or None
    most : int

    Yields
    ------
    slice, ndarray (M,) int64 or None, list of ndarray (E,) int64
        Which queries; the rows that may answer them all, None for every row; and of each the rows that may not.

    Raises
    ------
    ShapeError
        If a filter names a row that does not exist, or its rows are out of order.
    """
    start, only, without = 0, None, []  # type: int, ndarray | None, list[ndarray]
    for query in range(queries):
        one = (allowed(query) if allowed else None) or _ALL
        check(one.without, rows)
        if without and (one.only is not only or len(without) == most):
            yield slice(start, query), only, without
            start, without = query, []
        if one.only is not None and one.only is not only:
            check(one.only, rows)
        only = one.only
        without.append(one.without)
    if without:
        yield slice(start, queries), only, without
