"""``cbir query``: rank the catalogue for each query image."""

from collections.abc import Mapping
from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    index: Annotated[str, typer.Argument(metavar="IDX", help="Index artifact; - for a pipe.")],
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="Image, images, or an embedding artifact of the same model; with --uri the only argument.",
            show_default=False,
        ),
    ] = None,
    uri: options.Uri = None,
    collection: options.Collection = None,
    model: options.ModelOption = None,
    k: options.NeighboursOrAll = None,
    split: options.SplitFile = None,
    where: options.Where = None,
    ask: options.Ask = None,
    exclude_same: options.ExcludeSame = None,
    only_same: options.OnlySame = None,
    max_distance: options.MaxDistance = None,
    diverse: options.Diverse = None,
    order: Annotated[
        options.ResultOrder, typer.Option("--order", help="Sort results by distance, or by examination and slice.")
    ] = options.ResultOrder.distance,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="IDX[=EMB]", help="Ask this index too; EMB has the queries in its space. May be repeated."
        ),
    ] = None,
    fuse: Annotated[
        str | None,
        typer.Option("--fuse", help="How lists become one; a module of fusion/. rrf by default.", show_default=False),
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option("--like", metavar="ID,...", help="Move the query towards these images.")
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option("--unlike", metavar="ID,...", help="Move the query away from these images.")
    ] = None,
    probability: Annotated[
        bool,
        typer.Option("--probability", help="Tell how likely a result is of the query's class; IDX is calibrated."),
    ] = False,
    abstain: Annotated[
        bool, typer.Option("--abstain", help="List nothing for a query unlike anything in a calibrated IDX.")
    ] = False,
    settings: options.Set = None,
    format: Annotated[
        options.RunFormat | None, typer.Option("--format", help="How to print; a table on a terminal, TSV elsewhere.")
    ] = None,
    same: Annotated[bool, typer.Option("--include-same", help="As --exclude-same none.")] = False,
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

    --where takes columns of the item table (id path patient study series view source split sex seen; the numbers age
    part position examination label:NAME), == != < <= > >=, in (...), is missing, and, or, not and parentheses. What is
    missing compares as false. With --only-same patient the results are other examinations of the query's patient, with
    earlier those before the query's; --order position puts them in the order of their slices.

    --with asks several indexes, and --fuse makes one list of theirs: rrf by places, combsum by distances. The distance
    that is printed is then that of the list, as docs/querying.md says. Each index finds its own model beside it; -m is
    that of IDX. --set weights=2,1 counts IDX twice; --set depth=1000 results of each are considered.

    --like and --unlike move the query as Rocchio did; --set alpha=1, beta=.75 and gamma=.15 are his weights. The
    images that are named are left out.

    Of an index that cbir index --calibrate has made, queries unlike anything in it are named: their nearest image is
    farther than that of 95 % of its own images (--set quantile=.95). With --abstain they get no results. --probability
    adds how likely a result is of the query's class, by its distance.

    With --uri the catalogue is a collection of an engine, and QUERY the only argument. Filters and guards are evaluated
    there; --split, --diverse, --with, --like, --unlike, --probability and --abstain need a file.

    With --set compat=silva2020 the maps of an interpretability-guided model are fed 255 times smaller for a query than
    they were for the catalogue, as the script of the 2020 paper does by a slip.
    """
    from contextlib import ExitStack
    from functools import partial

    from cbir_cli import registry
    from cbir_cli.artifacts import run as runs
    from cbir_cli.artifacts import split as split_tables
    from cbir_cli.cli import asking, searching, sources, stores, terminal
    from cbir_cli.stages import confidence, feedback, fusion
    from cbir_cli.stages import query as retrieval
    from cbir_cli.stages.diversity import Diversity

    index, query = stores.arguments(index, query, uri, collection)
    others = [asking.index_and_queries(text) for text in more or []]
    asking.check_one_stdin(index, query, split or "", *(name for pair in others for name in pair))
    printed = options.table_format(format)
    asking.check_conflicts(
        ("--include-same", same, "--exclude-same", exclude_same is not None),
        ("--include-same", same, "--split", split is not None),
        ("--exclude-same none", exclude_same == "none", "--split", split is not None),
        ("--fuse", fuse is not None, "one index: name another --with IDX", not others),
        ("--order position", order == "position", "--format trec, which is sorted by distance", printed == "trec"),
        *_conflicts(
            {"split": split is not None, "diverse": diverse is not None, "with": others, "like": like, "unlike": unlike}
            | {"probability": probability, "abstain": abstain, "uri": uri is not None, "trec": printed == "trec"}
        ),
    )
    known = {
        "compat": "none",
        **(registry.parameters(feedback.Feedback) if like or unlike else {}),
        **({"pool": Diversity.pool} if diverse is not None else {}),
        **(fusion.defaults(fuse or "rrf", 1 + len(others)) if others else {}),
        **({} if others or uri else {"quantile": confidence.Confidence.quantile}),
    }
    values = known | registry.settings(settings or [], known, "cbir query")
    excluded = options.ExcludedSame.none if same else exclude_same
    pool, by_position = values.get("pool", Diversity.pool), order == "position"
    wanted = asking.wanted(
        where,
        excluded,
        only_same,
        max_distance,
        diverse,
        pool=pool,
        by_position=by_position,
        fused=bool(others),
    )
    table = split_tables.read_split(split) if split else None
    terms = asking.Asking(model, device.value, threads, patient, frame, keep_ids, null, on_error.value, ask)
    with ExitStack() as stack, asking.Asked(query) as asked:
        if uri:
            answer = searching.Answer(*stores.query(uri, collection, asked, terms, k or 10, wanted, values["compat"]))
        else:
            search = searching.Search(
                wanted,
                k or (None if table else 10),
                table,
                feedback.chosen(like or (), unlike or (), values),
                fusion.chosen(fuse or "rrf", 1 + len(others), values) if others else None,
                confidence.Confidence(probability, abstain, values.get("quantile", confidence.Confidence.quantile)),
                values["compat"],
            )
            answer = searching.in_files(asked, [(index, ""), *others], terms, search, stack)
        found, queries = answer.found, answer.queries
        if printed == "tsv":
            runs.check_names(retrieval.names(found.items, queries, found.answers))
        likely = partial(confidence.probability, answer.index) if probability and answer.index else None
        lines = retrieval.run_rows(found.items, found.targets, queries, found.answers, likely, answer.strange)
        if printed == "table":
            terminal.show_run(lines)
        else:
            asking.write_lines({"tsv": runs.tsv, "json": runs.json_lines, "trec": runs.trec}[printed](lines))
    return sources.status_for(answer.unreadable, on_error.value)


def _conflicts(given: Mapping[str, object]) -> list[tuple[str, bool, str, bool]]:
    """Return the options that do not go together, as ``asking.check_conflicts`` takes them.

    Parameters
    ----------
    given : mapping of str to object
        Whether each option is given: ``trec`` where that is the format.
    """
    trec, uri = bool(given["trec"]), bool(given["uri"])
    several, probability = bool(given["with"]), bool(given["probability"])
    need_files = ("split", "diverse", "with", "like", "unlike", "probability", "abstain")
    return [
        ("--diverse", bool(given["diverse"]), "--with", several),
        ("--diverse", bool(given["diverse"]), "--format trec, which is sorted by distance", trec),
        *((f"--{name}", bool(given[name]), "--uri", uri) for name in need_files),
        ("--probability", probability, "--with", several),
        ("--abstain", bool(given["abstain"]), "--with", several),
        (
            "--probability",
            probability,
            "--like and --unlike, which move the query",
            bool(given["like"] or given["unlike"]),
        ),
        ("--probability", probability, "--format trec, which has no place for it", trec),
    ]
