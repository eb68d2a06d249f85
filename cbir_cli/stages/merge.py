"""Join the shards of an embedding or saliency run: the library behind ``cbir merge``.

Shards are opened one after the other, so there may be more of them than files that a process may have open. Vectors
and maps go through memory a block at a time; the item tables are joined in it.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.artifacts import embeddings, files, saliency, virtual
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError, UsageError
from cbir_cli.stages import joined

log = logging.getLogger("cbir")


@dataclass(frozen=True)
class _Part:
    """A shard: its name as typed, where it can be opened, and what tells whether it belongs to the others."""

    name: str
    path: str
    kind: str
    fingerprint: str
    history: list[dict[str, Any]]
    number: int
    of: int


def merge(shards: Sequence[str], output: str, *, linked: bool = False) -> None:
    """Write the artifact that all shards together make, with the bytes of the run that was not sharded.

    Parameters
    ----------
    shards : sequence of str
        Paths, in any order.
    output : str
    linked : bool
        The vectors of an embedding stay in the shards, and the artifact says where. A pipe gets a copy all the same.

    Raises
    ------
    ArtifactError
        If a shard is missing or given twice, they do not belong to one run, or a shard to be linked does not lie in
        the folder of ``output`` or below it.
    UsageError
        If shards to be linked are maps, or come through a pipe.
    """
    with files.spooled(shards) as spools:
        parts = _in_order([_part(name, spools.get(name, name)) for name in shards])
        first = parts[0]
        for part in parts[1:]:
            if part.kind != first.kind or part.history != first.history:
                raise ArtifactError(f"{part.name}: is not of the same run as {first.name}")
        if linked and (output == files.STDIO or files.is_device(Path(output))):
            log.info("a pipe does not carry shards: it gets a copy of their vectors")
            linked = False
        if linked and first.kind != embeddings.KIND:
            raise UsageError("--virtual is for embeddings; maps are copied: merge them without it")
        if linked and spools:
            raise UsageError("--virtual: vectors cannot stay in a pipe: name the shards as files")
        if first.kind == embeddings.KIND:
            _embeddings(parts, output, linked=linked)
        else:
            _maps(parts, output)


def _part(name: str, path: str) -> _Part:
    with files.open_artifact(path, embeddings.KIND, saliency.KIND, name=name) as artifact:
        shard = artifact.text("shard")
        if not shard:
            raise ArtifactError(f"{artifact.name}: is whole, not a shard")
        with files.reading(artifact.name):
            number, of = map(int, shard.split("/"))
            if not 1 <= number <= of:
                raise ValueError(f"there is no shard {shard}")
        return _Part(artifact.name, path, artifact.kind, artifact.fingerprint, artifact.history, number, of)


def _in_order(parts: Sequence[_Part]) -> list[_Part]:
    numbers: dict[int, _Part] = {}
    count = 0
    for part in parts:
        if count not in (0, part.of):
            raise ArtifactError(f"{part.name}: is shard {part.number}/{part.of}, the others are of {count}")
        if part.number in numbers:
            raise ArtifactError(f"{part.name}: is shard {part.number}/{part.of}, as is {numbers[part.number].name}")
        numbers[part.number], count = part, part.of
    missing = [str(i) for i in range(1, count + 1) if i not in numbers]
    if missing:
        raise ArtifactError(f"of {count} shards, {', '.join(missing)} are missing")
    return [numbers[i] for i in range(1, count + 1)]


@contextmanager
def _again(part: _Part) -> Iterator[files.Artifact]:
    """Open a shard a second time, now to read it."""
    with files.open_artifact(part.path, part.kind, name=part.name) as artifact:
        if artifact.fingerprint != part.fingerprint:
            raise ArtifactError(f"{part.name}: was changed while it was read")
        yield artifact


def _embeddings(parts: Sequence[_Part], output: str, *, linked: bool) -> None:
    shards, tables, logits, spaces = [], [], [], []
    unreadable: dict[str, str] = {}
    for part in parts:
        name = virtual.relative(part.path, output) if linked else part.name
        with _again(part) as artifact:
            read = embeddings.read(artifact)
            shards.append(virtual.shard_of(artifact.file, part.path, name))
            tables.append(read.items.take(np.arange(len(read.items.ids))))
            logits.append(None if read.logits is None else np.array(read.logits))
        spaces.append(read.space)
        unreadable |= read.unreadable
    if len({space.fingerprint for space in spaces}) > 1 or len({shard.width for shard in shards}) > 1:
        raise ArtifactError("the shards were made by different models")
    # A shard in which nobody states the task's label does not know that the source has it.
    targets = next((space.targets for space in spaces if space.targets), [])
    with files.create(output, embeddings.KIND, parts[0].history) as file:
        embeddings.write_body(
            file,
            virtual.Rows(shards),  # type: ignore[arg-type]
            _joined(tables),
            replace(spaces[0], targets=targets),
            logits=_all(logits),
            unreadable=unreadable,
            linked=linked,
        )


def _maps(parts: Sequence[_Part], output: str) -> None:
    names = ("method", "parameters", "input", "target", "model", "model-space", "source", "reader")
    attributes: dict[str, Any] = {}
    read: list[saliency.Maps] = []
    for part in parts:
        with _again(part) as artifact:
            maps = saliency.read(artifact)
            attributes = attributes or {name: artifact.file.attrs[name] for name in names}
            read.append(replace(maps, items=maps.items.take(np.arange(len(maps.items.ids))), maps=maps.maps.shape))
        if maps.space != read[0].space:  # of one run by their histories, so this is what is left
            raise ArtifactError(f"{part.name}: its method was fitted to other images than that of {read[0].name}")
    sure = _all([maps.uncertainty_scale for maps in read])
    shapes = [maps.maps for maps in read]
    with (
        closing(_Shards(parts, "maps", shapes)) as stack,
        closing(_Shards(parts, "uncertainty", [(shape[0], *shape[-2:]) for shape in shapes])) as other,
    ):
        saliency.write(
            output,
            stack,  # type: ignore[arg-type]
            np.concatenate([maps.scale for maps in read]),
            _joined([maps.items for maps in read]),
            attributes=attributes,
            fitted=read[0].fitted,
            uncertainty=None if sure is None else (other, sure),  # type: ignore[arg-type]
            unreadable={key: reason for maps in read for key, reason in maps.unreadable.items()},
            history=parts[0].history,
        )


def _all(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return what all shards have, or None have, as one model or method made them."""
    present = [array for array in arrays if array is not None]
    return np.concatenate(present) if present else None


