"""Images of an index that a pair is compared with, for explainers that ask what sets it apart from others."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import SourceError
from cbir_cli.records import NEGATIVE, POSITIVE


def needed(method: str, parameters: Mapping[str, Any]) -> int:
    """Return how many negatives a pair needs: what the method's ``NEGATIVES`` says of its variant, else none."""
    if method == "none":
        return 0
    known = getattr(registry.load("similarity", method), "NEGATIVES", {})
    return int(known.get(parameters.get("variant"), 0))


def draw(items: Items, targets: Sequence[str], row: int, query: str, count: int) -> list[int]:
    """Return the rows of images that have another label than a result, chosen by chance and always the same.

    An image has another label where it is positive and the result negative in one of the targets, or the other way
    round. What is drawn depends on the query, the result and the candidates, not on other pairs.

    Parameters
    ----------
    items : Items
        Of the index.
    targets : sequence of str
        Labels that count; empty for all that the table has.
    row : int
        Of the result. Images of its patient are not drawn.
    query : str
        Id of the query, which is not drawn either.
    count : int

    Raises
    ------
    SourceError
        If there are fewer such images.
    """
    if not count:
        return []
    other = np.zeros(len(items.ids), dtype=bool)
    for name in targets or items.label_names:
        codes = items.label(name)
        other |= np.isin(codes, (POSITIVE, NEGATIVE)) & (codes != codes[row]) & (codes[row] in (POSITIVE, NEGATIVE))
    patients = items["patient"]
    other &= (items.ids != query) & ((patients != patients[row]) | (patients == ""))
    if other.sum() < count:
        raise SourceError(
            f"{items.ids[row]}: the variant compares a pair with {count} images of another label, and the index has "
            f"{other.sum()}; index images with labels, or take --set variant=siamese"
        )

    def chance(candidate: int) -> bytes:
        return hashlib.sha256(f"{query}\0{items.ids[row]}\0{items.ids[candidate]}".encode()).digest()

    return sorted(np.flatnonzero(other).tolist(), key=chance)[:count]
