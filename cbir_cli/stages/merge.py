"""Join the shards of an embedding or saliency run: the library behind ``cbir merge``."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from cbir_cli.artifacts import embeddings, files, saliency
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError
from cbir_cli.stages import joined


def merge(shards: Sequence[str], output: str) -> None:
    """Write the artifact that all shards together make, with the bytes of the run that was not sharded.

    Parameters
    ----------
    shards : sequence of str
        Paths, in any order.
    output : str

    Raises
    ------
    ArtifactError
        If a shard is missing or given twice, or they do not belong to one run.
    """
    with ExitStack() as stack:
        parts = [stack.enter_context(files.open_artifact(p, embeddings.KIND, saliency.KIND)) for p in shards]
        parts = _in_order(parts)
        first = parts[0]
        for part in parts[1:]:
            if part.kind != first.kind or part.history != first.history:
                raise ArtifactError(f"{part.name}: is not of the same run as {first.name}")
        if first.kind == embeddings.KIND:
            _embeddings(parts, output)
        else:
            _maps(parts, output)


def _in_order(parts: list[files.Artifact]) -> list[files.Artifact]:
    numbers: dict[int, files.Artifact] = {}
    count = 0
    for part in parts:
        shard = part.text("shard")
        if not shard:
            raise ArtifactError(f"{part.name}: is whole, not a shard")
        number, of = map(int, shard.split("/"))
        if count not in (0, of):
            raise ArtifactError(f"{part.name}: is shard {shard}, the others are of {count}")
        if number in numbers:
            raise ArtifactError(f"{part.name}: is shard {shard}, as is {numbers[number].name}")
        numbers[number], count = part, of
    missing = [str(i) for i in range(1, count + 1) if i not in numbers]
    if missing:
        raise ArtifactError(f"of {count} shards, {', '.join(missing)} are missing")
    return [numbers[i] for i in range(1, count + 1)]


def _embeddings(parts: Sequence[files.Artifact], output: str) -> None:
    read = [embeddings.read(part) for part in parts]
    if any(e.space.fingerprint != read[0].space.fingerprint for e in read):
        raise ArtifactError("the shards were made by different models")
    # A shard in which nobody states the task's label does not know that the source has it.
    targets = next((e.space.targets for e in read if e.space.targets), [])
    embeddings.write(
        output,
        _Stacked([e.vectors for e in read]),  # type: ignore[arg-type]
        _joined([e.items for e in read]),
        replace(read[0].space, targets=targets),
        logits=np.concatenate([e.logits for e in read if e.logits is not None]) if read[0].logits is not None else None,
        unreadable={key: reason for e in read for key, reason in e.unreadable.items()},
        history=read[0].history,
    )


def _maps(parts: Sequence[files.Artifact], output: str) -> None:
    read = [saliency.read(part) for part in parts]
    first = parts[0].file.attrs
    names = ("method", "parameters", "input", "target", "model", "model-space", "source", "reader")
    for part in read:
        if part.space != read[0].space:  # of one run by their histories, so this is what is left
            raise ArtifactError(f"{part.name}: its method was fitted to other images than that of {read[0].name}")
    saliency.write(
        output,
        _Stacked([m.maps for m in read]),  # type: ignore[arg-type]
        np.concatenate([m.scale for m in read]),
        _joined([m.items for m in read]),
        attributes={name: first[name] for name in names},
        fitted=read[0].fitted,
        uncertainty=_uncertainty(read),
        unreadable={key: reason for m in read for key, reason in m.unreadable.items()},
        history=read[0].history,
    )


def _uncertainty(read: Sequence[saliency.Maps]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return that of all shards; all have it, or none, as one method made them."""
    scales = [m.uncertainty_scale for m in read if m.uncertainty_scale is not None]
    if not scales:
        return None
    return _Stacked([m.uncertainty for m in read]), np.concatenate(scales)  # type: ignore[return-value]


class _Stacked:
    """Rows of several arrays or HDF5 datasets one after the other, read by slice and not all at once."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        cut = zip(self._parts, self._starts, strict=False)
        return np.concatenate([part[max(0, start - at) : max(0, stop - at)] for part, at in cut])


def _joined(tables: Sequence[Items]) -> Items:
    table = joined.join(tables, ["a shard"] * len(tables))
    if len(set(table.ids.tolist())) < len(table.ids):
        raise ArtifactError("an id is in two shards")
    return table
