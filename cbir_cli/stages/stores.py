"""Catalogues in an engine: finding the engine and loading one; the library behind ``cbir index --uri``.

A load goes through the rows in the order of their ids, a batch at a time, and sends what the engine does not hold. So
it goes on where it was interrupted, whichever side ended, and the same command is the way to do that.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from cbir_cli import registry
from cbir_cli.artifacts.embeddings import Embedding
from cbir_cli.artifacts.history import Entry
from cbir_cli.errors import ArtifactError, CbirError, UsageError
from cbir_cli.progress import Progress
from cbir_cli.stores._columns import of_table

log = logging.getLogger("cbir")

_BATCH = 8 << 20  # bytes of vectors sent at once: an eighth of what Milvus takes
_ROWS = 4096


def kind_of(uri: str, kind: str | None = None) -> str:
    """Return the module of ``stores/`` that a URI belongs to.

    Raises
    ------
    UsageError
        If it is none's, or not that of the kind that is named.
    """
    for name in registry.names("stores"):
        if registry.load("stores", name).recognise(uri):
            if kind and registry.canonical(kind) != name:
                raise UsageError(f"--kind {kind}: the URI is one of {name}")
            return name
    raise UsageError(
        "--uri: expected FILE.db or http://HOST:PORT for Milvus, or postgresql://HOST/DATABASE for pgvector"
    )


def connect(uri: str, collection: str, *, kind: str | None = None, make: bool = False) -> Any:
    """Return the store of a collection.

    Parameters
    ----------
    uri, collection : str
    kind : str, optional
        Which engine it has to be.
    make : bool
        Make what a first load needs: the file, or the extension.
    """
    return registry.load("stores", kind_of(uri, kind)).open(uri, collection, make=make)


def load(
    store: Any, stored: Embedding, history: list[Entry], parameters: Mapping[str, Any], *, replace: bool = False
) -> int:
    """Bring an embedding into a collection; go on if some of it is there.

    Parameters
    ----------
    store : Store
    stored : Embedding
    history : list of dict
        Goes into the collection's record.
    parameters : mapping
        Of the store's ``create``.
    replace : bool
        Remove another catalogue of this name first; else it is refused.

    Returns
    -------
    int
        Vectors that were sent.

    Raises
    ------
    ArtifactError
        If the collection holds another catalogue.
    CbirError
        If the engine fails, or does not hold every vector once at the end.
    """
    items, space = stored.items, stored.space
    columns = of_table(items.ids, items)
    known = store.record()
    wanted = {"embedding": stored.fingerprint, "parameters": dict(parameters)}
    if known is not None and {name: known.get(name) for name in wanted} != wanted:
        if not replace:
            what = "other parameters" if known.get("embedding") == stored.fingerprint else "another embedding"
            raise ArtifactError(
                f"{store.where}: the collection was made of {what}; give another --collection, or --set replace=true"
            )
        store.drop()
        known = None
    if known is None:
        record = {
            **wanted,
            "count": len(items.ids),
            "width": int(stored.vectors.shape[1]),
            "space": asdict(space),
            "pseudonyms": items.pseudonyms,
            "patients": bool((items["patient"] != "").any()),
            "sources": bool((items["source"] != "").any()),
            "parts": bool((items.parts >= 0).any()),
            "history": history,
        }
        store.create(record, columns, stored.vectors.shape[1], **parameters)
    elif store.whole():
        log.info("%s: is complete: %s vectors", store.where, f"{len(items.ids):,}")
        return 0
    sent = _send(store, stored, resuming=known is not None)
    if (count := store.count(None)) != len(items.ids):
        raise CbirError(f"{store.where}: holds {count:,} vectors, the embedding {len(items.ids):,}")
    store.finish()
    log.info("%s: %s vectors", store.where, f"{count:,}")
    return sent


def _send(store: Any, stored: Embedding, *, resuming: bool) -> int:
    items, sent = stored.items, 0
    order = np.argsort(items.ids, kind="stable")
    if resuming and (there := store.count(None)):
        log.info("%s: %s of %s vectors are there: going on", store.where, f"{there:,}", f"{len(order):,}")
    else:
        resuming = False
    size = max(1, min(_ROWS, _BATCH // (4 * stored.vectors.shape[1])))
    done = Progress(len(order), "vectors")
    try:
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            if resuming:
                there_already = store.present(items.ids[rows].tolist())
                rows = rows[[key not in there_already for key in items.ids[rows].tolist()]]
            if len(rows):
                vectors = np.ascontiguousarray(stored.vectors[rows])
                if not np.isfinite(vectors).all():
                    raise ArtifactError(f"{stored.name}: a vector holds NaN or infinity")
                store.insert(items.ids[rows], vectors, {name: items[name][rows] for name in items})
                sent += len(rows)
            done.advance(min(size, len(order) - start))
    finally:
        done.close()
    return sent
