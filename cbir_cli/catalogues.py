"""What each query of a run could have been answered with: how many images, and how many of each class."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_cli.errors import UsageError
from cbir_cli.ranked_lists import Key
from cbir_cli.splits import SplitRow

Own = Callable[[str], NDArray[np.int64]]
"""Rows of the catalogue that are kept from a query: himself, and whatever ``cbir query`` left out as his own."""


class Catalogues:
    """The catalogues of queries.

    Parameters
    ----------
    ids : sequence of str, (N,)
        Images of the index, or of all catalogues.
    own : callable, optional
        The rows (M,) that are kept from a query, by its id; each once. Only the query itself by default.
    split : iterable of SplitRow, optional
        Split table of a run with seeds and sets: the catalogue of its set counts for a query, else all images.

    Raises
    ------
    UsageError
        If a catalogue of the split table holds an image that is not among the ids.
    """

    def __init__(self, ids: Sequence[str], own: Own | None = None, split: Iterable[SplitRow] | None = None) -> None:
        self.ids = list(ids)
        places = {one: row for row, one in enumerate(self.ids)}
        self._own = own or (lambda query: np.array([places[query]] if query in places else [], np.int64))
        self._split = split is not None
        self._pools: dict[tuple[int | None, int | None], NDArray[np.bool_]] = {}
        rows: dict[tuple[int | None, int | None], list[int]] = defaultdict(list)
        for image in split or ():
            if image.role == "catalogue":
                if image.id not in places:
                    raise UsageError(
                        f"nothing says what label the catalogue image {image.id!r} has: give --items INDEX"
                    )
                rows[image.seed, image.set].append(places[image.id])
        if split is None:
            rows[None, None] = list(range(len(self.ids)))
        for place, members in rows.items():
            self._pools[place] = np.zeros(len(self.ids), dtype=bool)
            self._pools[place][members] = True
        self._whole: dict[tuple[int | None, int | None], NDArray[np.int64]] = {}
        self._codes: NDArray[np.int64] | None = None

    def rows(self, key: Key) -> NDArray[np.int64]:
        """Return the rows (M,), ascending, that may answer a query.

        Raises
        ------
        UsageError
            If its set is not in the split table, or there is none and the query has a set.
        """
        free = self._pool(key).copy()
        free[self._own(key[2])] = False
        return np.flatnonzero(free)

    def count(self, key: Key, codes: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        """Count the images of each code in the catalogue of a query.

        Parameters
        ----------
        key : Key
        codes : ndarray (N,), int64
            From 0 to ``number - 1``, for every image.
        number : int

        Returns
        -------
        ndarray (number,), int64

        Raises
        ------
        UsageError
            As ``rows``.
        """
        pool, place = self._pool(key), key[:2]
        if codes is not self._codes:
            self._codes, self._whole = codes, {}
        if place not in self._whole:
            self._whole[place] = np.bincount(codes[pool], minlength=number)
        own = self._own(key[2])
        return self._whole[place] - np.bincount(codes[own[pool[own]]], minlength=number)

    def _pool(self, key: Key) -> NDArray[np.bool_]:
        seed, number, query = key
        if (seed, number) not in self._pools:
            found = f"set {number} of seed {seed} is not in it" if self._split else "there is none"
            raise UsageError(f"the catalogue of query {query!r} comes from a split table (--split), but {found}")
        return self._pools[seed, number]


def by_patient(ids: Sequence[str], patients: Mapping[str, str]) -> Own:
    """Return what is kept from each query where its own is all of its patient; himself where the patient is not known.

    Parameters
    ----------
    ids : sequence of str, (N,)
        Images of the catalogue.
    patients : mapping of str to str
        Patient of each image, queries included, as far as known.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(ids):
        rows[_owner(one, patients)].append(row)
    return lambda query: np.array(rows.get(_owner(query, patients), []), dtype=np.int64)


def _owner(image: str, patients: Mapping[str, str]) -> str:
    patient = patients.get(image)
    return f"patient {patient}" if patient else f"image {image}"