class _Shards:
    """Rows of a dataset of several shards, one after the other, read by slice; one file is open at a time."""

    def __init__(self, parts: Sequence[_Part], name: str, shapes: Sequence[tuple[int, ...]]) -> None:
        self._parts = parts
        self._name = name
        self._starts = np.cumsum([0, *(shape[0] for shape in shapes)])
        self.shape = (int(self._starts[-1]), *shapes[0][1:])
        self._opened = ExitStack()
        self._at = -1

    def close(self) -> None:
        """Close the shard that is open."""
        self._opened.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        values = np.empty((stop - start, *self.shape[1:]), np.float16)
        first, last = np.searchsorted(self._starts, [start, stop - 1], "right") - 1
        for number in range(first, last + 1):
            at = self._starts[number]
            low, high = max(start, at), min(stop, self._starts[number + 1])
            if number != self._at:
                self._opened.close()
                self._file = self._opened.enter_context(_again(self._parts[number])).file
                self._at = number
            values[low - start : high - start] = self._file[self._name][low - at : high - at]
        return values


def _joined(tables: Sequence[Items]) -> Items:
    table = joined.join(tables, ["a shard"] * len(tables))
    if len(set(table.ids.tolist())) < len(table.ids):
        raise ArtifactError("an id is in two shards")
    return table
