"""``cbir index --uri`` and ``cbir query --uri``: catalogues that lie in an engine."""

from typing import TYPE_CHECKING

from cbir_cli.errors import UsageError

if TYPE_CHECKING:
    from cbir_cli.cli.asking import Asked, Asking
    from cbir_cli.stages.query import Found, Queries, Wanted

COLLECTION = "cbir"
"""What a collection is called unless it is named."""


def load(
    embedding: str,
    kind: str,
    uri: str | None,
    collection: str | None,
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
    collection : str or None
    output : str
        Refused, unless it is the default.
    settings : list of str or None
        ``KEY=VALUE``.
    allow_leaks : bool
    """
    from cbir_cli import registry
    from cbir_cli.artifacts import embeddings, files, history
    from cbir_cli.stages import indexing, leaks, stores

    if not uri:
        raise UsageError(f"--kind {kind} needs --uri, where the engine is")
    if output != files.STDIO:
        raise UsageError(f"--kind {kind} writes to the engine, not to a file: -o does not go with it")
    stores.kind_of(uri, kind)
    backend = registry.load("stores", kind)
    defaults = {**registry.parameters(backend.Store.create), **registry.parameters(stores.load)}
    given = registry.settings(settings or [], defaults, f"kind {kind}")
    replace = bool(given.pop("replace", False))
    with files.open_artifact(embedding, embeddings.KIND) as artifact:
        stored = embeddings.read(artifact)
        indexing.check(stored)
        leaks.of_catalogue(stored.items, stored.space.model_name, allow=allow_leaks)
        parameters = {**registry.parameters(backend.Store.create), **given, "metric": stored.space.similarity}
        backend.check(**parameters)
        entry = history.entry("index", {"kind": kind, **parameters}, inputs={"embedding": artifact.fingerprint})
        store = stores.connect(uri, collection or COLLECTION, kind=kind, make=True)
        try:
            stores.load(store, stored, history.join(artifact.history, [entry]), parameters, replace=replace)
        finally:
            store.close()


def arguments(index: str, query: str | None, uri: str | None, collection: str | None) -> tuple[str, str]:
    """Return IDX, empty with ``--uri``, and QUERY, which is then the only argument.

    Raises
    ------
    UsageError
        If there are more arguments, or fewer.
    """
    if uri:
        if query is not None:
            raise UsageError(f"with --uri expected QUERY alone, found {index} and {query}")
        return "", index
    if collection:
        raise UsageError("--collection needs --uri, where the engine is")
    if query is None:
        raise UsageError("expected IDX and QUERY, or --uri URI and QUERY")
    return index, query


def query(
    uri: str, collection: str | None, asked: "Asked", ask: "Asking", k: int, wanted: "Wanted", compat: str
) -> "tuple[Found, Queries, dict[str, str]]":
    """Ask a collection.

    Parameters
    ----------
    uri : str
    collection : str or None
    asked : Asked
        QUERY, open.
    ask : Asking
    k : int
    wanted : Wanted
    compat : str

    Returns
    -------
    found : Found
    queries : Queries
    unreadable : dict of str to str
        Why each image that could not be read is not among them.
    """
    from cbir_cli.stages import asked as spaces
    from cbir_cli.stages import store_search, stores

    store = stores.connect(uri, collection or COLLECTION)
    try:
        index = spaces.asked_as(store_search.opened(store), compat)
        store_search.check_filters(store, index, wanted.filters)
        beside = uri if "://" not in uri else store.name  # where the model may lie beside
        queries, unreadable = asked.queries(index, beside, ask)
        return store_search.search(store, index, queries, k, wanted), queries, unreadable
    finally:
        store.close()
