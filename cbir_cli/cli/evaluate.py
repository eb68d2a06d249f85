"""``cbir evaluate``: score ranked lists, classifiers, saliency maps and explanations."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Runs (TSV, JSON lines, TREC), embedding artifacts, explanations; with --masks maps artifacts. With "
            "--raters there may be none.",
            show_default=False,
        ),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(
            "--items", metavar="IDX", help="Index or embedding that knows the catalogue: relevant counts, labels."
        ),
    ] = None,
    raters: Annotated[
        str | None, typer.Option("--raters", metavar="RANKS", help="Expert ranks: CSV with query,rater,rank,id.")
    ] = None,
    rater: Annotated[
        str | None,
        typer.Option("--rater", help="Reference rater, or panel: all of them; R1, else the first, by default."),
    ] = None,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Instead, how far raters agree with each other and runs with them.")
    ] = False,
    conflicts: Annotated[
        bool, typer.Option("--conflicts", help="Instead, the images that raters label otherwise than the data set.")
    ] = False,
    split: options.SplitFile = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Label that decides what is relevant, where there are several.")
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(
            "--masks",
            metavar="DIR",
            help="Images whose non-zero pixels are lesion, by the images' paths or names; or a table or READER:ROOT.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", help="Such as ndcg@4,p@5,r-precision,f1,relevance-rank; the usual ones that fit by default."
        ),
    ] = None,
    settings: options.Set = None,
    allow_leaks: Annotated[
        bool,
        typer.Option("--allow-leaks", help="Warn where queries were trained on, or answered with their own patient."),
    ] = False,
    format: options.FormatOption = None,
) -> None:
    """Score ranked lists, classifiers, saliency maps and explanations.

    A run is scored against expert ranks (nDCG) or labels (R-precision, precision@k); an embedding's logits give F1 and
    AUROC on the images that no training has seen; maps, of one method or of several to choose from, by whether they
    point at the lesion in a mask (relevance rank accuracy, pointing game). A random baseline stands beside every score.

    The mask of images/a/1.png is images/a/1, a/1 or 1 in DIR, with the ending of any image format; the longest that is
    there counts. Images without a mask, or with an empty one, are left out and counted. --set reaches the parameters of
    these metrics: sign=absolute, and tolerance=15 of the pointing game.

    Explanations are scored by the area under their insertion and deletion curves, if cbir explain --measure made them,
    by sparseness and by the share of relevance at the edge and in the corners (border-mass), and with --masks as maps
    are. Values are averaged over the results of each query, then over the queries of each class. Beside the mean stand
    two baselines, a random map (smooth random values) and a random network (the same method on random weights), and
    the difference to each; from six queries on, means and differences have 95 % intervals over queries. The rank
    correlations of --measure randomisation follow, layer by layer.

    Where there are several labels, --label chooses one, and --label all scores each. What becomes of uncertain labels
    and of those that are not stated is set by --set uncertain=ignore, positive or negative and --set blank=ignore or
    negative; an ignored label makes no query, and no result relevant.

    ACG, its positive kin (acg-p-total, acg-p-query, acg-p-union), precision-any and precision-exact compare the labels
    of query and result as sets: all that are stated, or those of --set labels=Edema,Effusion or labels=chexpert-13.

    With --raters the other raters are scored as runs are, and standard error says where the mean of each run lies
    between theirs. --rater panel takes the order of all raters' mean ranks for the reference; a rater is compared with
    that of the others. --agreement prints Kendall's tau and W, Spearman's rho, and of severities weighted kappa and
    intraclass correlation, with 95 % intervals over queries; --metrics chooses among them. --conflicts lists the images
    of which a rater and the data set (the runs, or --items) say opposite things.

    With --items no run is scored whose queries show patients that the network was trained on, or are answered with
    their own patient (--allow-leaks).
    """
    from cbir_cli import scores
    from cbir_cli.artifacts.files import spooled
    from cbir_cli.cli import asking, rater_tables, terminal
    from cbir_cli.errors import UsageError
    from cbir_cli.stages import evaluate as evaluating
    from cbir_cli.stages import explanation_tables, explanations

    files = files or []
    asking.check_one_stdin(*files, items or "", raters or "", split or "")
    chosen = options.table_format(format)
    named = metrics.split(",") if metrics else None
    with spooled(files) as paths:
        if agreement or conflicts:
            shown = "--agreement" if agreement else "--conflicts"
            apart: dict[str, object] = {"--masks": masks, "--split": split, "--set": settings}
            apart |= (
                {"--label": label, "--rater": rater, "--conflicts": conflicts} if agreement else {"--metrics": metrics}
            )
            if wrong := [option for option, value in apart.items() if value]:
                raise UsageError(f"{wrong[0]} does not go with {shown}")
            if raters is None:
                raise UsageError(f"{shown}: give the raters' table (--raters RANKS)")
            if agreement:
                rater_tables.agreement(files, paths, raters, items=items, statistics=named or [], format=chosen)
            else:
                rater_tables.conflicts(files, paths, raters, items=items, rater=rater, label=label, format=chosen)
            return
        if explanations.are_explanations(files, paths):
            others = {"--items": items, "--raters": raters, "--rater": rater, "--split": split}
            if given := [option for option, value in others.items() if value is not None]:
                raise UsageError(f"{given[0]} does not go with explanations")
            rows = explanations.evaluate(
                files, masks=masks, metrics=named, label=label, settings=settings or [], paths=paths
            )
            if chosen == "table":
                terminal.show_tables(explanation_tables.tables(rows))
            else:
                asking.write_lines({"tsv": explanation_tables.tsv, "json": explanation_tables.json_lines}[chosen](rows))
            return
        found = evaluating.evaluate(
            files,
            items=items,
            raters=raters,
            rater=rater,
            split=split,
            label=label,
            masks=masks,
            metrics=named,
            settings=settings or [],
            allow_leaks=allow_leaks,
            paths=paths,
        )
    if chosen == "table":
        terminal.show_scores(found)
    else:
        asking.write_lines({"tsv": scores.tsv, "json": scores.json_lines}[chosen](found))
