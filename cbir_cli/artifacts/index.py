"""The index artifact, ``cbir-index``: an embedding, its rows sorted by id, and what makes its search fast.

Schema
------
All of the embedding artifact (see ``embeddings``), and

``uns/index/kind``
    A module of ``index/``.
``uns/index/parameters``
    JSON.
``uns/index/payload/<name>``
    Arrays of the backend. In kinds that are slow to build ``rows`` (P,) int64 is among them: the row that each vector
    which the payload was built from has now, -1 for one that is gone. Rows that it does not name were added since.
``uns/index/measured``
    JSON: what an approximate backend chose, and the recall that it measured. Left out where there is none.
``uns/index/calibration``
    What its distances mean, where that was measured (``cbir index --calibrate``): ``labels``, text, by whose codes
    images are of one class; ``distance`` and ``probability`` (T,) float64, how likely a result is of the query's class,
    linear between the ascending distances and constant beyond; ``nearest`` (S,) float32, ascending, how far the nearest
    image of another patient is from each of S images; ``facts``, JSON, how it was measured and how good it is.

The ids live inside, so they cannot drift from their vectors. Rows are sorted by id, so "ties by row" is "ties by id".
(The index lies under ``uns`` and not at the root because AnnData readers refuse a root group that they do not know.)
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cbir_cli.artifacts import _anndata, _calibration, embeddings, files
from cbir_cli.artifacts._calibration import Calibration
from cbir_cli.artifacts.history import Entry

KIND = "cbir-index"


@dataclass(frozen=True)
class Index:
    """An open index: its vectors, and the backend's parts."""

    embedding: embeddings.Embedding
    kind: str
    parameters: dict[str, Any]
    payload: dict[str, np.ndarray]
    measured: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None


def write(
    target: str,
    embedding: embeddings.Embedding,
    kind: str,
    parameters: Mapping[str, Any],
    build: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    *,
    history: Sequence[Entry],
    measured: Callable[[dict[str, np.ndarray]], dict[str, Any]] | None = None,
    changes: files.Artifact | None = None,
    calibrate: Callable[[Index], Calibration | None] | None = None,
) -> None:
    """Write an index artifact; ``build`` gets the vectors in their final order and returns the payload.

    ``measured`` gets the payload and returns what is to be said of it, if anything. ``changes`` is the index that this
    one is to replace, if any (see ``files.create``). ``calibrate`` gets the index and returns what its distances mean.
    """
    order = np.argsort(embedding.items.ids, kind="stable")
    with files.create(target, KIND, history, changes=changes) as file:
        embeddings.write_body(
            file,
            embedding.vectors,
            embedding.items.take(order),
            embedding.space,
            logits=embedding.logits,
            unreadable=embedding.unreadable,
            order=order,
        )
        file.flush()
        file.check()
        vectors = (
            np.memmap(file.path, np.float32, "r", file["X"].id.get_offset(), file["X"].shape)
            if len(order)
            else embedding.vectors
        )
        group = _anndata.dictionary(file["uns"], "index")
        _anndata.text(group, "kind", kind)
        _anndata.text(group, "parameters", json.dumps(dict(parameters), sort_keys=True))
        payload = _anndata.dictionary(group, "payload")
        built = dict(build(vectors))
        for name, array in built.items():
            _anndata.array(payload, name, array)
        if measured is not None:
            _anndata.text(group, "measured", json.dumps(measured(built), sort_keys=True))
        if calibrate is not None:
            sorted_ = replace(embedding, vectors=vectors, items=embedding.items.take(order))
            if found := calibrate(Index(sorted_, kind, dict(parameters), built)):
                _calibration.write(group, found)


def read(artifact: files.Artifact) -> Index:
    """Return an open index; vectors and payload are memory-mapped.

    Raises
    ------
    ArtifactError
        If something of the schema is missing or does not fit together.
    """
    embedding = embeddings.read(artifact)
    with files.reading(artifact.name):
        group, ids = artifact.file["uns/index"], embedding.items.stored("_index")
        if not (ids[1:] > ids[:-1]).all():
            raise ValueError("its rows are not in the order of their ids")
        return Index(
            embedding,
            kind=str(group["kind"].asstr()[()]),
            parameters=dict(json.loads(group["parameters"].asstr()[()])),
            payload={name: artifact.array(f"uns/index/payload/{name}") for name in group["payload"]},
            measured=dict(json.loads(group["measured"].asstr()[()])) if "measured" in group else {},
            calibration=_calibration.read(group),
        )
