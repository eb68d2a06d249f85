"""What an index or embedding says of the images of a run: labels, patients, groups, and who was kept from whom."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cbir_cli import groups
from cbir_cli.artifacts import embeddings, files
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import SourceError
from cbir_cli.stages.relatives import NO_ROWS, Relatives


class Known:
    """The images of an index or embedding while its file is open.

    Parameters
    ----------
    items : Items
        The catalogue.
    targets : list of str
        Labels of the model's task.
    """

    def __init__(self, items: Items, targets: list[str]) -> None:
        self.items, self.targets = items, targets
        self.ids: list[str] = items.ids.tolist()
        self.labels: Mapping[str, Mapping[str, int]] = _Columns(items, self.ids)
        self._relatives = Relatives(items)

    @cached_property
    def places(self) -> dict[str, int]:
        """Row of each image."""
        return {one: row for row, one in enumerate(self.ids)}

    @cached_property
    def patients(self) -> dict[str, str]:
        """Patient of each image, as far as known."""
        return {one: patient for one, patient in self._text("patient").items() if patient}

    @cached_property
    def seen(self) -> dict[str, str]:
        """The network's set of each image's patient."""
        return self._text("seen")

    def check(self, results: Sequence[str]) -> None:
        """Refuse results of another index: the counts of relevant images would be those of the wrong catalogue.

        Raises
        ------
        SourceError
            If a result is not there.
        """
        if strange := [one for one in results if one not in self.places]:
            few = f"{len(strange):,} of {len(results):,} images that were found"
            raise SourceError(f"{few} are not in --items, such as {strange[0]!r}: it names the index that was searched")

    def own(self, query: str) -> NDArray[np.int64]:
        """Return the rows that are kept from a query: himself and, as ``cbir query`` has it, his study and patient."""
        row = self.places.get(query)
        if row is None:
            return NO_ROWS
        found = self._relatives.of(self.items, row, "patient", same_ids=False)
        return found if row in found else np.append(found, row)

    def groups(self, by: str) -> dict[str, str]:
        """Return which view, source, sex or decade of age each image is of."""
        if by == "age":
            ages, places = np.unique(self.items["age"], return_inverse=True)
            bands = [groups.age_band(age) for age in ages.tolist()]
            return {one: bands[place] for one, place in zip(self.ids, places.tolist(), strict=True)}
        return self._text(by)

    def _text(self, name: str) -> dict[str, str]:
        return dict(zip(self.ids, self.items[name].tolist(), strict=True))


class _Columns(Mapping[str, Mapping[str, int]]):
    """Labels by name, each read when it is first asked for: the raw code of every image."""

    def __init__(self, items: Items, ids: list[str]) -> None:
        self._items, self._ids = items, ids
        self._read: dict[str, dict[str, int]] = {}

    def __getitem__(self, name: str) -> Mapping[str, int]:
        if name not in self._items.label_names:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = dict(zip(self._ids, self._items.label(name).tolist(), strict=True))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items.label_names)

    def __len__(self) -> int:
        return len(self._items.label_names)


@contextmanager
def known_items(name: str | None) -> Iterator[Known | None]:
    """Open an index or embedding that knows the images of a run; None for none."""
    with ExitStack() as stack:
        if name is None:
            yield None
            return
        artifact = stack.enter_context(files.open_artifact(name, embeddings.KIND, "cbir-index"))
        stored = embeddings.read(artifact)
        yield Known(stored.items, list(stored.space.targets))
