"""``cbir index``: make vectors searchable."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    embedding: Annotated[
        str, typer.Argument(metavar="EMB", help="Embedding artifact, or an index that is to change; - for a pipe.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="How to search; a module of index/ or stores/. Default: exact, or what an index is already.",
        ),
    ] = None,
    output: options.Output = "-",
    recall: Annotated[
        float | None, typer.Option("--recall", help="Wanted recall@10 of an approximate kind; .98 by default.")
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="EMB", help="Images to put in: an embedding or an index of the same model."),
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="IDS", help="Images to take out: ids, one a line; - for a pipe.")
    ] = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Build anew what --add and --remove only amend, with --kind and --set.")
    ] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate", metavar="LABEL,...", help="Measure what distances say of these labels; for cbir query."
        ),
    ] = None,
    uri: options.Uri = None,
    collection: options.Collection = None,
    settings: options.Set = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything random.")] = None,
    threads: options.Threads = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Warn where an image is there under the names of two patients.")
    ] = False,
) -> int:
    """Make vectors searchable.

    The index holds the vectors, sorted by id, with everything known of their images: a query needs nothing else. No
    index is made where the same image has two patients (--allow-leaks): one of them would be found for himself. How
    many of the images show patients that the network was trained on is said.

    With --remove, --add or --compact, done in this order, EMB may be an index, and -o the same file: it is replaced in
    one step. An id to be removed that is not there is named, and the status is 3. An image that is there already is
    passed over; another image under its id is refused, unless the id is removed in the same call. Copies under another
    id are named and kept.

    The kinds hnsw, ivf-sq8 and ivf-pq are approximate: faster among many images, and now and then a near image is
    missed. Distances are true in any case. They are built for the recall@10 that is wanted; what was reached, on a
    sample of the images, is in the index (cbir info).

    With --calibrate images that are known ask for each other, across patients: how likely a result is of the query's
    class, and from which distance on a query is unlike anything, go into the index (cbir query --probability and
    --abstain). EMB may be an index here, too. It is measured again when the index changes.

    With --kind milvus or pgvector the vectors go into a collection of the engine at --uri instead of a file. A load
    that was interrupted goes on with the same command; cbir query refuses the collection until it is complete.
    """
    from contextlib import ExitStack

    from cbir_cli import registry
    from cbir_cli.artifacts import embeddings, files, index
    from cbir_cli.cli import asking, stores
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import growing, indexing

    changes = growing.Changes(tuple(add or ()), remove, compact)
    labels = tuple(dict.fromkeys(name.strip() for name in calibrate.split(","))) if calibrate is not None else ()
    build = indexing.Build(kind, recall, seed, threads, tuple(settings or ()), labels)
    if kind and registry.canonical(kind) in registry.names("stores"):
        if changes or recall is not None or seed is not None or labels:
            raise UsageError(
                f"--add, --remove, --compact, --calibrate, --recall and --seed do not go with --kind {kind}"
            )
        stores.load(embedding, kind, uri, collection, output=output, settings=settings, allow_leaks=allow_leaks)
        return 0
    if kind:
        try:
            registry.load("index", kind)
        except UsageError:
            known = [*registry.names("index"), *registry.names("stores")]
            raise registry.unknown("index kind", kind, known) from None
    if uri or collection:
        option = "uri" if uri else "collection"
        raise UsageError(f"--{option} does not go with --kind {kind or 'exact'}, which makes a file")
    asking.check_one_stdin(embedding, *changes.add, remove or "")
    files.check_output(output, *changes.add, remove)
    with ExitStack() as stack:
        kinds = (embeddings.KIND, index.KIND)
        base = stack.enter_context(files.open_artifact(embedding, *kinds))
        if base.kind == embeddings.KIND:
            files.check_output(output, embedding)
        elif not (changes or labels):
            raise UsageError(f"{embedding}: is an index already; --add, --remove, --compact and --calibrate change it")
        added = [stack.enter_context(files.open_artifact(name, *kinds)) for name in changes.add]
        return indexing.write(output, base, added, build, changes, allow_leaks=allow_leaks)
