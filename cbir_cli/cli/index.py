"""``cbir index``: make vectors searchable."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    embedding: Annotated[str, typer.Argument(metavar="EMB", help="Embedding artifact; - for a pipe.")],
    kind: Annotated[str, typer.Option("--kind", help="How to search; a module of index/.")] = "exact",
    output: options.Output = "-",
    recall: Annotated[
        float | None, typer.Option("--recall", help="Wanted recall@10 of an approximate kind; .98 by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything random.")] = None,
    threads: options.Threads = None,
    settings: options.Set = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Warn where an image is there under the names of two patients.")
    ] = False,
) -> None:
    """Make vectors searchable.

    The index holds the vectors, sorted by id, with everything known of their images: a query needs nothing else. No
    index is made where the same image has two patients (--allow-leaks): one of them would be found for himself. How
    many of the images show patients that the network was trained on is said.

    The kinds hnsw, ivf-sq8 and ivf-pq are approximate: faster among many images, and now and then a near image is
    missed. Distances are true in any case. They are built for the recall@10 that is wanted; what was reached, on a
    sample of the images, is in the index (cbir info).
    """
    from cbir_cli import registry
    from cbir_cli.artifacts import embeddings, files, history, index
    from cbir_cli.errors import ArtifactError, UsageError
    from cbir_cli.stages import leaks

    files.check_output(output, embedding)
    backend = registry.load("index", kind)
    known = registry.parameters(backend.build)
    for name, value in {"recall": recall, "seed": seed, "threads": threads}.items():
        if value is not None and name not in known:
            raise UsageError(f"--{name} does not go with --kind {kind}, which has no such parameter")
    how = {"threads": options.cores(threads)} if "threads" in known else {}  # the result does not depend on it
    known = {name: value for name, value in known.items() if name != "threads"}
    chosen = {name: value for name, value in {"recall": recall, "seed": seed}.items() if value is not None}
    parameters = {**known, **chosen, **registry.settings(settings or [], known, f"index kind {kind}")}
    with files.open_artifact(embedding, embeddings.KIND) as artifact:
        stored = embeddings.read(artifact)
        if stored.space.compat != "none":
            raise ArtifactError(
                f"{artifact.name}: embedded with compat={stored.space.compat}, which is for queries; "
                "a catalogue is embedded without it"
            )
        if stored.space.similarity not in backend.METRICS:
            raise UsageError(
                f"{artifact.name}: its images are compared by {stored.space.similarity}, which --kind {kind} cannot; "
                "use --kind exact"
            )
        leaks.of_catalogue(stored.items, stored.space.model_name, allow=allow_leaks)
        parameters = {"metric": stored.space.similarity, **parameters}
        entry = history.entry("index", {"kind": kind, **parameters}, inputs={"embedding": artifact.fingerprint})
        index.write(
            output,
            stored,
            kind,
            parameters,
            lambda vectors: backend.build(vectors, **parameters, **how),
            history=history.join(artifact.history, [entry]),
            measured=getattr(backend, "measured", None),
        )
