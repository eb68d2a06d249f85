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
        typer.Option("--kind", help="How to search; a module of index/. Default: exact, or what an index is already."),
    ] = None,
    output: options.Output = "-",
    recall: Annotated[
        float | None, typer.Option("--recall", help="Wanted recall@10 of an approximate kind; .98 by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything random.")] = None,
    threads: options.Threads = None,
    settings: options.Set = None,
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
    """
    from contextlib import ExitStack

    from cbir_cli import registry
    from cbir_cli.artifacts import embeddings, files, history, index
    from cbir_cli.cli import asking
    from cbir_cli.errors import ArtifactError, UsageError
    from cbir_cli.stages import growing, leaks

    added = add or []
    changes = bool(added or compact or remove is not None)
    asking.check_one_stdin(embedding, *added, remove or "")
    files.check_output(output, *added, remove, *([] if changes else [embedding]))
    with ExitStack() as stack:
        kinds = [embeddings.KIND, index.KIND]
        base = stack.enter_context(files.open_artifact(embedding, *kinds[: 2 if changes else 1]))
        old = index.read(base) if base.kind == index.KIND else None
        if old is None:
            files.check_output(output, embedding)
        elif not compact and (settings or recall is not None or seed is not None or kind not in (None, old.kind)):
            raise UsageError("--kind, --recall, --seed and --set belong to a new build: give --compact too")
        opened = [base, *(stack.enter_context(files.open_artifact(name, *kinds)) for name in added)]
        stored = [embeddings.read(artifact) for artifact in opened]
        for part in stored:
            if part.space.compat != "none":
                raise ArtifactError(
                    f"{part.name}: embedded with compat={part.space.compat}, which is for queries; "
                    "a catalogue is embedded without it"
                )
        kind = kind or (old.kind if old else "exact")
        backend = registry.load("index", kind)
        similarity = stored[0].space.similarity
        if similarity not in backend.METRICS:
            raise UsageError(
                f"{base.name}: its images are compared by {similarity}, which --kind {kind} cannot; use --kind exact"
            )
        known = registry.parameters(backend.build)
        for name, value in {"recall": recall, "seed": seed, "threads": threads}.items():
            if value is not None and name not in known:
                raise UsageError(f"--{name} does not go with --kind {kind}, which has no such parameter")
        how = {"threads": options.cores(threads)} if "threads" in known else {}  # the result does not depend on it
        known = {name: value for name, value in known.items() if name != "threads"}
        chosen = {name: value for name, value in {"recall": recall, "seed": seed}.items() if value is not None}
        before = old.parameters if old and kind == old.kind else {}
        set_ = registry.settings(settings or [], known, f"index kind {kind}")
        parameters = {"metric": similarity, **known, **before, **chosen, **set_}
        catalogue, kept, absent, done = stored[0], None, 0, {}
        if changes:
            ids = growing.read_ids(remove) if remove is not None else []
            absent = growing.missing(catalogue, ids, remove or "")
            grown = growing.grow(catalogue, stored[1:], ids)
            catalogue, done = grown.embedding, grown.counts
            kept = growing.payload(old, grown) if old and not compact else None
        leaks.of_catalogue(catalogue.items, catalogue.space.model_name, allow=allow_leaks)
        roles = ["index" if old else "embedding", *(f"added-{number}" for number in range(1, len(opened)))]
        entry = history.entry(
            "index",
            {"kind": kind, **parameters, **done, **({"compact": True} if compact else {})},
            inputs={role: artifact.fingerprint for role, artifact in zip(roles, opened, strict=True)},
        )
        index.write(
            output,
            catalogue,
            kind,
            parameters,
            lambda vectors: backend.build(vectors, **parameters, **how) if kept is None else kept,
            history=history.join(*(artifact.history for artifact in opened), [entry]),
            measured=getattr(backend, "measured", None),
        )
    return 3 if absent else 0
