"""``cbir phantom``: write a synthetic labelled data set with known severity."""

from typing import Annotated

import typer

from cbir_cli.cli import options


def run(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="New folder for the data set; with --rank, where it is.")
    ],
    kind: Annotated[str, typer.Option("--kind", help="What is imaged.")] = "chest",
    n: Annotated[int, typer.Option("-n", min=1, help="Images.")] = 400,
    size: Annotated[int, typer.Option("--size", min=32, help="Side of the images in pixels.")] = 256,
    seed: options.Seed = 1,
    rank: Annotated[
        str | None,
        typer.Option(
            "--rank", metavar="SPLIT", help="Instead, print how simulated raters rank the catalogues of a split table."
        ),
    ] = None,
    raters: Annotated[int, typer.Option("--raters", min=1, help="Simulated raters; the first tells the truth.")] = 3,
) -> None:
    """Write a synthetic labelled data set with known severity.

    The chest set has the layout of NIH ChestX-ray14: pleural effusions of continuous severity, patients with several
    studies, two views, devices and markers, masks, and severity.csv, which tells the hidden truth.
    """
    import csv
    import sys
    from pathlib import Path

    from cbir_cli import phantom

    if rank is None:
        phantom.write(Path(directory), n=n, kind=kind, size=size, seed=seed)
        return
    split = sys.stdin if rank == "-" else Path(rank)
    rows = list(phantom.rank(Path(directory), split, raters=raters, seed=seed))
    csv.writer(sys.stdout, lineterminator="\n").writerows([phantom.Rank._fields, *rows])
