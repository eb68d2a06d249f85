"""``cbir report``: turn artifacts into one HTML page."""

from typing import Annotated

import typer


def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Explanations (a row each; those of the same pairs one row with a switch), maps (a column each), "
            "score tables (.tsv, .json), models (curves), embeddings and indexes (a map); standard input by default.",
            show_default=False,
        ),
    ] = None,
    raters: Annotated[
        str | None,
        typer.Option("--raters", metavar="RANKS", help="Expert ranks: shown above images, and each rater as a row."),
    ] = None,
    rater: Annotated[
        str | None, typer.Option("--rater", help="Reference rater, or panel; R1, else the first, by default.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Label that frames agree on; the task's by default.")
    ] = None,
    root: Annotated[
        str | None,
        typer.Option("--root", metavar="DIR", help="Where the images of maps are; else the source as it was typed."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option("--images", metavar="ID,...", help="Show the maps of these images.", show_default=False),
    ] = None,
    k: Annotated[
        int,
        typer.Option("-k", min=1, help="Images whose maps are shown, those with the label first."),
    ] = 6,
    failures_first: Annotated[
        bool, typer.Option("--failures-first", help="Open with the queries that found another class, worst first.")
    ] = False,
    figures: Annotated[
        str | None,
        typer.Option("--figures", metavar="DIR", help="Write the figures as SVG and PNG, and contact sheets."),
    ] = None,
    sheets: Annotated[
        int, typer.Option("--sheets", min=0, metavar="N", help="Queries that --figures makes a contact sheet of.")
    ] = 6,
    projection: Annotated[
        str, typer.Option("--projection", metavar="tsne|umap", help="How embeddings are laid out in a plane.")
    ] = "tsne",
    hounsfield: Annotated[
        str | None,
        typer.Option("--hounsfield", metavar="SOURCE", help="Show slices of CT through windows, and a histogram."),
    ] = None,
    windows: Annotated[
        str, typer.Option("--windows", metavar="W/W...", help="The windows: names or LOW,HIGH, separated by slashes.")
    ] = "liver-narrow/liver-wide",
    title: Annotated[
        str | None, typer.Option("--title", help="Heading of the page; by default it says what is shown.")
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The page; - is standard output.")
    ] = "-",
) -> None:
    """Turn artifacts into one self-contained HTML page.

    The page shows each query with and without its map, and a row of results with rank, distance, expert rank and
    agreement of labels for each way they were found. Raters are rows beside the methods, and a frame is orange where
    the reference labels an image otherwise than the data set does. Maps of several explainers on the same results are
    switched, with uncertainty and with insertion and deletion curves where they were measured; the measures are summed
    up below, with randomised networks and averages of classes. Then come the maps of saliency files side by side, score
    tables (of explanations, too), box plots, training curves by method, maps of embeddings and calibration. It opens
    from disk without a server or a network.

    --figures writes every figure as SVG and as PNG of 300 dots an inch, and contact sheets of the first --sheets
    queries.
    --hounsfield shows a slice of CT through windows, and how many voxels of an organ have which Hounsfield units.
    """
    from cbir_cli.artifacts import files as artifacts
    from cbir_cli.cli import asking
    from cbir_cli.stages import report as reporting

    files = files or ([] if hounsfield else ["-"])
    artifacts.check_output(output, *files, raters, text=True)
    asking.check_one_stdin(*files, raters or "")
    more = []
    if hounsfield is not None:
        from cbir_cli.artifacts import pseudonyms
        from cbir_cli.cli import sources
        from cbir_cli.stages import report_hounsfield

        shown = report_hounsfield.parse(windows)
        images_of = sources.read_images(hounsfield, hide=pseudonyms.from_environment())
        more.append(report_hounsfield.section_of(images_of.records, shown))
    made = reporting.report_of(
        files,
        raters=raters,
        rater=rater,
        label=label,
        title=title,
        root=root,
        images=images,
        k=k,
        failures_first=failures_first,
        projection=projection,
        sheets=sheets if figures is not None else 0,
        more=more,
    )
    if figures is not None:
        reporting.write_figures(figures, made.figures)
    artifacts.write_text(output, made.html)
