"""The searcher of an index, its kind, its vectors and its payload together; or of vectors alone."""

import logging
from typing import Any

from numpy import ndarray

from cbir_cli import registry
from cbir_cli.artifacts import files
from cbir_cli.artifacts.index import Index
from cbir_cli.errors import ArtifactError, UsageError

log = logging.getLogger("cbir")


def searcher(index: Index) -> Any:
    """Return what answers queries over an open index, an object with ``search`` as in ``index/exact``.

    Raises
    ------
    ArtifactError
        If the kind, its parameters or the payload are damaged; the message names the file.
    """
    backend = kind_of(index)
    with files.reading(index.embedding.name):
        return backend.open(index.embedding.vectors, index.payload, **index.parameters)


def kind_of(index: Index) -> Any:
    """Return the module of an index's kind.

    Raises
    ------
    ArtifactError
        If there is no such kind, or the parameters are not those of one that was built by it.
    """
    try:
        backend = registry.load("index", index.kind)
    except UsageError as error:
        raise ArtifactError(f"{index.embedding.name}: {error}") from None
    known = {"metric": index.embedding.space.similarity, **registry.parameters(backend.build)}
    for name, value in index.parameters.items():
        if name not in known or type(value) is not type(known[name]) or (name == "metric" and value != known[name]):
            raise ArtifactError(f"{index.embedding.name}: damaged: {name}={value!r} is no parameter of {index.kind}")
    if "metric" not in index.parameters:
        raise ArtifactError(f"{index.embedding.name}: damaged: the parameters of {index.kind} have no metric")
    return backend


def exactly(vectors: ndarray, metric: str) -> Any:
    """Return an exact searcher over vectors (N, D) float32 that no index holds."""
    backend = registry.load("index", "exact")
    return backend.open(vectors, backend.build(vectors, metric=metric), metric=metric)


def say(used: Any, count: int) -> None:
    """Say how much of ``count`` images a searcher has looked at, if it does not look at all."""
    looked_at = getattr(used, "looked_at", None)
    if looked_at is not None and len(looked_at):
        log.info("looked at %.1f %% of the images for a query, in the mean", 100 * looked_at.mean() / max(1, count))
