"""The images of queries and results, from the files that they were made from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.pseudonyms import from_environment
from cbir_cli.errors import ImageError, SourceError
from cbir_cli.images import InputSpec
from cbir_cli.names import Finder
from cbir_cli.reading import content_hash
from cbir_cli.records import Record
from cbir_cli.stages.query import Queries


@dataclass(frozen=True)
class Pictures:
    """Loads the images of queries and results at the size of the network's input.

    Attributes
    ----------
    input : InputSpec
    results, queries : mapping of str to Path
        The file of each id.
    """

    input: InputSpec
    results: Mapping[str, Path]
    queries: Mapping[str, Path]

    def load(self, paths: Mapping[str, Path], items: Items) -> np.ndarray:
        """Return the pixels (N, S, S) or (N, S, S, 3) float32 in [0, 1] of the images of a table.

        Raises
        ------
        SourceError
            If a file is not there, or is not the one that was embedded.
        ImageError
            If it cannot be decoded.
        """
        colours = (3,) if self.input.colour == "rgb" else ()
        pixels = np.empty((len(items.ids), self.input.size, self.input.size, *colours), np.float32)
        columns = (items.ids, items["path"], items["content"], items.parts)
        for row, (key, relative, content, part) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            path = paths[key]
            record = Record(id=key, path=path, relative=relative, part=None if part < 0 else part)
            if not path.exists():
                raise SourceError(_absent(path, items))
            try:
                found = content_hash(path, record.part)
            except ImageError as error:
                raise ImageError(record.of_file(error)) from error
            if found != content:
                shown = path if path.as_posix().endswith(relative) else relative  # the name may be hidden
                raise SourceError(
                    f"{shown}: is not the image that {key} was made from; --root DIR names another folder"
                )
            pixels[row] = self.input.load(record)
        return pixels


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
