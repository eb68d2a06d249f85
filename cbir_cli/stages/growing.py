"""Catalogues that grow and shrink: the library behind ``cbir index --add``, ``--remove`` and ``--compact``.

Images are removed first and added then, so that one call replaces an image. An id stays with its vector: rows are only
ever chosen together with all that is known of them. The result is that of a new index of the same images, but for the
kinds that are slow to build, which keep what they were built from: their payload says in ``rows`` which row each of its
vectors has now, -1 for one that is gone, and images that it does not name are searched one by one until the index is
compacted.
"""

import logging
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cbir_cli.artifacts import files
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.errors import ArtifactError, SourceError
from cbir_cli.stages import joined

log = logging.getLogger("cbir")

ROWS = "rows"
"""The part of a payload that tells the rows of the vectors that it was built from."""
_SHOWN = 5
_TAIL = 0.02
"""Share of all images that are searched one by one from which on a new build is advised: at 377,110 vectors these
cost as much as the search of a graph."""
_GONE = 0.2
"""Share of what a payload was built from that is gone: so much of every search finds nothing."""


@dataclass(frozen=True)
class Changes:
    """What is to become of an index, as the options say it.

    Attributes
    ----------
    add : tuple of str
        Artifacts whose images are put in.
    remove : str or None
        List of ids that are taken out; see ``read_ids``.
    compact : bool
        Build anew.
    """

    add: tuple[str, ...] = ()
    remove: str | None = None
    compact: bool = False

    def __bool__(self) -> bool:
        return bool(self.add or self.compact or self.remove is not None)


@dataclass(frozen=True)
class Grown:
    """What a catalogue has become.

    Attributes
    ----------
    embedding : Embedding
        Of what has stayed and come; vectors are read when they are asked for.
    places : ndarray (N,), int64
        Where in the new index each row of the old is, -1 for one that is gone.
    counts : dict of str to int
        Images ``removed``, ``added``, and passed over as ``there`` already.
    """

    embedding: Embedding
    places: np.ndarray
    counts: dict[str, int]


def read_ids(source: str) -> list[str]:
    """Return the ids of a list, one a line, from a file or, as ``-``, from standard input; empty lines do not count.

    Raises
    ------
    SourceError
        If it is not text.
    """
    text = sys.stdin.buffer.read() if source == files.STDIO else Path(source).read_bytes()
    try:
        lines = text.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"{files.spelt(source)}: expected ids, one a line, found no UTF-8 text") from error
    return list(dict.fromkeys(line for line in (line.rstrip("\r") for line in lines) if line))


def missing(base: Embedding, remove: Iterable[str], name: str) -> int:
    """Return how many of some ids a catalogue does not have, and name the first of them."""
    there = set(base.items.ids.tolist())
    absent = [key for key in remove if key not in there]
    if absent:
        what = "id is" if len(absent) == 1 else "ids are"
        log.warning("%s: %d %s not in %s: %s", files.spelt(name), len(absent), what, base.name, _few(absent))
    return len(absent)


def grow(base: Embedding, added: Sequence[Embedding], remove: Collection[str]) -> Grown:
    """Take images out of a catalogue, and put others in.

    An image that is there already is passed over and named, if its file is the same. The same file under another id is
    named and kept.

    Parameters
    ----------
    base : Embedding
        The catalogue; of an index or not.
    added : sequence of Embedding
    remove : collection of str
        Ids; those that the catalogue does not have do not matter.

    Raises
    ------
    ArtifactError
        If the vectors are of different models, patients were hidden with different keys, or an id is there already
        with another image.
    """
    for part in added:
        _check_space(base, part)
    wanted = set(remove)
    keep = np.array([key not in wanted for key in base.items.ids.tolist()], dtype=bool)
    everything = [base, *added]
    table = joined.join([part.items for part in everything], [part.name for part in everything])
    count = len(table.ids)
    vectors = joined.Stacked([part.vectors for part in everything], np.arange(count))
    starts = np.cumsum([0, *(len(part.items.ids) for part in everything)])
    rows = dict(zip(base.items.ids[keep].tolist(), np.flatnonzero(keep).tolist(), strict=True))
    skipped = 0
    for start, part in zip(starts[1:].tolist(), added, strict=False):
        new = _new(part, start, rows, table, vectors)
        _name_copies(table, rows, new, part.name)
        rows |= new
        skipped += len(part.items.ids) - len(new)
    chosen = np.array(list(rows.values()), dtype=np.int64)
    places = np.full(count, -1, dtype=np.int64)
    places[chosen[np.argsort(table.ids[chosen], kind="stable")]] = np.arange(len(chosen))
    there = int(keep.sum())
    log.info("removed %d, added %d: %d images", len(keep) - there, len(chosen) - there, len(chosen))
    return Grown(
        _embedding(everything, table, vectors.shape[1], chosen),
        places[: len(keep)],
        {"removed": len(keep) - there, "added": len(chosen) - there, "there": skipped},
    )


