"""Images of an index that a pair is compared with, for explainers that ask what sets it apart from others.

A negative is an image of another label than the query: similarity attention multiplies by how far the negative lies
from the query. Where nothing is stated of the query it is one of another label than the result. It is neither the query
nor the result, and not of the patient or study of either, as in retrieval.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import SourceError
from cbir_cli.records import NEGATIVE, POSITIVE
from cbir_cli.stages.relatives import Relatives

_STATED = (POSITIVE, NEGATIVE)


def needed(method: str, parameters: Mapping[str, Any]) -> int:
    """Return how many negatives a pair needs: what the method's ``NEGATIVES`` says of its variant, else none."""
    known = getattr(registry.load("similarity", method), "NEGATIVES", {})
    return int(known.get(parameters.get("variant"), 0))


class Negatives:
    """Draws negatives for pairs of some queries and results.

    An image has another label than a second one where it is positive and that one negative in one of the labels that
    the index is about, or the other way round.

    Parameters
    ----------
    index : Index
    queries, results : Items
    same_ids : (bool, bool)
        Whether an id of the queries, and of the results, names the same image in the index.
    """

    def __init__(self, index: Index, queries: Items, results: Items, *, same_ids: tuple[bool, bool]) -> None:
        self._items, space = index.embedding.items, index.embedding.space
        self._queries, self._results, self._same_ids = queries, results, same_ids
        self._relatives = Relatives(self._items)
        self._labels = [name for name in space.targets or self._items.label_names if name in self._items.label_names]
        self._hashes = np.array([_hash(key) for key in self._items.ids.tolist()], np.uint64)
        # What is asked of a query is asked for each of its results, and the other way round.
        self._of_query, self._of_result = lru_cache(8)(self._own), lru_cache(64)(self._own)

    def draw(self, query: int, result: int, count: int) -> list[int]:
        """Return the rows of the index that a pair is compared with, chosen by chance and always the same.

        What is drawn depends on the query, the result and the candidates, not on other pairs.

        Parameters
        ----------
        query, result : int
            Rows of the two tables.
        count : int

        Raises
        ------
        SourceError
            If there are fewer such images.
        """
        of_query, of_result = self._of_query(True, query), self._of_result(False, result)
        other = of_query[1] if of_query[1] is not None else of_result[1]
        may = np.zeros(len(self._items.ids), bool) if other is None else other & ~(of_query[0] | of_result[0])
        rows = np.flatnonzero(may)
        if len(rows) < count:
            raise SourceError(
                f"{self._queries.ids[query]}: the variant compares a pair with {count} images of another label and "
                f"another patient, and the index has {len(rows)}; index images with labels, or take --set "
                "variant=siamese"
            )
        pair = np.uint64(_hash(f"{self._queries.ids[query]}\0{self._results.ids[result]}"))
        chance = _mixed(self._hashes[rows] ^ pair)
        first = np.argpartition(chance, count - 1)[:count]
        return rows[first[np.argsort(chance[first])]].tolist()

    def _own(self, of_query: bool, row: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return which images of the index are an image's own, and which have another label: None if nothing says."""
        table = self._queries if of_query else self._results
        own = np.zeros(self._items.count, bool)
        own[self._relatives.of(table, row, "patient", same_ids=self._same_ids[0 if of_query else 1])] = True
        known = [name for name in self._labels if name in table.label_names and table.label(name)[row] in _STATED]
        if not known:
            return own, None
        other = np.zeros(len(own), bool)
        for name in known:
            codes = self._items.label(name)
            other |= np.isin(codes, _STATED) & (codes != table.label(name)[row])
        return own, other


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return 64-bit numbers of which each depends on all bits of its own (the end of SplitMix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))
