"""``cbir explain``: show why each image was retrieved."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    index: Annotated[str, typer.Argument(metavar="IDX", help="Index artifact; - for a pipe.")],
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="Image, images, or an embedding artifact of the same model.")
    ],
    model: options.ModelOption = None,
    root: Annotated[
        str | None,
        typer.Option(
            "--root", metavar="DIR", help="Where the catalogue's images are; else the source as it was typed."
        ),
    ] = None,
    k: options.Neighbours = 4,
    split: options.SplitFile = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="A module of similarity/, or none for images alone; by default ig, occlusion where the model has no "
            "outputs, none for ssim.",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            "--measure",
            metavar="WHAT,...",
            help="Also measure the maps: insertion, deletion, randomisation; slow, since the network runs many times.",
        ),
    ] = None,
    themselves: Annotated[
        bool,
        typer.Option("--self", help="Explain each query with itself, and average the maps of each class."),
    ] = False,
    settings: options.Set = None,
    output: options.Output = "-",
    device: options.DeviceOption = options.Device.auto,
    threads: options.Threads = None,
    on_error: options.OnErrorOption = options.OnError.report,
    patient: options.Patient = None,
    frame: options.Frame = None,
    keep_ids: options.KeepIds = False,
    null: options.Null = False,
) -> int:
    """Show why each image was retrieved.

    Writes the query, its results and maps on them that say which pixels made the two alike. The artifact holds the
    small images too, so cbir report needs nothing else. With -o FILE a terminal shows the pairs.

    --measure asks whether the maps are true, which cbir evaluate then sums up. insertion and deletion change an image
    pixel by pixel, the most important first, and look at its likeness to the other one of the pair, which stays whole;
    beside the map the same is done with a map of random order and with that of a network with fresh weights.
    randomisation draws the network's layers anew and correlates the maps before and after. --set measure.KEY=VALUE
    reaches variant=paper, step (pixels at a time), sigma (of the blur), seed, layers and ways=cascade.

    --self finds no results: each query is explained with itself. Average image and average map of each class of the
    task's labels are written as well.
    """
    import sys

    from cbir_cli import registry
    from cbir_cli.artifacts import files
    from cbir_cli.artifacts import index as indexes
    from cbir_cli.artifacts import split as split_tables
    from cbir_cli.cli import asking, sources, terminal
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import explain as explaining
    from cbir_cli.stages import measuring, pictures
    from cbir_cli.stages import query as retrieval

    if themselves and split:
        raise UsageError("--self finds no results: it does not go with --split")
    files.check_output(output, index, query, model, split)
    asking.check_one_stdin(index, query, split or "")
    table = split_tables.read_split(split) if split else None
    with files.open_artifact(index, indexes.KIND) as artifact, asking.Asked(query) as asked:
        stored = indexes.read(artifact)
        space = stored.embedding.space
        name = method or ("none" if space.encoder == "ssim" else "ig" if space.outputs else "occlusion")
        whats = measuring.parse(measure, name) if measure is not None else []
        known = registry.parameters(measuring.plan) if whats else {}
        way, how = explaining.choose(name, settings or [], known)
        ask = asking.Asking(model, device.value, threads, patient, frame, keep_ids, null, on_error.value)
        queries, unreadable = asked.queries(stored, index, ask)
        encoder = asked.encoder or retrieval.find_encoder(model, stored, index, ask.settings)
        plan = measuring.plan(encoder, name, whats, **how) if whats else None
        images = pictures.Pictures(
            encoder.input,
            pictures.paths_of_index(stored, root),
            {r.id: r.path for r in asked.records} or pictures.paths_of_queries(queries, root),
        )
        if themselves:
            pairs = explaining.pairs_of_themselves(queries, images)
        else:
            search = (
                retrieval.search_split(stored, queries, k, table) if table else retrieval.search(stored, queries, k)
            )
            pairs = explaining.pairs_of_answers(stored, queries, search, images)
        way = explaining.with_references(way, stored, pairs, images) if way else None
        made = explaining.explain_pairs(pairs, encoder, way, space, artifact.fingerprint)
        if way and plan:
            made = plan.measure(made, pairs, way)
        explaining.write(output, made, artifact.history)
    if output != files.STDIO and sys.stdout.isatty():
        terminal.show_table(*explaining.table(made))
    return sources.status_for(unreadable, on_error.value)
