"""``cbir index``: make vectors searchable."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    embedding: Annotated[str, typer.Argument(metavar="EMB", help="Embedding artifact; - for a pipe.")],
    kind: Annotated[str, typer.Option("--kind", help="How to search; a module of index/ or stores/.")] = "exact",
    output: options.Output = "-",
    uri: options.Uri = None,
    collection: options.Collection = None,
    settings: options.Set = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Warn where an image is there under the names of two patients.")
    ] = False,
) -> None:
    """Make vectors searchable.

    The index holds the vectors, sorted by id, with everything known of their images: a query needs nothing else. No
    index is made where the same image has two patients (--allow-leaks): one of them would be found for himself. How
    many of the images show patients that the network was trained on is said.

    With --kind milvus or pgvector the vectors go into a collection of the engine at --uri instead of a file. A load
    that was interrupted goes on with the same command; cbir query refuses the collection until it is complete.
    """
    from cbir_cli import registry
    from cbir_cli.artifacts import embeddings, files, history, index
    from cbir_cli.cli import stores
    from cbir_cli.errors import ArtifactError, UsageError
    from cbir_cli.stages import leaks

    if registry.canonical(kind) in registry.names("stores"):
        stores.load(embedding, kind, uri, collection, output=output, settings=settings, allow_leaks=allow_leaks)
        return
    if uri or collection:
        raise UsageError(f"--{'uri' if uri else 'collection'} does not go with --kind {kind}, which makes a file")
    files.check_output(output, embedding)
    backend = registry.load("index", kind)
    parameters = registry.settings(settings or [], registry.parameters(backend.build), f"index kind {kind}")
    with files.open_artifact(embedding, embeddings.KIND) as artifact:
        stored = embeddings.read(artifact)
        if stored.space.compat != "none":
            raise ArtifactError(
                f"{artifact.name}: embedded with compat={stored.space.compat}, which is for queries; "
                "a catalogue is embedded without it"
            )
        leaks.of_catalogue(stored.items, stored.space.model_name, allow=allow_leaks)
        parameters = {"metric": stored.space.similarity, **registry.parameters(backend.build), **parameters}
        entry = history.entry("index", {"kind": kind, **parameters}, inputs={"embedding": artifact.fingerprint})
        index.write(
            output,
            stored,
            kind,
            parameters,
            lambda vectors: backend.build(vectors, **parameters),
            history=history.join(artifact.history, [entry]),
        )
