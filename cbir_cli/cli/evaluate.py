"""``cbir evaluate``: score ranked lists and classifiers."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Runs (TSV, JSON lines, TREC) and embedding artifacts.")
    ],
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
        str | None, typer.Option("--rater", help="Reference rater; R1, else the first, by default.")
    ] = None,
    split: options.SplitFile = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Label that decides what is relevant, where there are several.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Such as ndcg@4,p@5,r-precision,f1,auroc; all that fit by default.")
    ] = None,
    format: options.FormatOption = None,
) -> None:
    """Score ranked lists and classifiers.

    A run is scored against expert ranks (nDCG) or labels (R-precision, precision@k); an embedding's logits give F1 and
    AUROC on the images that no training has seen. The score of a random ranking stands beside every ranking score.
    """
    from cbir_cli import scores
    from cbir_cli.cli import asking, terminal
    from cbir_cli.stages import evaluate as evaluating

    asking.check_one_stdin(*files, items or "", raters or "", split or "")
    found = evaluating.evaluate(
        files,
        items=items,
        raters=raters,
        rater=rater,
        split=split,
        label=label,
        metrics=metrics.split(",") if metrics else None,
    )
    chosen = options.table_format(format)
    if chosen == "table":
        terminal.show_scores(found)
    else:
        asking.write_lines({"tsv": scores.tsv, "json": scores.json_lines}[chosen](found))