def payload(index: Index, grown: Grown) -> dict[str, np.ndarray] | None:
    """Return the payload of a grown index as it is kept, or None where the kind is built anew.

    Says when building anew is worth its time.

    Raises
    ------
    ArtifactError
        If the payload names rows that the index does not have.
    """
    rows = index.payload.get(ROWS)
    if rows is None:
        return None
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype != np.int64 or (rows >= len(grown.places)).any():
        raise ArtifactError(f"{index.embedding.name}: damaged: its payload names rows that it does not have")
    moved = np.full(len(rows), -1, dtype=np.int64)
    moved[rows >= 0] = grown.places[rows[rows >= 0]]
    tail, gone = tail_and_gone(moved, len(grown.embedding.items.ids))
    if tail > _TAIL * max(1, len(grown.embedding.items.ids)) or gone > _GONE * max(1, len(moved)):
        log.info(
            "%d images were added since the %s index was built and are searched one by one, %d are gone: "
            "--compact builds it anew",
            *(tail, index.kind, gone),
        )
    return {**index.payload, ROWS: moved}


def tail_and_gone(rows: np.ndarray, count: int) -> tuple[int, int]:
    """Return how many of ``count`` images a payload was not built from, and how many of its own are gone."""
    here = int((rows >= 0).sum())
    return count - here, len(rows) - here


def _embedding(everything: Sequence[Embedding], table: Items, width: int, chosen: np.ndarray) -> Embedding:
    """Return some rows of several embeddings as one: the first says what they mean."""
    base = everything[0]
    for part in everything[1:]:
        if part.space.source != base.space.source:
            log.warning(
                "%s: its images come from %r, those of the catalogue from %r: cbir explain finds images below one "
                "folder only (--root)",
                *(part.name, part.space.source, base.space.source),
            )
    logits = [part.logits for part in everything if part.logits is not None]
    alike = len(logits) == len(everything) and len({values.shape[1] for values in logits}) == 1
    if logits and not alike:
        log.warning("logits are left out: not every input has them")
    here = set(table.ids[chosen].tolist())
    return Embedding(
        # What has no rows has to be an array: nothing else can be handed to a backend then.
        vectors=joined.Stacked([part.vectors for part in everything], chosen)  # type: ignore[arg-type]
        if len(chosen)
        else np.empty((0, width), np.float32),
        items=table.take(chosen),
        space=replace(base.space, targets=next((p.space.targets for p in everything if p.space.targets), [])),
        logits=np.concatenate(logits)[chosen] if alike and logits else None,
        unreadable={k: why for part in everything for k, why in part.unreadable.items() if k not in here},
        fingerprint=base.fingerprint,
        history=base.history,
        name=base.name,
    )


def _check_space(base: Embedding, part: Embedding) -> None:
    here, there = part.space, base.space
    if here.fingerprint != there.fingerprint or part.vectors.shape[1:] != base.vectors.shape[1:]:
        raise ArtifactError(f"{part.name}: embedded by {here.told}, {base.name} by {there.told}")


def _same_image(table: Items, vectors: joined.Stacked, row: int, other: int) -> bool:
    """Say whether two rows are of one file; where that is not known, whether their vectors are the same."""
    first, second = (str(table["content"][i]) for i in (row, other))
    if first and second:
        return first == second
    one, two = vectors[np.array([row, other])]
    return bool((one == two).all())


def _new(part: Embedding, start: int, rows: dict[str, int], table: Items, vectors: joined.Stacked) -> dict[str, int]:
    """Return the rows of the images of a part that are not among ``rows``, by id; its first row is ``start``."""
    new, there = {}, []
    for row, key in enumerate(part.items.ids.tolist(), start=start):
        if key not in rows:
            new[key] = row
        elif _same_image(table, vectors, rows[key], row):
            there.append(key)
        else:
            raise ArtifactError(
                f"{part.name}: {key!r} is in the catalogue already, with another image; "
                "to put this one in its place, name it for --remove in the same call"
            )
    if there:
        log.info("%s: passed over, as they are there already: %d images (%s)", part.name, len(there), _few(there))
    return new


def _name_copies(table: Items, rows: dict[str, int], new: dict[str, int], name: str) -> None:
    """Name the images among ``new`` that are there under another id, in the catalogue or among themselves."""
    contents = table["content"]
    first = {str(contents[row]): key for key, row in reversed([*rows.items(), *new.items()])}
    copies = [(key, first[str(contents[row])]) for key, row in new.items() if contents[row]]
    copies = [(key, other) for key, other in copies if key != other]
    for key, other in copies[:_SHOWN]:
        log.warning("%s: %r is the same image as %r; both are kept", name, key, other)
    if len(copies) > _SHOWN:
        log.warning("%s: %d images are there under another id too", name, len(copies))


def _few(keys: Sequence[str]) -> str:
    return ", ".join(map(repr, keys[:_SHOWN])) + (", ..." if len(keys) > _SHOWN else "")
