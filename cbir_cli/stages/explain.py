"""From ranked lists to an explanation artifact: the library behind ``cbir explain``."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cbir_cli.artifacts import explanation, history
from cbir_cli.artifacts.explanation import ON_QUERY, ON_RESULT, Explanation
from cbir_cli.artifacts.index import Index
from cbir_cli.artifacts.items import Items
from cbir_cli.artifacts.pseudonyms import from_environment
from cbir_cli.errors import ImageError, SourceError
from cbir_cli.images import InputSpec
from cbir_cli.names import Finder
from cbir_cli.reading import content_hash
from cbir_cli.records import Record
from cbir_cli.stages import negatives
from cbir_cli.stages.encoders import Encoder
from cbir_cli.stages.query import Answer, Queries

_TOGETHER = 64
"""Pairs that a method is given at a time: bounds memory."""

Explainer = Callable[..., tuple[np.ndarray, np.ndarray]]


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


def explain_answers(
    index: Index,
    fingerprint: str,
    queries: Queries,
    answers: Sequence[Answer],
    encoder: Encoder,
    pictures: Pictures,
    method: str,
    explain: Explainer | None,
    parameters: Mapping[str, Any],
) -> Explanation:
    """Explain every result of every query.

    Parameters
    ----------
    index, fingerprint : Index, str
    queries : Queries
    answers : sequence of Answer
    encoder : Encoder
    pictures : Pictures
    method : str
        Name of the explainer, or ``none``.
    explain : callable or None
        ``explain(encoder, queries, results, **parameters)``.
    parameters : mapping

    Returns
    -------
    Explanation
    """
    pairs = [
        (a, rank, int(row), float(d))
        for a in answers
        for rank, (row, d) in enumerate(zip(a.rows, a.distances, strict=True), 1)
    ]
    asked = list(dict.fromkeys(a.query for a in answers))
    found = list(dict.fromkeys(row for _, _, row, _ in pairs))
    query_items, result_items = queries.items.take(asked), index.embedding.items.take(found)
    query_pixels = pictures.load(pictures.queries, query_items)
    result_pixels = pictures.load(pictures.results, result_items)
    size = pictures.input.size
    table, targets = index.embedding.items, index.embedding.space.targets
    count = negatives.needed(method, parameters)
    drawn = [negatives.draw(table, targets, row, str(queries.items.ids[a.query]), count) for a, _, row, _ in pairs]
    against = list(dict.fromkeys(row for rows in drawn for row in rows))
    reference_pixels = pictures.load(pictures.results, table.take(against)) if against else None
    maps: list[np.ndarray] = []
    on: list[tuple[int, int]] = []
    if explain:
        queries_of, results_of = (
            [seen.index(key) for key in keys]
            for seen, keys in (
                (asked, [answer.query for answer, *_ in pairs]),
                (found, [row for _, _, row, _ in pairs]),
            )
        )
        for start in range(0, len(pairs), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            more = dict(parameters)
            if reference_pixels is not None:
                more["references"] = reference_pixels[[[against.index(row) for row in rows] for rows in drawn[some]]]
            both = explain(encoder, query_pixels[queries_of[some]], result_pixels[results_of[some]], **more)
            for number, sides in enumerate(zip(*both, strict=True), start):
                for side, image_map in zip((ON_QUERY, ON_RESULT), sides, strict=True):
                    if image_map.any():
                        maps.append(image_map)
                        on.append((number, side))
    stacked = np.stack(maps) if maps else np.empty((0, size, size), np.float32)
    scale = np.abs(stacked).max(axis=(1, 2)) if maps else np.empty(0, np.float32)
    space = index.embedding.space
    return Explanation(
        query_images=_levels(query_pixels),
        queries=query_items,
        result_images=_levels(result_pixels),
        results=result_items,
        query=np.array([asked.index(a.query) for a, *_ in pairs], np.int32),
        result=np.array([found.index(row) for _, _, row, _ in pairs], np.int32),
        rank=np.array([rank for _, rank, _, _ in pairs], np.int32),
        distance=np.array([d for *_, d in pairs], np.float32),
        seed=np.array([-1 if a.seed is None else a.seed for a, *_ in pairs], np.int32),
        set=np.array([-1 if a.set is None else a.set for a, *_ in pairs], np.int32),
        maps=(stacked / scale[:, None, None]).astype(np.float16) if maps else stacked.astype(np.float16),
        scale=scale,
        map_pair=np.array([pair for pair, _ in on], np.int32),
        map_on=np.array([side for _, side in on], np.int8),
        method=method,
        parameters=dict(parameters),
        encoder=space.encoder,
        similarity=space.similarity,
        targets=space.targets,
        index=fingerprint,
    )


def write(output: str, made: Explanation, before: Sequence[history.Entry]) -> None:
    """Write an explanation artifact with its history."""
    entry = history.entry("explain", {"method": made.method, **made.parameters}, inputs={"index": made.index})
    explanation.write(output, made, history=history.join(before, [entry]))


def _levels(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * 255).astype(np.uint8)
