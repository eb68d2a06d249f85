"""The images of queries and results, from the files that they were made from."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.pseudonyms import from_environment
from cbir_cli.errors import SourceError
from cbir_cli.images import InputSpec
from cbir_cli.names import Finder
from cbir_cli.reading import content_of, each
from cbir_cli.records import Record
from cbir_cli.stages.query import Queries
from cbir_cli.stages.rows import Rows

_BATCH = 16
"""Images that are read at a time."""


@dataclass(frozen=True)
class Pictures:
    """Loads the images of queries and results at the size of the network's input.

    Attributes
    ----------
    input : InputSpec
    results, queries : mapping of str to Path
        The file of each id.
    workers : int
        Threads that decode.
    """

    input: InputSpec
    results: Mapping[str, Path]
    queries: Mapping[str, Path]
    workers: int = 1

    def load(self, paths: Mapping[str, Path], items: Items) -> np.ndarray:
        """Return the pixels (N, S, S) or (N, S, S, 3) float32 in [0, 1] of the images of a table, read-only.

        Raises
        ------
        SourceError
            If a file is not there, or is not the one that was embedded.
        ImageError
            If it cannot be decoded.
        """
        columns = (items.ids, items["path"], items.parts)
        records = [
            Record(id=key, path=paths[key], relative=relative, part=None if part < 0 else part)
            for key, relative, part in zip(*(column.tolist() for column in columns), strict=True)
        ]
        contents = dict(zip(items.ids.tolist(), items["content"].tolist(), strict=True))

        def load(record: Record) -> np.ndarray:
            if not record.path.exists():
                raise SourceError(_absent(record.path, items))
            if (
                contents[record.id] and content_of(record) != contents[record.id]
            ):  # none where vectors came from elsewhere
                hidden = not record.path.as_posix().endswith(record.relative)
                raise SourceError(
                    f"{record.relative if hidden else record.path}: is not the image that {record.id} was made from; "
                    "--root DIR names another folder"
                )
            return self.input.load(record)

        colours = (3,) if self.input.colour == "rgb" else ()
        pixels = Rows((self.input.size, self.input.size, *colours), np.float32)
        for _, found in each(records, load, workers=self.workers, batch=_BATCH, unreadable={}, fail=True):
            pixels.add(np.stack(found))
        return pixels.array()


def of_retrieval(
    spec: InputSpec, index: Index, queries: Queries, records: Sequence[Record], root: str | None, *, workers: int
) -> Pictures:
    """Return what loads the images of an index and of queries.

    Parameters
    ----------
    spec : InputSpec
    index : Index
    queries : Queries
    records : sequence of Record
        Of the queries where they are images; none where they come from an embedding artifact.
    root : str or None
        Where the images are; else the source as it was typed.
    workers : int
        Threads that decode.
    """
    asked = {record.id: record.path for record in records}
    return Pictures(spec, paths_of_index(index, root), asked or paths_of_queries(queries, root), workers)


def paths_of_index(index: Index, root: str | None) -> dict[str, Path]:
    """Return the file of each image of an index: below ``root``, else below the source as it was typed."""
    space = index.embedding.space
    return paths(index.embedding.items.ids, index.embedding.items["path"], root, space.source)


def paths_of_queries(queries: Queries, root: str | None) -> dict[str, Path]:
    """Return the file of each query of an embedding artifact: below ``root``, else below its own source."""
    own = paths(queries.items.ids, queries.items["path"], None, queries.source)
    below = paths(queries.items.ids, queries.items["path"], root, queries.source)
    return {key: path if path.exists() else own[key] for key, path in below.items()}


def paths(ids: np.ndarray, relative: np.ndarray, root: str | None, source: str) -> dict[str, Path]:
    """Return the file of each id, from its path below ``root``, else below the source as an artifact remembers it.

    Hidden names are found again with the user's key.
    """
    find = Finder(from_environment())
    _, colon, rest = source.partition(":")
    folder = root or (rest if colon and not os.path.exists(source) else source)
    if not os.path.exists(folder):
        folder = str(find(Path(), folder) or folder)
    if not root and (os.path.isfile(folder) or Path(folder).suffix.lower() in (".csv", ".tsv")):
        folder = os.path.dirname(folder)
    if not root and source == "-":
        folder = ""
    return {
        str(key): find(Path(folder), str(path)) or Path(folder, str(path))
        for key, path in zip(ids, relative, strict=True)
    }


def _absent(path: Path, items: Items) -> str:
    """Return that an image is not there; names that were hidden with another key cannot be found."""
    if items.pseudonyms not in ("", "kept", from_environment().check):
        return (
            f"{path}: no such image; if its name is hidden, it is with another key than yours: use the CBIR_KEY that "
            "the artifact was made with"
        )
    return f"{path}: no such image; give the folder that the images are in with --root DIR"
