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
    last: Annotated[
        int,
        typer.Option("--last", metavar="N", min=0, help="Besides, the N least similar images of the catalogue."),
    ] = 0,
    split: options.SplitFile = None,
    where: options.Where = None,
    ask: options.Ask = None,
    exclude_same: options.ExcludeSame = None,
    only_same: options.OnlySame = None,
    max_distance: options.MaxDistance = None,
    diverse: options.Diverse = None,
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
    seed: options.Seed = 0,
    batch_size: options.BatchSize = 64,
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
    beside the map the same is done with a random map and with that of a network with fresh weights.
    randomisation draws the network's layers anew and correlates the maps before and after. --set measure.KEY=VALUE
    reaches variant=paper, step (pixels at a time), sigma (of the blur), seed, cells (of the random map), baselines=map
    or none, layers and ways=cascade.

    What it costs: a curve runs the network once a step, 225 times at 224 pixels, and both baselines are curves of their
    own, so a map has six. The network with fresh weights explains all pairs once more, which with a slow method is most
    of the time: --set measure.baselines=map leaves it out, none both. randomisation explains all pairs once for each
    layer and way.

    --seed is that of a method that draws, and of the measures; nothing else depends on it.

    --last N adds the end of each ranked list, the least similar images of the catalogue, which the page draws after a
    gap. All of the catalogue is ranked for it.

    --self finds no results: each query is explained with itself. Average image and average map of each class of the
    task's labels are written as well.
    """
    import sys

    from cbir_cli.artifacts import files
    from cbir_cli.artifacts import index as indexes
    from cbir_cli.artifacts import split as split_tables
    from cbir_cli.cli import asking, sources, terminal
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import asked, pictures
    from cbir_cli.stages import explain as explaining
    from cbir_cli.stages import query as retrieval

    wanted = asking.wanted(where, exclude_same, only_same, max_distance, diverse)
    if themselves and (split or wanted != retrieval.Wanted()):
        raise UsageError("--self finds no results: it does not go with --split, nor with what results are to be")
    if last and (themselves or diverse):
        raise UsageError("--last is the end of a ranked list: it does not go with --self or --diverse")
    files.check_output(output, index, query, model, split)
    asking.check_one_stdin(index, query, split or "")
    table = split_tables.read_split(split) if split else None
    terms = asking.Asking(model, device.value, threads, patient, frame, keep_ids, null, on_error.value, ask)
    with files.open_artifact(index, indexes.KIND) as artifact, asking.Asked(query) as opened:
        stored = indexes.read(artifact)
        wanted.filters.check(stored.embedding.items)
        choice = explaining.choose(stored.embedding.space, method, measure, settings or [], seed=seed, batch=batch_size)
        queries, unreadable = opened.queries(stored, index, terms)
        encoder = opened.encoder or asked.find_encoder(model, stored, index, terms.settings)
        images = pictures.of_retrieval(
            encoder.input, stored, queries, opened.records, root, workers=options.cores(None)
        )
        made = explaining.explain(
            choice,
            encoder,
            stored,
            queries,
            images,
            artifact.fingerprint,
            k=k,
            last=last,
            split=asking.rows_asked(table, queries, ask),
            wanted=wanted,
            themselves=themselves,
        )
        explaining.write(output, made, artifact.history)
    if output != files.STDIO and sys.stdout.isatty():
        terminal.show_table(*explaining.table(made))
    return sources.status_for(unreadable, on_error.value)
