"""``cbir index --uri`` and ``cbir query --uri``: catalogues that lie in an engine."""

from typing import Any

from cbir_cli.errors import UsageError


def load(
    embedding: str,
    kind: str,
    uri: str | None,
    collection: str,
    *,
    output: str,
    settings: list[str] | None,
    allow_leaks: bool,
) -> None:
    """Bring an embedding into a collection.

    Parameters
    ----------
    embedding : str
        Artifact; ``-`` for a pipe.
    kind : str
        A module of ``stores/``.
    uri : str or None
        Of the engine.
    collection : str
    output : str
        Refused, unless it is the default.
    settings : list of str or None
        ``KEY=VALUE``.
    allow_leaks : bool
    """
    from cbir_cli import registry
    from cbir_cli.artifacts import embeddings, files, history
    from cbir_cli.stages import leaks, stores

    if not uri:
        raise UsageError(f"--kind {kind} needs --uri, where the engine is")
    if output != files.STDIO:
        raise UsageError(f"--kind {kind} writes to the engine, not to a file: -o does not go with it")
    backend = registry.load("stores", kind)
    defaults = {**registry.parameters(backend.Store.create), **registry.parameters(stores.load)}
    given = registry.settings(settings or [], defaults, f"kind {kind}")
    replace = bool(given.pop("replace", False))
    with files.open_artifact(embedding, embeddings.KIND) as artifact:
        stored = embeddings.read(artifact)
        stores.check(stored)
        leaks.of_catalogue(stored.items, stored.space.model_name, allow=allow_leaks)
        parameters = {**registry.parameters(backend.Store.create), **given, "metric": stored.space.similarity}
        backend.check(**parameters)
        entry = history.entry("index", {"kind": kind, **parameters}, inputs={"embedding": artifact.fingerprint})
        store = stores.connect(uri, collection, kind=kind, make=True)
        try:
            stores.load(store, stored, history.join(artifact.history, [entry]), parameters, replace=replace)
        finally:
            store.close()


def query(uri: str, collection: str, asked: Any, ask: Any, k: int, compat: str) -> Any:
    """Return the index of the results, the queries, the answers, and what could not be read.

    Parameters
    ----------
    uri, collection : str
    asked : asking.Asked
        QUERY, open.
    ask : asking.Asking
    k : int
    compat : str
    """
    from cbir_cli.stages import query as retrieval
    from cbir_cli.stages import stores

    store = stores.connect(uri, collection)
    try:
        index = retrieval.asked_as(stores.opened(store), compat)
        beside = uri if "://" not in uri else collection  # where a model may lie beside
        queries, unreadable = asked.queries(index, beside, ask)
        index, answers = stores.search(store, index, queries, k, level="none" if ask.same else "patient")
    finally:
        store.close()
    return index, queries, answers, unreadable
