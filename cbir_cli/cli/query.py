"""``cbir query``: rank the catalogue for each query image."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    index: Annotated[str, typer.Argument(metavar="IDX", help="Index artifact; - for a pipe.")],
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="Image, images, or an embedding artifact of the same model.")
    ] = None,
    uri: options.Uri = None,
    collection: options.Collection = "cbir",
    model: options.ModelOption = None,
    k: options.NeighboursOrAll = None,
    split: options.SplitFile = None,
    settings: options.Set = None,
    format: Annotated[
        options.RunFormat | None, typer.Option("--format", help="How to print; a table on a terminal, TSV elsewhere.")
    ] = None,
    same: Annotated[
        bool, typer.Option("--include-same", help="Do not leave out the same image, study and patient.")
    ] = False,
    device: options.DeviceOption = options.Device.auto,
    threads: options.Threads = None,
    on_error: options.OnErrorOption = options.OnError.report,
    patient: options.Patient = None,
    frame: options.Frame = None,
    keep_ids: options.KeepIds = False,
    null: options.Null = False,
) -> int:
    """Rank the catalogue for each query image.

    The columns are query, rank, id, distance, query_labels and labels; with --split also seed and set, and each query
    is ranked within its own catalogue. The same image, study and patient are left out.

    With --set compat=silva2020 the maps of an interpretability-guided model are fed 255 times smaller for a query than
    they were for the catalogue, as the script of the 2020 paper does by a slip.
    """
    from contextlib import ExitStack

    from cbir_cli import registry
    from cbir_cli.artifacts import files
    from cbir_cli.artifacts import index as indexes
    from cbir_cli.artifacts import run as runs
    from cbir_cli.artifacts import split as split_tables
    from cbir_cli.cli import asking, sources, stores, terminal
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import query as retrieval

    if uri and (query or split):
        raise UsageError(f"with --uri expected QUERY alone, found {'--split' if split else f'{index} and {query}'}")
    if not uri and query is None:
        raise UsageError("expected IDX and QUERY, or --uri URI and QUERY")
    asked_for = index if query is None else query
    asking.check_one_stdin(index if query else "", asked_for, split or "")
    compat = registry.settings(settings or [], {"compat": "none"}, "cbir query").get("compat", "none")
    table = split_tables.read_split(split) if split else None
    if same and table is not None:
        raise UsageError("--include-same does not go with --split")
    ask = asking.Asking(model, device.value, threads, patient, frame, keep_ids, null, on_error.value, same)
    with ExitStack() as stack:
        asked = stack.enter_context(asking.Asked(asked_for))
        if uri:
            stored, queries, answers, unreadable = stores.query(uri, collection, asked, ask, k or 10, compat)
        else:
            artifact = stack.enter_context(files.open_artifact(index, indexes.KIND))
            stored = retrieval.asked_as(indexes.read(artifact), compat)
            queries, unreadable = asked.queries(stored, index, ask)
            if table is not None:
                answers = retrieval.search_split(stored, queries, k, table)
            else:
                answers = retrieval.search(stored, queries, k or 10, same=same)
        rows = retrieval.run_rows(stored, queries, answers)
        chosen = options.table_format(format)
        if chosen == "tsv":
            runs.check_names(retrieval.names(stored, queries, answers))
        if chosen == "table":
            terminal.show_run(rows)
        else:
            asking.write_lines({"tsv": runs.tsv, "json": runs.json_lines, "trec": runs.trec}[chosen](rows))
    return sources.status_for(unreadable, on_error.value)
