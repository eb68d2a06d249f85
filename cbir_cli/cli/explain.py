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
    small images too, so cbir report needs nothing else.
    """
    from cbir_cli import registry
    from cbir_cli.artifacts import files
    from cbir_cli.artifacts import index as indexes
    from cbir_cli.artifacts import split as split_tables
    from cbir_cli.cli import asking, sources
    from cbir_cli.stages import explain as explaining
    from cbir_cli.stages import query as retrieval

    files.check_output(output, index, query, model, split)
    asking.check_one_stdin(index, query, split or "")
    table = split_tables.read_split(split) if split else None
    with files.open_artifact(index, indexes.KIND) as artifact, asking.Asked(query) as asked:
        stored = indexes.read(artifact)
        space = stored.embedding.space
        method = method or ("none" if space.encoder == "ssim" else "ig" if space.outputs else "occlusion")
        explain, parameters = None, {}
        if method != "none":
            explain = registry.load("similarity", method).explain
            parameters = registry.settings(settings or [], registry.parameters(explain), f"method {method}")
            parameters = {**registry.parameters(explain), **parameters}
        ask = asking.Asking(model, device.value, threads, patient, frame, keep_ids, null, on_error.value)
        queries, unreadable = asked.queries(stored, index, ask)
        encoder = asked.encoder or retrieval.find_encoder(model, stored, index, ask.settings)
        answers = retrieval.search_split(stored, queries, k, table) if table else retrieval.search(stored, queries, k)
        pictures = explaining.Pictures(
            encoder.input,
            explaining.paths_of_index(stored, root),
            {r.id: r.path for r in asked.records} or explaining.paths_of_queries(queries, root),
        )
        explanation = explaining.explain_answers(
            stored, artifact.fingerprint, queries, answers, encoder, pictures, method, explain, parameters
        )
        explaining.write(output, explanation, artifact.history)
    return sources.status_for(unreadable, on_error.value)
