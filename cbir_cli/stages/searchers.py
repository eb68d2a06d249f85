"""The searcher of an index, its kind, its vectors and its payload together; or of vectors alone."""

import logging
from typing import Any

from numpy import ndarray

from cbir_cli import registry
from cbir_cli.artifacts import files
from cbir_cli.artifacts.index import Index

log = logging.getLogger("cbir")


def searcher(index: Index) -> Any:
    """Return what answers queries over an open index, an object with ``search`` as in ``index/exact``.

    Raises
    ------
    ArtifactError
        If the payload is damaged; the message names the file.
    """
    backend = registry.load("index", index.kind)
    with files.reading(index.embedding.name):
        return backend.open(index.embedding.vectors, index.payload, **index.parameters)


def exactly(vectors: ndarray, metric: str) -> Any:
    """Return an exact searcher over vectors (N, D) float32 that no index holds."""
    backend = registry.load("index", "exact")
    return backend.open(vectors, backend.build(vectors, metric=metric), metric=metric)


def say(used: Any, count: int) -> None:
    """Say how much of ``count`` images a searcher has looked at, if it does not look at all."""
    looked_at = getattr(used, "looked_at", None)
    if looked_at is not None and len(looked_at):
        log.info("looked at %.1f %% of the images for a query, in the mean", 100 * looked_at.mean() / max(1, count))
